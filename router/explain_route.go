package router

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file puts a route into an Explanation: who asks, each target with its
// backends, what the body becomes there.

func (s *Snapshot) explainPrincipal(p *authn.Principal) *ExplainedPrincipal {
	if p == nil {
		return nil
	}
	x := &ExplainedPrincipal{
		Tenant: p.Tenant, Key: p.KeyName, Expires: p.Expires(),
		Anonymous: p == s.anonymous, Models: append([]string{}, p.Models...),
		KeyModels: slices.Clone(p.KeyModels), Endpoints: p.Endpoints.Names(),
	}
	if p.From != nil {
		for _, prefix := range p.From.Prefixes {
			x.From = append(x.From, prefix.String())
		}
	}
	return x
}

// refusal is err as the caller would read it; nil for none.
func refusal(err error, hint string) *Refusal {
	if err == nil {
		return nil
	}
	p, ok := err.(*helixflow.Error)
	if !ok {
		p = &helixflow.Error{Kind: helixflow.KindInternal} // as fail has it
	}
	r := &Refusal{Status: forms[p.Kind].status, Code: code(p), Text: text(p), Hint: hint}
	if p.RetryAfter > 0 {
		r.RetryAfter = p.RetryAfter.String()
	}
	return r
}

// explainRoute fills in x.Route. The error is one that the caller would get.
func (e *Exchange) explainRoute(x *Explanation, now time.Time) error {
	r := e.name.route
	e.goByAbilities()
	e.begunChoosing(now)
	x.Route = &ExplainedRoute{Name: r.model, FoundAs: "model", Targets: []ExplainedTarget{}, Timeouts: ExplainedTimeouts{
		Connect: r.connect.String(), FirstToken: r.firstToken.String(), Idle: r.idle.String(), Total: r.total.String(),
	}}
	switch {
	case e.below.prefix != nil:
		x.Route.FoundAs = "prefix"
	case e.name == e.snap.catchAll:
		x.Route.FoundAs = "catch_all"
	case e.name.content != nil:
		x.Route.FoundAs = "alias"
	}
	room := make([]bool, len(r.groups))
	for g := range r.groups {
		targets, err := e.explainGroup(g, now)
		if err != nil {
			return err
		}
		room[g] = slices.ContainsFunc(targets, func(t ExplainedTarget) bool { return t.Share > 0 })
		x.Route.Targets = append(x.Route.Targets, targets...)
	}
	if x.Live {
		e.explainCosts(x.Route.Targets, now)
	}
	begin := r.fallback.first(now, len(r.groups))
	if begin > 0 {
		x.Route.Hold = &ExplainedHold{Priority: begin + 1, Until: time.Unix(0, r.fallback.until.Load()).UTC()}
	}
	for step := range r.groups {
		if g := (begin + step) % len(r.groups); room[g] && x.Route.Chosen == 0 { // as acquire goes
			x.Route.Chosen = g + 1
		}
	}
	for i := range r.mirrors {
		p, err := e.explainPool(&r.mirrors[i].target)
		if err != nil {
			return err
		}
		x.Route.Mirrors = append(x.Route.Mirrors, ExplainedMirror{Share: r.mirrors[i].share, ExplainedPool: p})
	}
	for _, h := range r.hooks {
		x.Route.Hooks = append(x.Route.Hooks, h.explain())
	}
	return nil
}

func (h *Hook) explain() ExplainedHook {
	word := map[bool]string{false: "refuse", true: "pass"}
	return ExplainedHook{
		Name: h.name, URL: h.url, Requests: h.requests, Answers: h.answers, Timeout: h.timeout.String(),
		OnError: word[h.passErrors], OnUnseen: word[h.passUnseen],
	}
}

// explainGroup is the targets of one priority.
func (e *Exchange) explainGroup(g int, now time.Time) ([]ExplainedTarget, error) {
	r := e.name.route
	var list []ExplainedTarget
	total := 0
	for i := r.groups[g].first; i < r.groups[g].end; i++ {
		t := &r.targets[i]
		p, err := e.explainPool(t)
		if err != nil {
			return nil, err
		}
		x := ExplainedTarget{
			Priority: g + 1, Weight: t.weight, ExplainedPool: p, Ready: t.pool.credentials.Ready(now),
			Attempts: t.pool.attempts, Hedge: e.explainHedge(t.pool), Panic: t.pool.members.Panic(now), Backends: e.explainBackends(i, now),
		}
		list = append(list, x)
		if x.hasRoom() {
			total += t.weight
		}
	}
	for i := range list {
		if list[i].hasRoom() {
			list[i].Share = float64(list[i].Weight) / float64(total)
		}
	}
	return list, nil
}

// explainHedge is when a second backend of the pool would be asked, too.
func (e *Exchange) explainHedge(p *Pool) *ExplainedHedge {
	h := p.hedging
	if h == nil {
		return nil
	}
	x := &ExplainedHedge{Request: e.repeatable(&Attempt{}) && !e.soundsOrSearches()}
	if h.after > 0 {
		x.After = h.after.String()
	} else if times := h.lateness(e.call.Stream && e.op.CanStream()).Percentile(h.percentile); times > 0 {
		x.Times = max(times, backends.LeastLate)
	}
	return x
}

func (t *ExplainedTarget) hasRoom() bool {
	return slices.ContainsFunc(t.Backends, func(b ExplainedBackend) bool { return b.Usable })
}

// explainPool is what a request to the target's pool is like.
func (e *Exchange) explainPool(t *target) (ExplainedPool, error) {
	if err := e.prepare(t); err != nil {
		return ExplainedPool{}, err
	}
	edited := e.edits.AppendTo(nil, e.body.B)
	x := ExplainedPool{
		Pool: t.pool.name, Policy: t.pool.policy.Name(), Edits: compared(e.body.B, edited),
		Keys: t.pool.credentials.Len(), UsageWithheld: e.withholdUsage,
	}
	for _, name := range t.pool.replaced {
		x.Headers = append(x.Headers, string(name))
	}
	slices.Sort(x.Headers)
	var c openai.Call
	if err := openai.Scan(edited, e.op, &c); err != nil {
		return x, err
	}
	x.Model = string(c.ModelName(edited))
	return x, nil
}

// compared is which top-level members of the JSON object before are others in
// after.
func compared(before, after []byte) []ExplainedEdit {
	edits := []ExplainedEdit{}
	var was, is map[string]json.RawMessage
	if json.Unmarshal(before, &was) != nil || json.Unmarshal(after, &is) != nil {
		return edits
	}
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, had := was[name]
		now, has := is[name]
		switch {
		case !had:
			edits = append(edits, ExplainedEdit{Param: name, Change: "added"})
		case !has:
			edits = append(edits, ExplainedEdit{Param: name, Change: "removed"})
		case !bytes.Equal(old, now):
			edits = append(edits, ExplainedEdit{Param: name, Change: "changed"})
		}
	}
	return edits
}

// explainBackends is the backends of a target, in the configuration's order.
func (e *Exchange) explainBackends(i int, now time.Time) []ExplainedBackend {
	pool := e.name.route.targets[i].pool
	open := e.untried(i, now)
	list := make([]ExplainedBackend, len(pool.endpoints))
	for j, ep := range pool.endpoints {
		s, c := ep.Status(now), pool.candidates[j]
		b := ExplainedBackend{
			URL: s.URL, Weight: int(c.Weight), MaxInFlight: int(c.Limit), InFlight: s.InFlight,
			Limit: foundLimit(&c),
			State: s.State.String(), Eligible: open.Has(j), Reason: s.Reason,
		}
		if serves, _, ok := e.serving(&e.name.route.targets[i], now); ok && e.byLists && !serves.Has(j) {
			b.Reason = "its list of models does not have it"
		}
		b.Usable = b.Eligible && hasRoom(pool.candidates, j)
		switch {
		case b.Eligible && !b.Usable:
			b.Reason = "at its limit"
		case b.Reason == "":
			b.Reason = s.Warning
		}
		if !b.Eligible && s.ComesBack > 0 {
			b.BackIn = s.ComesBack.Round(time.Millisecond).String()
		}
		list[j] = b
	}
	return list
}

func foundLimit(c *balancer.Candidate) int {
	if c.Concurrency == nil {
		return 0
	}
	return int(c.Concurrency.Found())
}

// explainCosts says what the request would cost on the backends of pools that go by
// that; list is the route's targets.
func (e *Exchange) explainCosts(list []ExplainedTarget, now time.Time) {
	for i := range list {
		pool := e.name.route.targets[i].pool
		if pool.wants&balancer.WantsIndex == 0 {
			continue
		}
		p := e.place(i, now)
		p.Cold = e.coldOf(&e.name.route.targets[i], now)
		p.Absent, p.Queued = e.adaptersOf(&e.name.route.targets[i], now)
		for j := range list[i].Backends {
			c := pool.coster.Cost(&p.Request, pool.candidates, j)
			list[i].Backends[j].Predicted = &ExplainedCost{Tokens: p.Tokens, Hit: c.Hit, Ahead: c.Wait, Cost: c.Cost}
			switch {
			case p.Absent.Has(j):
				list[i].Backends[j].Predicted.Adapter = "absent"
			case p.Queued.Has(j):
				list[i].Backends[j].Predicted.Adapter = "queued"
			}
		}
	}
}

// hasRoom asks a policy that remembers nothing, whatever the pool's own is:
// Pick would turn that.
func hasRoom(candidates []balancer.Candidate, j int) bool {
	var only balancer.Request
	only.Eligible.Set(j)
	stateless, err := balancer.New("least_inflight", balancer.Tuning{})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return stateless.Pick(&only, candidates) == j
}

// didYouMean returns "; did you mean X?" for the names most like word, three at
// most, or nothing.
func didYouMean(word string, names []string) string {
	const alike = 0.45
	type near struct {
		name  string
		score float64
	}
	var found []near
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if s := similarity(word, name); s >= alike {
			found = append(found, near{name, s})
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.SortStableFunc(found, func(a, b near) int { return int(1e6 * (b.score - a.score)) })
	var list []string
	for _, f := range found[:min(len(found), 3)] {
		list = append(list, f.name)
	}
	return "; did you mean " + strings.Join(list, " or ") + "?"
}

// similarity is the part of the pairs of neighbouring letters that two names
// share (Dice 1945), 0 to 1: model names differ by whole parts more than by
// letters.
func similarity(a, b string) float64 {
	const longest = 256
	if len(a) > longest || len(b) > longest {
		return 0
	}
	pairs := func(s string) map[string]int {
		s = " " + strings.ToLower(s) + " "
		m := make(map[string]int, len(s))
		for i := range len(s) - 1 {
			m[s[i:i+2]]++
		}
		return m
	}
	of, shared := pairs(b), 0
	for pair, n := range pairs(a) {
		shared += min(n, of[pair])
	}
	return 2 * float64(shared) / float64(len(a)+len(b)+2)
}
