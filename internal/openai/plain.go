// Plain: the events of a stream that need no reading.

package openai

import (
	"bytes"

	"github.com/helixflow/helixflow"
)

var (
	plainStart   = []byte("data: {")
	deltaStart   = []byte("event: response.")
	deltaEnd     = []byte(".delta")
	eventEnd     = []byte("\n\n")
	finishReason = []byte(`"finish_reason":`)
	nullValue    = []byte("null")

	quotedError    = []byte(`"error"`)
	quotedUsage    = []byte(`"usage"`)
	quotedFinish   = []byte(`"finish_reason"`)
	quotedResponse = []byte(`"response"`)
	quotedType     = []byte(`"type"`)
)

// Plain reports whether ReadEvent would find nothing in ev but, perhaps, a
// token: most events of a stream, told at a fraction of the cost. It may say no
// where ReadEvent finds nothing either.
func Plain(ev []byte, op helixflow.Op) bool {
	if !bytes.HasSuffix(ev, eventEnd) {
		return false
	}
	ev = ev[:len(ev)-len(eventEnd)]
	if op == helixflow.OpResponses {
		return plainDelta(ev)
	}
	data, ok := plainData(ev)
	if !ok {
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

// plainData returns the object of an event that has one line and says neither an
// error nor usage.
func plainData(ev []byte) (data []byte, ok bool) {
	if !bytes.HasPrefix(ev, plainStart) {
		return nil, false
	}
	data = ev[len(plainStart):]
	// In a string a quote is escaped, so a key stands as it is or not at all.
	ok = bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 &&
		!bytes.Contains(data, quotedError) && !bytes.Contains(data, quotedUsage)
	return data, ok
}

// plainDelta reports whether ev is a piece of a Response, by its name and by its
// only type.
func plainDelta(ev []byte) bool {
	if !bytes.HasPrefix(ev, deltaStart) {
		return false
	}
	end := bytes.IndexByte(ev, '\n')
	if end < 0 || !bytes.HasSuffix(ev[:end], deltaEnd) || bytes.IndexByte(ev[:end], '\r') >= 0 {
		return false
	}
	name := ev[len("event: "):end]
	data, ok := plainData(ev[end+1:])
	if !ok || bytes.Contains(data, quotedResponse) {
		return false
	}
	at := bytes.Index(data, quotedType)
	if at < 0 {
		return false
	}
	kind, ok := bytes.CutPrefix(data[at+len(quotedType):], []byte(":"))
	kind = bytes.TrimPrefix(kind, []byte(" "))
	return ok && len(kind) > len(name)+1 && kind[0] == '"' && bytes.HasPrefix(kind[1:], name) && kind[len(name)+1] == '"' &&
		!bytes.Contains(kind, quotedType)
}
