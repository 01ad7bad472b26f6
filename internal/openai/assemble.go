// Assembling: the whole answer that a stream would have been.

package openai

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/helixflow/helixflow"
)

// AppendAssembled appends to dst the whole answer whose stream this is: the chunks
// of chat/completions or completions put together as official clients do, or the
// Response that the last event of Responses carries. It reports false, and appends
// nothing, of a stream that is not whole, that says an error, or that has something
// in it of which it is not known how to put it together. It allocates.
func AppendAssembled(dst, stream []byte, op helixflow.Op) ([]byte, bool) {
	var a assembly
	for len(stream) > 0 && !a.ended {
		n := EventEnd(stream)
		if n == 0 || !a.event(stream[:n], op) {
			return dst, false
		}
		stream = stream[n:]
	}
	switch {
	case !a.ended:
		return dst, false
	case op == helixflow.OpResponses:
		return append(dst, a.response...), true
	}
	return a.appendTo(dst, op)
}

// assembly is a whole answer in the making.
type assembly struct {
	ended    bool
	response []byte // of Responses
	top      gathered
	choices  []*assembledChoice // by index
}

type assembledChoice struct {
	top      gathered
	delta    gathered
	calls    []*gathered // tool calls, by index
	logprobs gathered    // of lists
}

// gathered is the members of a JSON object, in the order in which they first came.
type gathered struct {
	names  []string
	values map[string]any // json.RawMessage, string, []json.RawMessage or *gathered
}

func (o *gathered) has(name string) bool { _, ok := o.values[name]; return ok }

func (o *gathered) set(name string, value any) {
	if o.values == nil {
		o.values = map[string]any{}
	}
	if !o.has(name) {
		o.names = append(o.names, name)
	}
	o.values[name] = value
}

// keep sets a member that says the same in each chunk: the last one that is not
// null counts.
func (o *gathered) keep(name string, raw json.RawMessage) {
	if !o.has(name) || string(raw) != "null" {
		o.set(name, slices.Clone(raw))
	}
}

// add puts text behind that of the member. Null adds nothing.
func (o *gathered) add(name string, raw json.RawMessage) bool {
	var more *string
	if json.Unmarshal(raw, &more) != nil {
		return false
	}
	old, isText := o.values[name].(string)
	switch {
	case more == nil && !o.has(name):
		o.set(name, json.RawMessage("null"))
	case more != nil && (isText || !o.has(name) || isNull(o.values[name])):
		o.set(name, old+*more)
	case more != nil:
		return false
	}
	return true
}

func isNull(v any) bool {
	raw, ok := v.(json.RawMessage)
	return ok && string(raw) == "null"
}

// extend puts the elements of a list behind those of the member.
func (o *gathered) extend(name string, raw json.RawMessage) bool {
	var more []json.RawMessage
	if json.Unmarshal(raw, &more) != nil {
		return false
	}
	old, _ := o.values[name].([]json.RawMessage)
	if more == nil && !o.has(name) {
		o.set(name, json.RawMessage("null"))
		return true
	}
	if more != nil {
		for i := range more {
			more[i] = slices.Clone(more[i])
		}
		o.set(name, append(old, more...))
	}
	return true
}

// event takes in an event, and reports whether it is understood.
func (a *assembly) event(ev []byte, op helixflow.Op) bool {
	var e Event
	ReadEvent(ev, op, &e)
	switch {
	case e.Failed:
		return false
	case e.Comment:
		return true
	case op == helixflow.OpResponses:
		a.ended = e.Terminal && !e.Done
		if a.ended {
			a.response = slices.Clone(e.Response.In(ev))
		}
		return !a.ended || e.Response.Present()
	case e.Terminal:
		a.ended = true
		return true
	}
	data := fields(ev).data
	return data.Present() && a.chunk(data.In(ev), op)
}

func (a *assembly) chunk(data []byte, op helixflow.Op) bool {
	return eachMember(data, func(name string, raw json.RawMessage) bool {
		switch name {
		case "choices":
			return eachElement(raw, func(raw json.RawMessage) bool { return a.choice(raw, op) })
		case "object", "error", "obfuscation":
			return true
		}
		a.top.keep(name, raw)
		return true
	})
}

// maxAssembled is the largest index of a choice or a tool call that is believed.
const maxAssembled = 1024

func (a *assembly) choice(raw json.RawMessage, op helixflow.Op) bool {
	var at struct{ Index int }
	if json.Unmarshal(raw, &at) != nil || at.Index < 0 || at.Index >= maxAssembled {
		return false
	}
	for len(a.choices) <= at.Index {
		a.choices = append(a.choices, nil)
	}
	if a.choices[at.Index] == nil {
		a.choices[at.Index] = new(assembledChoice)
	}
	c := a.choices[at.Index]
	return eachMember(raw, func(name string, raw json.RawMessage) bool {
		switch {
		case name == "delta" && op == helixflow.OpChatCompletions:
			return string(raw) == "null" || eachMember(raw, c.addDelta)
		case name == "text" && op == helixflow.OpCompletions:
			return c.top.add(name, raw)
		case name == "logprobs":
			return string(raw) == "null" || eachMember(raw, c.logprobs.extend)
		case name == "token_ids" || name == "prompt_token_ids":
			return c.top.extend(name, raw)
		}
		c.top.keep(name, raw)
		return true
	})
}

// addDelta takes in a member of what one chunk adds to a message.
func (c *assembledChoice) addDelta(name string, raw json.RawMessage) bool {
	switch name {
	case "role":
		c.delta.keep(name, raw)
		return true
	case "tool_calls":
		if !c.delta.has(name) {
			c.delta.set(name, nil)
		}
		return string(raw) == "null" || eachElement(raw, c.addCall)
	case "content", "refusal", "reasoning", "reasoning_content":
		return c.delta.add(name, raw)
	}
	if string(raw) == "null" {
		c.delta.keep(name, raw)
		return true
	}
	return false // perhaps it adds, perhaps it replaces
}

func (c *assembledChoice) addCall(raw json.RawMessage) bool {
	var at struct{ Index *int }
	if json.Unmarshal(raw, &at) != nil || at.Index == nil || *at.Index < 0 || *at.Index >= maxAssembled {
		return false
	}
	for len(c.calls) <= *at.Index {
		c.calls = append(c.calls, new(gathered))
	}
	call := c.calls[*at.Index]
	return eachMember(raw, func(name string, raw json.RawMessage) bool {
		switch name {
		case "index":
			return true
		case "id", "type":
			call.keep(name, raw)
			return true
		case "function", "custom":
			part, _ := call.values[name].(*gathered)
			if part == nil {
				part = new(gathered)
				call.set(name, part)
			}
			return eachMember(raw, func(name string, raw json.RawMessage) bool {
				switch name {
				case "arguments", "input":
					return part.add(name, raw)
				case "name":
					part.keep(name, raw)
					return true
				}
				return false
			})
		}
		return false
	})
}

// appendTo appends the answer.
func (a *assembly) appendTo(dst []byte, op helixflow.Op) ([]byte, bool) {
	if len(a.choices) == 0 || slices.Contains(a.choices, nil) {
		return dst, false
	}
	kind := `"text_completion"`
	if op == helixflow.OpChatCompletions {
		kind = `"chat.completion"`
	}
	a.top.set("object", json.RawMessage(kind))
	list := make([]json.RawMessage, len(a.choices))
	for i, c := range a.choices {
		for _, call := range c.calls {
			if len(call.names) == 0 { // one that was left out
				return dst, false
			}
		}
		list[i] = c.whole(op)
	}
	a.top.set("choices", list)
	return a.top.appendTo(dst), true
}

func (c *assembledChoice) whole(op helixflow.Op) json.RawMessage {
	if len(c.logprobs.names) > 0 {
		c.top.set("logprobs", &c.logprobs)
	}
	if op == helixflow.OpChatCompletions {
		for _, name := range []string{"content", "role"} {
			if !c.delta.has(name) {
				c.delta.set(name, json.RawMessage(map[string]string{"content": "null", "role": `"assistant"`}[name]))
			}
		}
		if c.delta.has("tool_calls") {
			calls := make([]json.RawMessage, len(c.calls))
			for i, call := range c.calls {
				calls[i] = call.appendTo(nil)
			}
			c.delta.set("tool_calls", calls)
			if content, ok := c.delta.values["content"].(string); ok && content == "" && len(calls) > 0 {
				c.delta.set("content", json.RawMessage("null"))
			}
		}
		c.top.set("message", &c.delta)
	}
	return c.top.appendTo(nil)
}

func (o *gathered) appendTo(dst []byte) []byte {
	dst = append(dst, '{')
	for i, name := range o.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendJSONString(dst, name), ':')
		switch v := o.values[name].(type) {
		case string:
			dst = AppendJSONString(dst, v)
		case json.RawMessage:
			dst = append(dst, v...)
		case []json.RawMessage:
			dst = append(dst, '[')
			dst = append(append(dst, bytes.Join(rawBytes(v), []byte(","))...), ']')
		case *gathered:
			dst = v.appendTo(dst)
		default:
			dst = append(dst, "[]"...)
		}
	}
	return append(dst, '}')
}

func rawBytes(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// eachMember visits the members of an object, until visit says no.
func eachMember(raw []byte, visit func(name string, raw json.RawMessage) bool) bool {
	return Members(raw, func(key, value []byte) bool {
		if bytes.IndexByte(key, '\\') >= 0 {
			return false
		}
		return visit(string(key), value)
	})
}

// eachElement visits the elements of an array, until visit says no.
func eachElement(raw []byte, visit func(raw json.RawMessage) bool) bool {
	w := walker{b: raw}
	for more := w.enter('['); more; more = w.more('[') {
		v := w.value()
		if w.bad || !visit(v.In(raw)) {
			return false
		}
	}
	return !w.bad
}
