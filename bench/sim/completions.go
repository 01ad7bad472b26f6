package sim

// /v1/completions: its answer in one piece and as chunks.

import "strconv"

func (a *answer) completionBody() []byte {
	choices := make([]object, len(a.choices))
	for i := range a.choices {
		c := &a.choices[i]
		choices[i] = object{"index": i, "text": c.say(), "logprobs": nil, "finish_reason": c.reason}
	}
	return marshal(object{
		"id": "cmpl-" + a.id, "object": "text_completion", "created": a.created, "model": a.ask.model,
		"system_fingerprint": a.fingerprint, "choices": choices, "usage": a.usage().chat(),
	})
}

// completionFrames writes text_completion events.
type completionFrames struct {
	*events
	answer *answer
	head   []byte
	tail   []byte
}

func newCompletionFrames(e *events, a *answer) *completionFrames {
	return &completionFrames{events: e, answer: a, head: chunkHead(a, "cmpl-", "text_completion"), tail: chunkTail(a)}
}

func (f *completionFrames) open() {}

func (f *completionFrames) token(c *choice, text string) { f.chunk(c, text, "") }

func (f *completionFrames) finish(c *choice) { f.chunk(c, "", c.reason) }

func (f *completionFrames) chunk(c *choice, text, reason string) {
	b := append(f.buf, f.head...)
	b = strconv.AppendInt(append(b, `{"index":`...), int64(c.index), 10)
	b = appendString(append(b, `,"text":`...), text)
	b = append(b, `,"logprobs":null,"finish_reason":`...)
	b = append(appendReason(b, reason), '}')
	f.buf = append(b, f.tail...)
}

func (f *completionFrames) close(u usage) {
	closeChunks(f.events, f.answer, f.head, u)
}

func (f *completionFrames) fail(err *fault) { failChunks(f.events, err) }
