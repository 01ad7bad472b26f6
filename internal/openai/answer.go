// Answer: what the router must know of an answer that is not a stream.

package openai

import (
	"bytes"

	"github.com/helixflow/helixflow"
)

// Answer is what a whole answer says. What cannot be understood is all zero. A
// plain value, which keeps nothing of the answer.
type Answer struct {
	Usage   helixflow.Usage
	Choices bool // "choices" is an array that is not empty
	Failed  bool // it is an error, whatever its status says: "error" is not null, and there is no result
	Odd     bool // AppendMendedAnswer writes it as clients know it
}

// ReadAnswer reads the body of an answer of any operation. It does not allocate.
func ReadAnswer(body []byte) Answer {
	r := answerReader{walker: walker{b: body}}
	failed, result := false, false
	for more := r.enter('{'); more; more = r.more('{') {
		switch string(r.key()) {
		case "usage":
			if r.peek() == '{' {
				r.out.Usage = r.readUsage()
				continue
			}
			r.value()
		case "choices":
			result = true
			r.choices()
		case "output", "data", "results":
			result = true
			r.value()
		case "error":
			failed = failed || r.peek() != 'n'
			r.value()
		case "object":
			failed = string(r.value().In(body)) == `"error"` || failed
		default:
			r.value()
		}
	}
	if r.bad || skipSpace(body, r.i) != len(body) {
		return Answer{}
	}
	if !r.out.Usage.Reported {
		r.out.Usage = helixflow.Usage{}
	}
	r.out.Failed = failed && !result
	return r.out
}

type answerReader struct {
	walker
	out Answer
}

// choices looks for reasons to finish that clients do not know.
func (r *answerReader) choices() {
	if r.peek() != '[' {
		r.value()
		return
	}
	for more := r.enter('['); more; more = r.more('[') {
		r.out.Choices = true
		if r.peek() != '{' {
			r.value()
			continue
		}
		for more := r.enter('{'); more; more = r.more('{') {
			if string(r.key()) == "finish_reason" {
				r.out.Odd = finishReasonOf(r.value().In(r.b)) != "" || r.out.Odd
				continue
			}
			r.value()
		}
	}
}

// Media is what the first bytes of a body are.
type Media uint8

// The kinds of bodies.
const (
	MediaUnknown Media = iota // too few bytes to tell
	MediaJSON                 // an object or an array begins
	MediaEvents               // a stream of server-sent events begins
	MediaOther                // neither
)

// Sniff tells a body by its first bytes, for the backends that say the wrong type.
func Sniff(b []byte) Media {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, byteOrderMark), " \t\r\n")
	if len(b) == 0 {
		return MediaUnknown
	}
	if b[0] == '{' || b[0] == '[' {
		return MediaJSON
	}
	for _, field := range [...]string{":", "data:", "event:", "error:", "id:", "retry:"} {
		if len(b) >= len(field) && string(b[:len(field)]) == field {
			return MediaEvents
		}
		if len(b) < len(field) && string(b) == field[:len(b)] {
			return MediaUnknown
		}
	}
	return MediaOther
}

// Whole reports whether the last event of a stream, which lacks its blank line,
// is all there: [DONE], sound JSON, or no data but whole lines.
func Whole(ev []byte) bool {
	f := fields(ev)
	data := f.data.In(ev)
	switch {
	case bytes.HasPrefix(data, []byte("[DONE]")):
		return true
	case f.data.Present():
		end, why := skipValue(data, 0)
		return why == sound && skipSpace(data, end) == len(data)
	case f.multiple, f.fault.Present():
		return false
	}
	return bytes.HasSuffix(ev, []byte("\n")) || bytes.HasSuffix(ev, []byte("\r"))
}
