package sim

// /v1/responses: its answer in one piece and as events.

import (
	"encoding/json"
	"strings"
)

// echoed are the request's fields that a response repeats, with what stands there
// if the request had none.
var echoed = [...]struct{ name, without string }{
	{"instructions", "null"},
	{"max_output_tokens", "null"},
	{"metadata", "{}"},
	{"parallel_tool_calls", "true"},
	{"previous_response_id", "null"},
	{"reasoning", `{"effort":null,"summary":null}`},
	{"store", "false"},
	{"temperature", "1"},
	{"text", `{"format":{"type":"text"}}`},
	{"tool_choice", `"auto"`},
	{"tools", "[]"},
	{"top_p", "1"},
	{"truncation", `"disabled"`},
	{"user", "null"},
}

// response returns the response object in a status, with its output and, at the
// end, its usage.
func (a *answer) response(status string, output []object, u any) object {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(a.ask.data, &fields); err != nil {
		panic("BUG: cannot read again a body that was read: " + err.Error())
	}
	r := object{
		"id": "resp_" + a.id, "object": "response", "created_at": a.created, "status": status, "model": a.ask.model,
		"error": nil, "incomplete_details": nil, "output": output, "usage": u, "background": false,
		"service_tier": "default", "system_fingerprint": a.fingerprint,
	}
	if status == "incomplete" {
		reason := "max_output_tokens"
		if a.choices[0].reason == "content_filter" {
			reason = "content_filter"
		}
		r["incomplete_details"] = object{"reason": reason}
	}
	for _, f := range echoed {
		r[f.name] = json.RawMessage(f.without)
		if value, ok := fields[f.name]; ok {
			r[f.name] = value
		}
	}
	return r
}

// final returns the state in which the response ends.
func (a *answer) final() string {
	if r := a.choices[0].reason; r == "length" || r == "content_filter" {
		return "incomplete"
	}
	return "completed"
}

// item returns the output item, a message or a function call, with its text.
func (a *answer) item(status, text string) object {
	if t := a.ask.tool; t != nil {
		return object{
			"type": "function_call", "id": "fc_" + a.id, "call_id": a.callID(0), "name": t.name(),
			"arguments": text, "status": status,
		}
	}
	content := []object{}
	if status != "in_progress" {
		content = append(content, textPart(text))
	}
	return object{"type": "message", "id": "msg_" + a.id, "status": status, "role": "assistant", "content": content}
}

func textPart(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []object{}, "logprobs": []object{}}
}

func (u usage) response() object {
	return object{
		"input_tokens": u.prompt, "input_tokens_details": object{"cached_tokens": u.cached},
		"output_tokens": u.output, "output_tokens_details": object{"reasoning_tokens": 0},
		"total_tokens": u.prompt + u.output,
	}
}

func (a *answer) responseBody() []byte {
	status := a.final()
	item := a.item(status, a.choices[0].say())
	return marshal(a.response(status, []object{item}, a.usage().response()))
}

// responseFrames writes the events of a Responses stream.
type responseFrames struct {
	*events
	answer   *answer
	sequence int
	text     strings.Builder
	deltas   string // the kind of event that carries text
	itemID   string
}

func newResponseFrames(e *events, a *answer) *responseFrames {
	f := &responseFrames{events: e, answer: a, deltas: "response.output_text", itemID: "msg_" + a.id}
	if a.ask.tool != nil {
		f.deltas, f.itemID = "response.function_call_arguments", "fc_"+a.id
	}
	return f
}

func (f *responseFrames) event(kind string, fields object) {
	fields["type"] = kind
	fields["sequence_number"] = f.sequence
	f.sequence++
	f.buf = append(f.buf, "event: "...)
	f.buf = append(f.buf, kind...)
	f.buf = append(f.buf, '\n')
	f.data(marshal(fields))
}

func (f *responseFrames) open() {
	f.event("response.created", object{"response": f.answer.response("in_progress", []object{}, nil)})
	f.event("response.in_progress", object{"response": f.answer.response("in_progress", []object{}, nil)})
}

func (f *responseFrames) token(c *choice, text string) {
	if c.sent == 0 {
		f.event("response.output_item.added", object{"output_index": 0, "item": f.answer.item("in_progress", "")})
		if f.answer.ask.tool == nil {
			f.event("response.content_part.added", f.place(object{"part": textPart("")}))
		}
	}
	f.text.WriteString(text)
	f.event(f.deltas+".delta", f.place(object{"delta": text}))
}

// place adds where in the output an event belongs.
func (f *responseFrames) place(fields object) object {
	fields["item_id"] = f.itemID
	fields["output_index"] = 0
	if f.answer.ask.tool == nil {
		fields["content_index"] = 0
		if _, isPart := fields["part"]; !isPart {
			fields["logprobs"] = []object{}
		}
	}
	return fields
}

func (f *responseFrames) finish(*choice) {
	text := f.text.String()
	if t := f.answer.ask.tool; t != nil {
		f.event(f.deltas+".done", f.place(object{"arguments": text, "name": t.name()}))
	} else {
		f.event(f.deltas+".done", f.place(object{"text": text}))
		f.event("response.content_part.done", f.place(object{"part": textPart(text)}))
	}
	f.event("response.output_item.done", object{"output_index": 0, "item": f.answer.item(f.answer.final(), text)})
}

func (f *responseFrames) close(u usage) {
	status := f.answer.final()
	output := []object{f.answer.item(status, f.text.String())}
	f.event("response."+status, object{"response": f.answer.response(status, output, u.response())})
}

func (f *responseFrames) fail(err *fault) {
	f.event("error", object{"code": err.code, "message": err.message, "param": nil})
}
