package router

import (
	"sync"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file says what a request is like to the policies that place it: how large
// it is, and how much of it a backend may have read before.

// placing is what an exchange needs only until it has a backend that answers.
type placing struct {
	balancer.Request // policies are called through an interface: on a stack it would escape
	sized            bool
	chained          bool
	seed             uint64 // of the chain
	chain            balancer.Chain
	matches          balancer.Matches
}

var placings = sync.Pool{New: func() any { return new(placing) }}

// free gives p back; nil is nothing.
func (p *placing) free() {
	if p != nil {
		p.sized, p.chained = false, false
		placings.Put(p)
	}
}

// place makes the pick one for an endpoint of target i.
func (e *Exchange) place(i int, now time.Time) *placing {
	t, p := &e.name.route.targets[i], e.pick
	p.Now, p.Eligible = t.pool.members.Clock(now), e.untried(i, now)
	if !p.sized {
		p.Tokens, p.Output, p.Stream = 0, 0, false
	}
	p.Chain, p.Index, p.Root, p.Home, p.Session = nil, nil, 0, 0, 0
	if t.pool.wants&balancer.WantsSize != 0 && !p.sized {
		p.sized = true
		e.size(p)
	}
	if t.pool.wants&(balancer.WantsPrompt|balancer.WantsIndex) != 0 {
		e.match(p, t)
	}
	if t.pool.wants&balancer.WantsSession != 0 {
		p.Session = e.session(t.pool)
	}
	return p
}

// size tells how large the request is. Of what comes as a form, or over a
// websocket, nothing is known.
func (e *Exchange) size(p *placing) {
	if e.body == nil {
		return
	}
	r := e.name.route
	if e.expected.InputTokens == 0 {
		e.prompt = promptOf(&e.call, e.body.B)
		e.expected.InputTokens = r.estimator.Input(e.prompt)
	}
	p.Tokens = e.expected.InputTokens
	p.Stream = e.call.Stream && e.op.CanStream()
	if e.op.Generates() {
		p.Output = r.estimator.Typical()
		if asked := e.call.MaxTokens; asked >= 0 {
			p.Output = min(p.Output, asked)
		}
		p.Output *= max(e.call.N, 1)
	}
}

// session is the hash of what tells the request's session from its tenant's others:
// a header, the key of its prompts' cache, its conversation, its user; 0 without.
func (e *Exchange) session(pool *Pool) uint64 {
	var of []byte
	if pool.sessionHeader != "" && e.conn != nil {
		of = e.conn.head.Peek(pool.sessionHeader)
	}
	if e.body != nil {
		for _, span := range [...]openai.Span{e.call.PromptCacheKey, e.call.Conversation, e.call.User} {
			if len(of) == 0 {
				of = span.In(e.body.B)
			}
		}
	}
	if len(of) == 0 {
		return 0
	}
	seed := pool.seed
	if e.principal != nil {
		seed = balancer.Salt(seed, []byte(e.principal.Tenant))
	}
	return balancer.Salt(seed, of) | 1
}

// learn has the model's estimates learn from what a request used whose limits do
// not see to that.
func (e *Exchange) learn() {
	if e.usage.Reported && e.seat == nil && e.name != nil && e.prompt.Bytes > 0 && !e.ticket.Limited() {
		e.name.route.estimator.Learn(e.prompt, e.usage)
	}
}
