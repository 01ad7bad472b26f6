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
	Failed    bool // a top-level "error" that is not null, or an event of that name; of Responses also the types error and response.failed
	Finish    bool // a choice carries a finish_reason, neither null nor ""
	Token     bool // carries generated content; a chunk with only a role does not
	UsageOnly bool // of chat/completions and completions: "choices" is empty, "usage" an object, and it is no error
	HasUsage  bool // Usage is reported
	Usage     helixflow.Usage

	Response Span // of Responses: the Response object in the event; absent where it has none

	// Odd: clients stumble over how it is written; AppendMended writes it as they
	// know it. They take a top-level "error":null for an error, and an error in
	// another shape than AppendErrorFrame's for none; and they do not know the
	// reasons to finish that some engines give.
	Odd bool
}

// ReadEvent reads the event ev, as EventEnd delimits it, of a stream that answers
// op, into out. It does not allocate and keeps nothing of ev. An event whose data
// spans several lines is not looked into.
func ReadEvent(ev []byte, op helixflow.Op, out *Event) {
	*out = Event{}
	f := fields(ev)
	named := string(f.name.In(ev)) == "error"
	switch {
	case f.fault.Present(), named && f.multiple:
		out.Failed, out.Odd = true, true
		return
	case !f.data.Present():
		out.Comment = !f.multiple
		return
	case bytes.HasPrefix(f.data.In(ev), []byte("[DONE]")): // official clients look no further
		out.Done, out.Terminal = true, true
		return
	}
	c := chunk{walker: walker{b: ev[:f.data.End], i: int(f.data.Start)}, op: op, out: out}
	if !c.read() {
		*out = Event{Failed: named, Odd: named}
		return
	}
	if op == helixflow.OpResponses {
		kind := c.kind
		if !kind.Present() {
			kind = f.name
		}
		out.setKind(kind.In(ev))
	}
	out.Failed = out.Failed || named && !c.ownKind()
	if out.Failed {
		out.Odd = !c.isFrame(f)
	}
}

// ReadMessage reads a message of a backend's websocket of Responses or Realtime, of
// which each is one event, into out. Like ReadEvent otherwise.
func ReadMessage(msg []byte, out *Event) {
	*out = Event{}
	c := chunk{walker: walker{b: msg}, op: helixflow.OpResponses, out: out}
	if !c.read() {
		*out = Event{}
		return
	}
	kind := c.kind.In(msg)
	out.setKind(kind)
	out.Terminal = out.Terminal || endsResponse(kind)
}

// endsResponse reports whether an event of this type is the last one of a response.
func endsResponse(kind []byte) bool {
	switch string(kind) {
	case "response.completed", "response.incomplete", "response.failed", "response.done": // the last one of Realtime
		return true
	}
	return false
}

// isFrame reports whether an event that says an error says it as clients know it.
func (c *chunk) isFrame(f eventFields) bool {
	if c.op == helixflow.OpResponses {
		return c.ownKind() || c.out.Terminal
	}
	data := f.data.In(c.b)
	if f.name.Present() || !bytes.HasPrefix(data, rawErrorMember) {
		return false
	}
	fault := ReadFault(data)
	return fault.Regular
}

// ownKind reports whether the event's data says that it is one of Responses.
func (c *chunk) ownKind() bool {
	kind := c.kind.In(c.b)
	return c.op == helixflow.OpResponses && (string(kind) == "error" || bytes.HasPrefix(kind, []byte("response.")))
}

// eventFields are the values of an event's lines, without the line's end and one
// space in front, as the standard has it.
type eventFields struct {
	name     Span // of "event"
	data     Span // of the only "data"; absent when there are multiple
	fault    Span // of "error", which is no field of the standard: llama.cpp had it
	multiple bool
}

// fields finds the lines of ev that say something.
func fields(ev []byte) (f eventFields) {
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
			f.data = Span{int32(i + v), int32(end)}
		} else if v, ok := fieldValue(line, "event"); ok {
			f.name = Span{int32(i + v), int32(end)}
		} else if v, ok := fieldValue(line, "error"); ok {
			f.fault = Span{int32(i + v), int32(end)}
		}
		i = next
	}
	if lines > 1 {
		f.data, f.multiple = Span{}, true
	}
	return f
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
