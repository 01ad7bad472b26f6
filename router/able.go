package router

import (
	"bytes"

	"github.com/helixflow/helixflow/backends"
)

// This file keeps requests from targets that cannot serve them: whose context is
// too short for the prompt, or which know no tools or images.

// abilities is what a target can do. The zero value says nothing.
type abilities struct {
	context  int64 // tokens of prompt and answer; 0: nobody knows
	noTools  bool
	noImages bool
}

// goByAbilities leaves out the targets that the request does not fit. Where that
// would be all of them none is: what a backend answers then says best what is
// wrong.
func (e *Exchange) goByAbilities() {
	e.unable = 0
	r := e.name.route
	if !r.able || e.body == nil {
		return
	}
	if e.expected.InputTokens == 0 {
		e.prompt = promptOf(&e.call, e.body.B)
		e.expected.InputTokens = r.estimator.Input(e.prompt)
	}
	need := e.expected.InputTokens + max(e.call.MaxTokens, 0)
	for i := range r.targets {
		can := &r.targets[i].abilities
		if can.context > 0 && need > can.context || can.noImages && e.prompt.Images > 0 || can.noTools && e.usesTools() {
			e.unable |= 1 << i
		}
	}
	if e.unable == 1<<len(r.targets)-1 {
		e.unable = 0
	}
}

func (e *Exchange) usesTools() bool { return e.call.Tools.Present() || e.call.Functions.Present() }

// tooLong reports whether t answered that the prompt does not fit its context, and
// there is a target whose context is known to be longer. Only those are left then.
func (e *Exchange) tooLong(a *Attempt, t *target, r backends.Report) bool {
	route := e.name.route
	if !route.able || r.Err != nil || r.Status != 400 || !a.saysTooLong() {
		return false
	}
	longer := uint64(0)
	for i := range route.targets {
		if route.targets[i].abilities.context > t.abilities.context {
			longer |= 1 << i
		}
	}
	if longer &^= e.unable; longer == 0 {
		return false
	}
	e.unable = ^longer
	return true
}

// saysTooLong reports whether the answer is the error of a context that is too
// short, by OpenAI's code or in vLLM's and SGLang's words.
func (a *Attempt) saysTooLong() bool {
	return a.whole && (bytes.Contains(a.text.B, []byte(`"context_length_exceeded"`)) || bytes.Contains(a.text.B, []byte("maximum context length")) ||
		bytes.Contains(a.text.B, []byte("longer than the model's context length")))
}
