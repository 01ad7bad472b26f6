package sim

// An answer: its choices, what each will say, how long it is and what it cost.

import (
	"fmt"
	"time"

	"github.com/helixflow/helixflow"
)

// answer is one request being served. It belongs to its handler.
type answer struct {
	ask         *ask
	id          string // hexadecimal, without the endpoint's prefix
	created     int64
	fingerprint string
	choices     []choice
	ready       chan struct{} // capacity 1: something changed in a job
}

// choice is one sequence of an answer.
type choice struct {
	index  int
	job    *job
	script script
	want   int
	reason string
	sent   int
	closed bool
}

func (a *answer) jobs() []*job {
	jobs := make([]*job, len(a.choices))
	for i := range a.choices {
		jobs[i] = a.choices[i].job
	}
	return jobs
}

// usage is what an answer cost.
type usage struct{ prompt, cached, output int }

func (a *answer) usage() usage {
	var u usage
	for i := range a.choices {
		u.output += a.choices[i].sent
	}
	for i, p := range a.ask.prompts {
		u.prompt += p.tokens
		u.cached += int(a.choices[i*a.ask.n].job.cached.Load())
	}
	return u
}

func (u usage) chat() object {
	return object{
		"prompt_tokens": u.prompt, "completion_tokens": u.output, "total_tokens": u.prompt + u.output,
		"prompt_tokens_details": object{"cached_tokens": u.cached},
	}
}

// start plans the choices and submits their sequences.
func (s *Server) start(a *ask) (*answer, *fault) {
	if len(a.prompts)*a.n > maxPrompts {
		return nil, badRequest("n", fmt.Sprintf("%d prompts with %d choices each are more than %d", len(a.prompts), a.n, maxPrompts))
	}
	ans := &answer{
		ask: a, id: s.newID(), created: time.Now().Unix(), fingerprint: "sim-" + s.cfg.Name,
		choices: make([]choice, 0, len(a.prompts)*a.n), ready: make(chan struct{}, 1),
	}
	requests := make([]Request, 0, cap(ans.choices))
	for _, p := range a.prompts {
		if room := s.clock.preset.MaxModelLen - p.tokens; room < max(a.limit, 1) {
			return nil, tooLong(s.clock.preset.MaxModelLen, p.tokens, a.limit)
		}
		for i := range a.n {
			c := s.plan(a, p, i)
			c.index = len(ans.choices)
			ans.choices = append(ans.choices, c)
			requests = append(requests, Request{PromptTokens: p.tokens, OutputTokens: c.want, Blocks: p.blocks})
		}
	}
	o := &a.orders
	jobs, err := s.clock.submit(requests, pace{on: o.paced(), ttft: o.ttft, gap: o.gap, stop: o.stallAfter}, ans.ready)
	if err != nil {
		f := badRequest("", err.Error())
		f.code = "context_length_exceeded"
		return nil, f
	}
	for i := range jobs {
		ans.choices[i].job = jobs[i]
	}
	return ans, nil
}

func tooLong(limit, prompt, output int) *fault {
	f := badRequest("", fmt.Sprintf("This model's maximum context length is %d tokens, but the prompt has %d and %d are asked for.",
		limit, prompt, output))
	f.code = "context_length_exceeded"
	return f
}

// newID returns 32 hexadecimal digits, the same ones for the n-th request of a seed.
func (s *Server) newID() string {
	s.mu.Lock()
	s.requests++
	rand := splitmix(mix(s.cfg.Seed) ^ s.requests)
	s.mu.Unlock()
	return fmt.Sprintf("%016x%016x", rand.next(), rand.next())
}

// plan decides what choice number i of a prompt will say, and how long it is.
func (s *Server) plan(a *ask, p prompt, i int) choice {
	c := choice{reason: "stop"}
	switch {
	case a.op == helixflow.OpEmbeddings || a.op == helixflow.OpModerations:
		return c
	case a.tool != nil:
		c.script, c.want = newFixed(sample(a.tool.parameters()))
		c.reason = "tool_calls"
	case a.jsonText != "":
		c.script, c.want = newFixed(a.jsonText)
	default:
		c.script, c.want = newProse(s.cfg.Name, mix(s.cfg.Seed)^p.digest^uint64(i), a.orders.size)
		if a.orders.tokens > 0 {
			c.want = a.orders.tokens
		} else if a.ignoreEOS {
			c.want = max(a.limit, c.want)
		}
	}
	limit := s.clock.preset.MaxModelLen - p.tokens
	if a.limit > 0 {
		limit = min(limit, a.limit)
	}
	if c.want > limit || a.ignoreEOS && c.want == a.limit {
		c.want, c.reason = limit, "length"
	}
	if a.orders.finish != "" {
		c.reason = a.orders.finish
	}
	return c
}

func (a *answer) body() []byte {
	switch a.ask.op {
	case helixflow.OpChatCompletions:
		return a.chatBody()
	case helixflow.OpCompletions:
		return a.completionBody()
	case helixflow.OpResponses:
		return a.responseBody()
	case helixflow.OpEmbeddings:
		return a.embeddingBody()
	default:
		return a.moderationBody()
	}
}

// say returns the whole text of a choice and counts it as sent.
func (c *choice) say() string {
	c.sent = c.want
	return c.script.text(c.want)
}
