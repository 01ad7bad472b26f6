package router

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file is what Explain answers, and how a route is put into it.

// Explanation is where a request would go at one moment, and why: a plain value
// without secrets. Durations are as Go writes them.
type Explanation struct {
	Model       string              `json:"model"` // as the caller names it
	Operation   string              `json:"operation"`
	AssumedBody bool                `json:"assumed_body"` // none was given
	Live        bool                `json:"live"`         // false: the state of backends is that of a start
	Generation  uint64              `json:"generation"`
	Principal   *ExplainedPrincipal `json:"principal,omitempty"` // nil: nobody in particular, or nobody known
	Refusal     *Refusal            `json:"refusal,omitempty"`   // nil: the request would be sent
	Route       *ExplainedRoute     `json:"route,omitempty"`     // nil: refused before there was one
}

// ExplainedPrincipal is who asks.
type ExplainedPrincipal struct {
	Tenant    string    `json:"tenant"`
	Key       string    `json:"key,omitempty"` // its name; empty: any of the tenant's
	Anonymous bool      `json:"anonymous,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
	Models    []string  `json:"models"` // patterns; empty: all
}

// Refusal is the answer a caller would get instead, and what an operator may
// know besides.
type Refusal struct {
	Status     int    `json:"status"`
	Code       string `json:"code,omitempty"`
	Text       string `json:"text"`
	RetryAfter string `json:"retry_after,omitempty"`
	Hint       string `json:"hint,omitempty"` // not told to callers
}

// ExplainedRoute is where the model leads.
type ExplainedRoute struct {
	Name     string            `json:"name"`     // the model's own, or "*"
	FoundAs  string            `json:"found_as"` // model, alias or catch_all
	Chosen   int               `json:"chosen"`   // the priority a request goes to now; 0: none has room
	Hold     *ExplainedHold    `json:"hold,omitempty"`
	Targets  []ExplainedTarget `json:"targets"` // by priority
	Mirrors  []ExplainedMirror `json:"mirrors,omitempty"`
	Timeouts ExplainedTimeouts `json:"timeouts"`
}

// ExplainedHold says that the route stays with a later priority for a while.
type ExplainedHold struct {
	Priority int       `json:"priority"`
	Until    time.Time `json:"until"`
}

// ExplainedTarget is a pool that requests go to.
type ExplainedTarget struct {
	Priority int     `json:"priority"` // 1 is tried first; ranks, without the configuration's gaps
	Weight   int     `json:"weight"`
	Share    float64 `json:"share"` // of what its priority gets now, 0 to 1
	ExplainedPool
	Attempts int                `json:"attempts"` // tries of one request, the first included
	Panic    bool               `json:"panic"`    // so few backends are healthy that ejections are ignored
	Backends []ExplainedBackend `json:"backends"`
}

// ExplainedMirror is a pool that gets copies.
type ExplainedMirror struct {
	Share float64 `json:"share"` // of the requests, 0 to 1
	ExplainedPool
}

// ExplainedPool is a pool, and what a request to it would be like.
type ExplainedPool struct {
	Pool    string          `json:"pool"`
	Policy  string          `json:"policy"`
	Model   string          `json:"model"`             // as the backend reads it
	Edits   []ExplainedEdit `json:"edits"`             // of the body, by parameter
	Headers []string        `json:"headers,omitempty"` // that the pool sets
	Keys    int             `json:"keys"`              // credentials that take turns; 0: the request carries none
	Ready   int             `json:"keys_ready"`        // of those, not resting
	Usage   bool            `json:"usage_withheld"`    // asked for, and kept from the client who did not ask
}

// ExplainedEdit is a top-level parameter of the body that the backend reads
// otherwise than the client wrote it. Values are left out.
type ExplainedEdit struct {
	Param  string `json:"param"`
	Change string `json:"change"` // added, changed or removed
}

// ExplainedBackend is a backend of a target.
type ExplainedBackend struct {
	URL         string `json:"url"`
	Weight      int    `json:"weight"`
	MaxInFlight int    `json:"max_inflight"` // 0: no bound
	InFlight    int    `json:"in_flight"`
	State       string `json:"state"`
	Eligible    bool   `json:"eligible"`         // and has room
	Reason      string `json:"reason,omitempty"` // why not, or what is odd
	BackIn      string `json:"back_in,omitempty"`
}

// ExplainedTimeouts bound the phases of the request.
type ExplainedTimeouts struct {
	Connect    string `json:"connect"`
	FirstToken string `json:"first_token"`
	Idle       string `json:"idle"`
	Total      string `json:"total"`
}

func explainedPrincipal(p *authn.Principal) *ExplainedPrincipal {
	if p == nil {
		return nil
	}
	return &ExplainedPrincipal{
		Tenant: p.Tenant, Key: p.KeyName, Expires: p.Expires,
		Anonymous: p.KeyID == "" && p.KeyName == "", Models: append([]string{}, p.Models...),
	}
}

// refusal is err as the caller would read it.
func refusal(err error, hint string) *Refusal {
	p, ok := err.(*helixflow.Error)
	if !ok {
		return nil
	}
	r := &Refusal{Status: forms[p.Kind].status, Code: forms[p.Kind].code, Text: text(p), Hint: hint}
	if p.RetryAfter > 0 {
		r.RetryAfter = p.RetryAfter.String()
	}
	return r
}

// explainRoute fills in x.Route. The error is one that the caller would get.
func (e *Exchange) explainRoute(x *Explanation, now time.Time) error {
	r := e.name.route
	e.begunChoosing()
	out := &ExplainedRoute{Name: r.model, FoundAs: "model", Timeouts: ExplainedTimeouts{
		Connect: r.connect.String(), FirstToken: r.firstToken.String(), Idle: r.idle.String(), Total: r.total.String(),
	}}
	switch {
	case e.name == e.snap.catchAll:
		out.FoundAs = "catch_all"
	case e.name.name != r.model:
		out.FoundAs = "alias"
	}
	x.Route = out
	begin := r.fallback.first(now, len(r.groups))
	if begin > 0 {
		out.Hold = &ExplainedHold{Priority: begin + 1, Until: time.Unix(0, r.fallback.until.Load())}
	}
	for g := range r.groups {
		if err := e.explainGroup(out, g, now); err != nil {
			return err
		}
	}
	for step := range r.groups {
		g := (begin + step) % len(r.groups) // as acquire goes
		if out.Chosen == 0 && out.Targets[r.groups[g].first].groupShare(out.Targets, g+1) > 0 {
			out.Chosen = g + 1
		}
	}
	for i := range r.mirrors {
		m := &r.mirrors[i]
		p, err := e.explainPool(&m.target, now)
		if err != nil {
			return err
		}
		out.Mirrors = append(out.Mirrors, ExplainedMirror{Share: m.share, ExplainedPool: p})
	}
	return nil
}

// explainGroup adds the targets of one priority.
func (e *Exchange) explainGroup(out *ExplainedRoute, g int, now time.Time) error {
	r := e.name.route
	total := 0
	for i := r.groups[g].first; i < r.groups[g].end; i++ {
		t := &r.targets[i]
		p, err := e.explainPool(t, now)
		if err != nil {
			return err
		}
		x := ExplainedTarget{
			Priority: g + 1, Weight: t.weight, ExplainedPool: p,
			Attempts: t.pool.attempts, Panic: t.pool.members.Panic(now), Backends: e.explainBackends(i, now),
		}
		out.Targets = append(out.Targets, x)
		if x.hasRoom() {
			total += t.weight
		}
	}
	for i := range out.Targets {
		if t := &out.Targets[i]; t.Priority == g+1 && t.hasRoom() {
			t.Share = float64(t.Weight) / float64(total)
		}
	}
	return nil
}

func (t *ExplainedTarget) hasRoom() bool {
	return slices.ContainsFunc(t.Backends, func(b ExplainedBackend) bool { return b.Eligible })
}
