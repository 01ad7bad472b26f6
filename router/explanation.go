package router

import "time"

// This file is what Explain answers.

// Explanation is where a request would go at one moment, and why: a plain value
// without secrets. Durations are as Go writes them.
type Explanation struct {
	Model       string              `json:"model"` // as the caller names it
	Operation   string              `json:"operation"`
	AssumedBody bool                `json:"assumed_body"`      // none was given
	Method      string              `json:"method,omitempty"`  // of Path
	Path        string              `json:"path,omitempty"`    // of a request that no model decides
	Prefix      string              `json:"prefix,omitempty"`  // of passthrough, that takes the path
	Shared      bool                `json:"shared,omitempty"`  // what lies there is everybody's
	Objects     []string            `json:"objects,omitempty"` // that the path names, and that must be the tenant's
	Live        bool                `json:"live"`              // false: the state of backends is that of a start
	Generation  uint64              `json:"generation"`
	Principal   *ExplainedPrincipal `json:"principal,omitempty"` // nil: nobody in particular, or nobody known
	Refusal     *Refusal            `json:"refusal,omitempty"`   // nil: the request would be sent
	Limits      []LimitedScope      `json:"limits,omitempty"`    // that the request falls under
	Route       *ExplainedRoute     `json:"route,omitempty"`     // nil: refused before there was one
}

// ExplainedPrincipal is who asks.
type ExplainedPrincipal struct {
	Tenant    string    `json:"tenant"`
	Key       string    `json:"key,omitempty"` // its name; empty: any of the tenant's
	Anonymous bool      `json:"anonymous,omitempty"`
	Expires   time.Time `json:"expires,omitzero"`
	Models    []string  `json:"models"`               // patterns; empty: all
	KeyModels []string  `json:"key_models,omitempty"` // of the key besides; empty: all of these
	Endpoints []string  `json:"endpoints,omitempty"`  // that it may call; empty: all
	From      []string  `json:"from,omitempty"`       // where it may call from; empty: anywhere
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
	FoundAs  string            `json:"found_as"` // model, alias, catch_all or prefix
	Chosen   int               `json:"chosen"`   // the priority a request goes to now; 0: none has room
	Hold     *ExplainedHold    `json:"hold,omitempty"`
	Targets  []ExplainedTarget `json:"targets"` // by priority
	Mirrors  []ExplainedMirror `json:"mirrors,omitempty"`
	Hooks    []ExplainedHook   `json:"hooks,omitempty"` // in the order they are asked
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
	Ready    int                `json:"keys_ready"` // of Keys, not resting
	Attempts int                `json:"attempts"`   // tries of one request, the first included
	Hedge    *ExplainedHedge    `json:"hedge,omitempty"`
	Panic    bool               `json:"panic"` // so few backends are healthy that ejections are ignored
	Backends []ExplainedBackend `json:"backends"`
}

// ExplainedHedge is when a second backend is asked, too.
type ExplainedHedge struct {
	Request bool    `json:"request"`         // one like this may be sent twice
	After   string  `json:"after,omitempty"` // an answer that has not begun by then is late,
	Times   float64 `json:"times,omitempty"` // or one that takes so many times what was expected; 0: too little is known
}

// ExplainedMirror is a pool that gets copies.
type ExplainedMirror struct {
	Share float64 `json:"share"` // of the requests, 0 to 1
	ExplainedPool
}

// ExplainedHook is a hook that looks at the request, or at its answer. It was not
// asked.
type ExplainedHook struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Requests bool   `json:"requests"` // it sees them
	Answers  bool   `json:"answers"`
	Timeout  string `json:"timeout"`
	OnError  string `json:"on_error"`  // refuse or pass
	OnUnseen string `json:"on_unseen"` // refuse or pass
}

// ExplainedPool is a pool, and what a request to it would be like.
type ExplainedPool struct {
	Pool    string          `json:"pool"`
	Policy  string          `json:"policy"`
	Model   string          `json:"model"`             // as the backend reads it
	Edits   []ExplainedEdit `json:"edits"`             // of the body, by parameter
	Headers []string        `json:"headers,omitempty"` // that the pool sets
	Keys    int             `json:"keys"`              // credentials that take turns; 0: the request carries none

	UsageWithheld bool `json:"usage_withheld"` // asked for, and kept from the client who did not ask
}

// ExplainedEdit is a top-level parameter of the body that the backend reads
// otherwise than the client wrote it. Values are left out.
type ExplainedEdit struct {
	Param  string `json:"param"`
	Change string `json:"change"` // added, changed or removed
}

// ExplainedBackend is a backend of a target.
type ExplainedBackend struct {
	URL         string         `json:"url"`
	Weight      int            `json:"weight"`
	MaxInFlight int            `json:"max_inflight"`                // 0: no bound
	Limit       int            `json:"concurrency_limit,omitempty"` // likewise, as its answers have shown; 0: they have not
	InFlight    int            `json:"in_flight"`
	Predicted   *ExplainedCost `json:"predicted,omitempty"` // of a pool that goes by it, where the plan serves
	State       string         `json:"state"`
	Eligible    bool           `json:"eligible"`         // health and operators speak for it
	Usable      bool           `json:"usable"`           // eligible, and below its limit
	Reason      string         `json:"reason,omitempty"` // why not, or what is odd
	BackIn      string         `json:"back_in,omitempty"`
}

// ExplainedCost is what the request is predicted to meet on a backend.
type ExplainedCost struct {
	Tokens int64   `json:"tokens"`        // of the prompt, about
	Hit    int64   `json:"hit"`           // of those, expected in its cache
	Ahead  float64 `json:"ahead_seconds"` // prompts that come first
	Cost   float64 `json:"cost_seconds"`  // all in all: the least is chosen

	Adapter string `json:"adapter,omitempty"` // absent or queued: the model is an adapter that it would have to load, or wait for
}

// ExplainedTimeouts bound the phases of the request.
type ExplainedTimeouts struct {
	Connect    string `json:"connect"`
	FirstToken string `json:"first_token"`
	Idle       string `json:"idle"`
	Total      string `json:"total"`
}
