// Event: what the router must know of one server-sent event that passes.

package openai

import (
	"bytes"

	"github.com/helixflow/helixflow"
)

// Event is what one server-sent event says. What cannot be understood is a plain
// data event: all fields zero. Keys written with escape sequences are not
// understood. A plain value, which keeps nothing of the event.
type Event struct {
	Comment   bool // it holds no data line
	Done      bool // data: [DONE], or what begins with it
	Terminal  bool // Done, or a response.completed, .failed or .incomplete
	Failed    bool // a top-level "error" that is not null; of Responses also the types error and response.failed
	Finish    bool // a choice carries a finish_reason, neither null nor ""
	Token     bool // carries generated content; a chunk with only a role does not
	UsageOnly bool // of chat/completions and completions: "choices" is empty, "usage" an object, and it is no error
	HasUsage  bool // Usage is reported
	Usage     helixflow.Usage

	// Cut is what to remove from the event so that clients which take any "error"
	// for one do not stumble: the top-level "error":null with one comma beside it.
	// What remains is still valid JSON. Absent when there is none.
	Cut Span
}

// ReadEvent reads the event ev, as EventEnd delimits it, of a stream that answers
// op, into out. It does not allocate and keeps nothing of ev. An event whose data
// spans several lines is not looked into.
func ReadEvent(ev []byte, op helixflow.Op, out *Event) {
	*out = Event{}
	name, data := fields(ev)
	switch {
	case !data.Present():
		out.Comment = !data.multiple
		return
	case bytes.HasPrefix(data.In(ev), []byte("[DONE]")): // official clients look no further
		out.Done, out.Terminal = true, true
		return
	}
	c := chunk{walker: walker{b: ev[:data.End], i: int(data.Start)}, op: op, out: out}
	if !c.read() {
		*out = Event{}
		return
	}
	if op == helixflow.OpResponses {
		kind := c.kind
		if !kind.Present() {
			kind = name
		}
		out.setKind(kind.In(ev))
	}
	if out.Failed {
		out.Cut = Span{}
	}
}

// dataField is the value of an event's only data line; absent when there is none,
// or when there are multiple.
type dataField struct {
	Span
	multiple bool
}

// fields finds the values of the event and data lines of ev. Either is without
// the line's end and one space in front, as the standard has it.
func fields(ev []byte) (name Span, data dataField) {
	i := 0
	if bytes.HasPrefix(ev, []byte("\xef\xbb\xbf")) { // legal before the first event
		i = 3
	}
	lines, lf := 0, -1
	for i < len(ev) {
		if lf < i {
			lf = indexByte(ev, i, '\n')
		}
		end := indexByte(ev[:lf], i, '\r')
		next := end + 1
		if end+1 == lf && lf < len(ev) { // CR LF
			next++
		}
		line := ev[i:end]
		if v, ok := fieldValue(line, "data"); ok {
			lines++
			data.Span = Span{int32(i + v), int32(end)}
		} else if v, ok := fieldValue(line, "event"); ok {
			name = Span{int32(i + v), int32(end)}
		}
		i = next
	}
	if lines > 1 {
		return name, dataField{multiple: true}
	}
	return name, data
}

// fieldValue returns where in line the value of the field begins, if it is that
// field's line.
func fieldValue(line []byte, field string) (int, bool) {
	n := len(field)
	if len(line) < n || string(line[:n]) != field {
		return 0, false
	}
	switch {
	case len(line) == n:
		return n, true
	case line[n] != ':':
		return 0, false
	case len(line) > n+1 && line[n+1] == ' ':
		return n + 2, true
	}
	return n + 1, true
}

// setKind reads the type of a Responses event.
func (e *Event) setKind(kind []byte) {
	switch string(kind) {
	case "response.completed", "response.incomplete":
		e.Terminal = true
	case "response.failed":
		e.Terminal, e.Failed = true, true
	case "error":
		e.Failed = true
	default:
		e.Token = bytes.HasSuffix(kind, []byte(".delta"))
	}
}
