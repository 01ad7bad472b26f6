// Splitting a Response: the events that it would have come as.

package openai

import (
	"encoding/json"
	"strconv"
)

// appendSplitResponse appends the events of a whole Response, as OpenAI orders
// them: each item of its output is begun, its text comes in one piece, and it is
// said again when it is done. It reports false, and appends nothing, of a Response
// that has not come to its end, or with an item in it that is not known.
func appendSplitResponse(dst, body []byte) ([]byte, bool) {
	s := splitter{dst: dst}
	if !IsObject(body) || !s.response(body) {
		return dst, false
	}
	return s.dst, true
}

// splitter writes events. All that it is given is raw JSON.
type splitter struct {
	dst      []byte
	sequence int64
}

// field is a member of an event.
type field struct {
	name string
	raw  []byte
}

// event writes an event: where in the answer it belongs, and its other members.
func (s *splitter) event(kind string, at []field, more ...field) {
	begin := len(s.dst)
	s.dst = append(append(append(s.dst, "event: "...), kind...), "\ndata: "...)
	data := len(s.dst)
	s.dst = append(append(append(s.dst, `{"type":"`...), kind...), '"')
	for _, fields := range [...][]field{at, more} {
		for _, f := range fields {
			s.dst = append(append(append(append(s.dst, `,"`...), f.name...), `":`...), f.raw...)
		}
	}
	s.dst = append(s.dst, `,"sequence_number":`...)
	s.dst = append(strconv.AppendInt(s.dst, s.sequence, 10), '}')
	oneLine(s.dst[begin:], data-begin)
	s.dst = append(s.dst, "\n\n"...)
	s.sequence++
}

func (s *splitter) response(body []byte) bool {
	last, output := "", member(body, "output")
	switch string(member(body, "status")) {
	case `"completed"`:
		last = "response.completed"
	case `"incomplete"`:
		last = "response.incomplete"
	default:
		return false
	}
	begun := appendWith(nil, body, "status", `"in_progress"`, "output", "[]", "usage", "null", "completed_at", "null", "incomplete_details", "null")
	s.event("response.created", nil, field{"response", begun})
	s.event("response.in_progress", nil, field{"response", begun})
	if !eachOf(output, s.item) {
		return false
	}
	s.event(last, nil, field{"response", body})
	return true
}

// item writes what an item of the output comes as.
func (s *splitter) item(n int, item []byte) bool {
	id := member(item, "id")
	at := []field{{"item_id", id}, {"output_index", digits(n)}}
	if !isText(id) {
		return false
	}
	sound := false
	switch string(member(item, "type")) {
	case `"message"`:
		s.added(n, item, "content", "[]")
		sound = eachOf(member(item, "content"), func(i int, part []byte) bool {
			return s.part(part, `"output_text"`, append(at, field{"content_index", digits(i)})) ||
				s.part(part, `"refusal"`, append(at, field{"content_index", digits(i)}))
		})
	case `"reasoning"`:
		sound = s.reasoning(n, item, at)
	case `"function_call"`:
		s.added(n, item, "arguments", `""`)
		sound = s.call("response.function_call_arguments", "arguments", item, at, field{"name", member(item, "name")})
	case `"custom_tool_call"`:
		s.added(n, item, "input", `""`)
		sound = s.call("response.custom_tool_call_input", "input", item, at)
	}
	s.event("response.output_item.done", at[1:], field{"item", item})
	return sound
}

// added writes that an item begins: as it will be, but for these members.
func (s *splitter) added(n int, item []byte, with ...string) {
	begun := appendWith(nil, item, append(with, "status", `"in_progress"`)...)
	s.event("response.output_item.added", []field{{"output_index", digits(n)}}, field{"item", begun})
}

// call writes the input of a tool.
func (s *splitter) call(stem, name string, item []byte, at []field, more ...field) bool {
	input := member(item, name)
	if !isText(input) {
		return false
	}
	for i := range more {
		if !isText(more[i].raw) {
			return false
		}
	}
	if len(input) > len(`""`) {
		s.event(stem+".delta", at, field{"delta", input})
	}
	s.event(stem+".done", at, append(more, field{name, input})...)
	return true
}

// reasoning writes what a model thought: its summary, and the text of open models.
func (s *splitter) reasoning(n int, item []byte, at []field) bool {
	content := member(item, "content")
	s.added(n, item, "summary", "[]", "content", "[]")
	return eachOf(member(item, "summary"), func(i int, part []byte) bool {
		return s.part(part, `"summary_text"`, append(at, field{"summary_index", digits(i)}))
	}) && (content == nil || string(content) == "null" || eachOf(content, func(i int, part []byte) bool {
		return s.part(part, `"reasoning_text"`, append(at, field{"content_index", digits(i)}))
	}))
}

// partForm is how a kind of part comes.
type partForm struct {
	part string // the events of the part, before what happens to it
	text string // those of its text
	name string // of the text
}

var partForms = map[string]partForm{
	`"output_text"`:    {"response.content_part.", "response.output_text.", "text"},
	`"refusal"`:        {"response.content_part.", "response.refusal.", "refusal"},
	`"reasoning_text"`: {"response.content_part.", "response.reasoning_text.", "text"},
	`"summary_text"`:   {"response.reasoning_summary_part.", "response.reasoning_summary_text.", "text"},
}

// part writes a part of an item, if it is of this kind.
func (s *splitter) part(part []byte, kind string, at []field) bool {
	if string(member(part, "type")) != kind {
		return false
	}
	form := partForms[kind]
	text := member(part, form.name)
	if !isText(text) {
		return false
	}
	s.event(form.part+"added", at, field{"part", appendWith(nil, part, form.name, `""`, "annotations", "[]", "logprobs", "[]")})
	var logprobs []field
	if kind == `"output_text"` {
		logprobs = []field{{"logprobs", []byte("[]")}}
		if v := member(part, "logprobs"); isList(v) {
			logprobs[0].raw = v
		}
	}
	if len(text) > len(`""`) {
		s.event(form.text+"delta", at, append(logprobs, field{"delta", text})...)
	}
	if notes := member(part, "annotations"); isList(notes) {
		eachOf(notes, func(i int, note []byte) bool {
			s.event("response.output_text.annotation.added", at, field{"annotation_index", digits(i)}, field{"annotation", note})
			return true
		})
	}
	s.event(form.text+"done", at, append(logprobs, field{form.name, text})...)
	s.event(form.part+"done", at, field{"part", part})
	return true
}

// eachOf visits the elements of an array with their places; false of what is none.
func eachOf(raw []byte, visit func(n int, raw []byte) bool) bool {
	n := -1
	return eachElement(raw, func(raw json.RawMessage) bool {
		n++
		return visit(n, raw)
	})
}

// member is the value of an object's member, the last of that name; nil: none.
func member(object []byte, name string) (value []byte) {
	Members(object, func(key, v []byte) bool {
		if string(key) == name {
			value = v
		}
		return true
	})
	return value
}

// appendWith appends the object, those of its members that stand in with, each
// behind its name, with another value.
func appendWith(dst, object []byte, with ...string) []byte {
	done := 0
	w := walker{b: object}
	for more := w.enter('{'); more; more = w.more('{') {
		key, v := w.key(), w.value()
		for i := 0; i < len(with) && !w.bad; i += 2 {
			if string(key) == with[i] {
				dst = append(append(dst, object[done:v.Start]...), with[i+1]...)
				done = int(v.End)
			}
		}
	}
	return append(dst, object[done:]...)
}

func isText(raw []byte) bool { return len(raw) >= 2 && raw[0] == '"' }

func isList(raw []byte) bool { return len(raw) >= 2 && raw[0] == '[' }

func digits(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
