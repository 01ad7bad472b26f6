package backends

// A pool whose network is somebody's imagination: what a simulation runs.

import (
	"time"

	"github.com/helixflow/helixflow/internal/metric"
)

// Rehearsal is a pool of endpoints that connect to nothing: their books, leases
// and health are those of a fleet's, but it has no goroutine, reads no clock and
// draws no randomness. Whoever plays the network says what time it is and books
// with Report, Checked and the leases what became of requests. Not safe for
// concurrent use.
type Rehearsal struct {
	pool      *pool
	members   *Members
	endpoints []*Endpoint
	random    func() uint64
}

// NewRehearsal returns a pool with an endpoint for each URL, at most
// balancer.MaxBackends, of which nothing is known yet. Time begins at began.
func NewRehearsal(urls []string, rules Rules, began time.Time, random func() uint64) *Rehearsal {
	rules = rules.complete()
	fleet := &Fleet{began: began, metrics: metric.New()}
	p := &pool{name: "rehearsal", fleet: fleet, random: random}
	p.rules.Store(&rules)
	p.budget = NewBudget(DefaultBudget, BudgetPerSecond, began)
	r := &Rehearsal{pool: p, random: random}
	for _, url := range urls {
		ep := &Endpoint{url: url, mark: markOf(url), pool: p, Series: fleet.metrics.Backend(url, nil)}
		ep.probe = &prober{ep: ep}
		ep.bound(rules.Concurrency)
		p.members = append(p.members, ep)
	}
	r.endpoints = p.members
	r.members = &Members{pool: p, list: p.members, rules: rules}
	return r
}

// Members is who may be asked.
func (r *Rehearsal) Members() *Members { return r.members }

// Endpoint returns the endpoint of the URL that was given i-th.
func (r *Rehearsal) Endpoint(i int) *Endpoint { return r.endpoints[i] }

// Budget is the pool's retry budget.
func (r *Rehearsal) Budget() *Budget { return r.pool.budget }

// Checked books a check of endpoint i, which a fleet makes each Checks.Every and
// each second while something speaks against the endpoint; reason is why it was
// bad, empty for a good one. It reports whether something still speaks against it.
func (r *Rehearsal) Checked(i int, reason string, now time.Time) (doubted bool) {
	ep, at := r.endpoints[i], r.pool.tick(now)
	ep.change(at, func(rules *Rules) {
		ep.health.probed(reason, rules, r.pool.mayEject(ep, &rules.Ejection), at, r.random())
	})
	state := ep.health.state()
	return state == Ejected || state == Unhealthy || ep.health.bad > 0
}

// Sweep lets slow starts go on, as a fleet does each second.
func (r *Rehearsal) Sweep(now time.Time) {
	for _, ep := range r.endpoints {
		ep.change(r.pool.tick(now), func(*Rules) {})
	}
}
