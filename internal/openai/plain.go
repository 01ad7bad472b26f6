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
	if !bytes.HasPrefix(ev, plainStart) {
		return false
	}
	data := ev[len(plainStart):]
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

// plainDelta reports whether ev is a piece of a Response, by its name and by its
// only type.
func plainDelta(ev []byte) bool {
	if !bytes.HasPrefix(ev, deltaStart) {
		return false
	}
	end := bytes.IndexByte(ev, '\n')
	if end < 0 || !bytes.HasSuffix(ev[:end], deltaEnd) {
		return false
	}
	name, data := ev[len("event: "):end], ev[end+1:]
	if !bytes.HasPrefix(data, plainStart) || bytes.IndexByte(data, '\n') >= 0 || bytes.IndexByte(ev, '\r') >= 0 {
		return false
	}
	typed := false
	for {
		i := bytes.IndexByte(data, '"')
		if i < 0 || i+1 == len(data) {
			return typed
		}
		data = data[i+1:]
		switch data[0] {
		case 'e':
			if bytes.HasPrefix(data, quotedError[1:]) {
				return false
			}
		case 'u':
			if bytes.HasPrefix(data, quotedUsage[1:]) {
				return false
			}
		case 'r':
			if bytes.HasPrefix(data, quotedResponse[1:]) {
				return false
			}
		case 't':
			kind, is := bytes.CutPrefix(data, quotedType[1:])
			if !is {
				continue
			}
			if typed || !isValue(kind, name) {
				return false
			}
			typed = true
		}
	}
}

// isValue reports whether b, which begins behind a key, goes on with this string.
func isValue(b, text []byte) bool {
	b, ok := bytes.CutPrefix(b, []byte(":"))
	b = bytes.TrimPrefix(b, []byte(" "))
	return ok && len(b) > len(text)+1 && b[0] == '"' && bytes.HasPrefix(b[1:], text) && b[len(text)+1] == '"'
}
