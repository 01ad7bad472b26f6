// Plain: the events of a stream that need no reading.

package openai

import (
	"bytes"

	"github.com/helixflow/helixflow"
)

var (
	plainStart   = []byte("data: {")
	eventEnd     = []byte("\n\n")
	finishReason = []byte(`"finish_reason":`)
	nullValue    = []byte("null")
	quotedError  = []byte(`"error"`)
	quotedUsage  = []byte(`"usage"`)
	quotedFinish = []byte(`"finish_reason"`)
)

// Plain reports whether ReadEvent would find nothing in ev but, perhaps, a
// token: most events of a stream, told at a fraction of the cost. It may say no
// where ReadEvent finds nothing either.
func Plain(ev []byte, op helixflow.Op) bool {
	if op == helixflow.OpResponses || !bytes.HasPrefix(ev, plainStart) || !bytes.HasSuffix(ev, eventEnd) {
		return false
	}
	data := ev[len(plainStart) : len(ev)-len(eventEnd)]
	if bytes.IndexByte(data, '\n') >= 0 || bytes.IndexByte(data, '\r') >= 0 {
		return false
	}
	// In a string a quote is escaped, so a key stands as it is or not at all.
	if bytes.Contains(data, quotedError) || bytes.Contains(data, quotedUsage) {
		return false
	}
	for i := bytes.Index(data, quotedFinish); i >= 0; i = bytes.Index(data, quotedFinish) {
		data = data[i:]
		if !bytes.HasPrefix(data, finishReason) || !bytes.HasPrefix(data[len(finishReason):], nullValue) {
			return false
		}
		data = data[len(finishReason):]
	}
	return true
}
