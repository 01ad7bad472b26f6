package sim

// /v1/chat/completions: its answer in one piece and as chunks.

import "strconv"

func (a *answer) callID(index int) string { return "call_" + strconv.Itoa(index) + a.id[:24] }

func (a *answer) chatBody() []byte {
	choices := make([]object, len(a.choices))
	for i := range a.choices {
		c := &a.choices[i]
		text := c.say()
		message := object{"role": "assistant", "content": text, "refusal": nil}
		if t := a.ask.tool; t != nil {
			message["content"] = nil
			message["tool_calls"] = []object{{
				"id": a.callID(i), "type": "function", "function": object{"name": t.name(), "arguments": text},
			}}
		}
		choices[i] = object{"index": i, "message": message, "logprobs": nil, "finish_reason": c.reason}
	}
	return marshal(object{
		"id": "chatcmpl-" + a.id, "object": "chat.completion", "created": a.created, "model": a.ask.model,
		"system_fingerprint": a.fingerprint, "choices": choices, "usage": a.usage().chat(),
	})
}

// chatFrames writes chat.completion.chunk events.
type chatFrames struct {
	*events
	answer *answer
	head   []byte // of every chunk, up to its choices
	tail   []byte // of every chunk but the one with usage
}

func newChatFrames(e *events, a *answer) *chatFrames {
	return &chatFrames{
		events: e, answer: a,
		head: chunkHead(a, "chatcmpl-", "chat.completion.chunk"), tail: chunkTail(a),
	}
}

// chunkHead is what all chunks of an answer begin with, and chunkTail what the
// ones with a choice end with.
func chunkHead(a *answer, prefix, kind string) []byte {
	b := append([]byte(nil), `data: {"id":`...)
	b = appendString(b, prefix+a.id)
	b = appendString(append(b, `,"object":`...), kind)
	b = strconv.AppendInt(append(b, `,"created":`...), a.created, 10)
	b = appendString(append(b, `,"model":`...), a.ask.model)
	b = appendString(append(b, `,"system_fingerprint":`...), a.fingerprint)
	return append(b, `,"choices":[`...)
}

func chunkTail(a *answer) []byte {
	if a.ask.includeUsage {
		return []byte("],\"usage\":null}\n\n")
	}
	return []byte("]}\n\n")
}

func (f *chatFrames) open() {}

func (f *chatFrames) token(c *choice, text string) {
	call := f.answer.ask.tool
	if c.sent == 0 {
		f.delta(c, func(b []byte) []byte { return append(b, `{"role":"assistant","content":""}`...) }, "")
		if call != nil {
			f.delta(c, func(b []byte) []byte {
				b = append(b, `{"tool_calls":[{"index":0,"id":`...)
				b = appendString(b, f.answer.callID(c.index))
				b = append(b, `,"type":"function","function":{"name":`...)
				return append(appendString(b, call.name()), `,"arguments":""}}]}`...)
			}, "")
		}
	}
	f.delta(c, func(b []byte) []byte {
		if call == nil {
			return append(appendString(append(b, `{"content":`...), text), '}')
		}
		b = append(b, `{"tool_calls":[{"index":0,"function":{"arguments":`...)
		return append(appendString(b, text), `}}]}`...)
	}, "")
}

func (f *chatFrames) finish(c *choice) {
	f.delta(c, func(b []byte) []byte { return append(b, "{}"...) }, c.reason)
}

func (f *chatFrames) delta(c *choice, appendDelta func([]byte) []byte, reason string) {
	b := append(f.buf, f.head...)
	b = strconv.AppendInt(append(b, `{"index":`...), int64(c.index), 10)
	b = appendDelta(append(b, `,"delta":`...))
	b = append(b, `,"logprobs":null,"finish_reason":`...)
	b = append(appendReason(b, reason), '}')
	f.buf = append(b, f.tail...)
}

func (f *chatFrames) close(u usage) {
	closeChunks(f.events, f.answer, f.head, u)
}

// closeChunks writes the chunk with usage, if it was asked for, and the end.
func closeChunks(e *events, a *answer, head []byte, u usage) {
	if a.ask.includeUsage {
		e.buf = append(e.buf, head...)
		e.buf = append(e.buf, `],"usage":`...)
		e.buf = append(e.buf, marshal(u.chat())...)
		e.buf = append(e.buf, "}\n\n"...)
	}
	e.data([]byte("[DONE]"))
}

// failChunks writes an error and the end, as vLLM does.
func failChunks(e *events, f *fault) {
	e.data(f.body())
	e.data([]byte("[DONE]"))
}

func appendReason(b []byte, reason string) []byte {
	if reason == "" {
		return append(b, "null"...)
	}
	return appendString(b, reason)
}

func (f *chatFrames) fail(err *fault) { failChunks(f.events, err) }
