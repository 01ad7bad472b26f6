package backends

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/netloop"
	"github.com/helixflow/helixflow/internal/secret"
)

const sweepEvery = time.Second

// ErrNoEndpoint says that a pool has no backend of that URL.
var ErrNoEndpoint = errors.New("no such backend")

// Fleet owns every endpoint the router has, and what pools have besides. Safe
// for concurrent use. Its lock is taken before that of a pool, and that before
// an endpoint's.
//
// A reload goes: Adopt, Members, Budget and Credentials for everything the new
// plan names, publish the plan, then Retain. A plan that is given up halfway is
// undone by Retain with the members of the old one.
type Fleet struct {
	metrics *metric.Metrics
	began   time.Time
	tell    atomic.Pointer[func(Transition)]

	mu        sync.Mutex // guards the fields below
	endpoints map[identity]*Endpoint
	pools     map[string]*pool

	stop chan struct{}
	done sync.WaitGroup

	loopOnce sync.Once
	looper   *netloop.Loop // see loop
}

// identity is what an endpoint is found again by.
type identity struct{ pool, url, settings string }

// NewFleet starts a fleet without endpoints; Close ends it.
func NewFleet(m *metric.Metrics) *Fleet {
	f := &Fleet{
		metrics: m, began: time.Now(), stop: make(chan struct{}),
		endpoints: make(map[identity]*Endpoint), pools: make(map[string]*pool),
	}
	f.done.Add(1)
	go f.sweep()
	return f
}

// loop is what reads streams, from the first one on; nil where there is none. They are
// read as all else is then.
func (f *Fleet) loop() *netloop.Loop {
	f.loopOnce.Do(func() { f.looper, _ = netloop.Start() })
	return f.looper
}

// OnTransition has tell called for each change of an endpoint's state, from
// whichever goroutine made it: it must not block, nor call the fleet. Changes
// that follow each other at once may be told in another order.
func (f *Fleet) OnTransition(tell func(Transition)) { f.tell.Store(&tell) }

// Adopt returns the endpoint that s describes: the living one, with its
// connections, load and health, or a new one, which starts slowly where its
// pool has others that serve already.
func (f *Fleet) Adopt(s Spec) *Endpoint {
	id := identity{s.Pool, s.URL, s.Identity}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pool(s.Pool)
	ep := f.endpoints[id]
	if ep == nil {
		ep = newEndpoint(s, p)
		f.endpoints[id] = ep
		f.join(p, ep, s.Warm)
		return ep
	}
	ep.change(p.tick(time.Now()), func(*Rules) { ep.dropped = false })
	return ep
}

// pool returns the pool of that name, a new one if need be.
func (f *Fleet) pool(name string) *pool {
	p := f.pools[name]
	if p == nil {
		p = &pool{name: name, fleet: f, random: rand.Uint64}
		r := DefaultRules()
		p.rules.Store(&r)
		p.budget = NewBudget(DefaultBudget, BudgetPerSecond, f.began)
		f.pools[name] = p
		f.metrics.Pool(name, p.panicking)
	}
	return p
}

// join makes ep a member. One that was drained under other settings stays so.
func (f *Fleet) join(p *pool, ep *Endpoint, warm bool) {
	now := p.tick(time.Now())
	beside := false
	p.mu.Lock()
	for _, m := range p.members {
		beside = beside || m.kept
		if m.url == ep.url && m.drained {
			ep.drained, ep.leaveBy = true, m.leaveBy
		}
	}
	p.members = append(p.members, ep)
	switch {
	case warm:
		ep.health.cause = Unreachable // as far as checks can tell
		ep.health.begin(Unhealthy, warmingUp, now)
	case beside:
		ep.health.come(SlowStart, now)
		ep.Load.SetShare(ep.health.advance(p.rules.Load().SlowStart, now))
	}
	p.mu.Unlock()
}

// Members makes the health view of a pool's endpoints, which all come from
// Adopt for that pool, in the order of a plan. The rules come into force with
// Retain. There are balancer.MaxBackends of them at most.
func (f *Fleet) Members(name string, rules Rules, list []*Endpoint) *Members {
	f.mu.Lock()
	p := f.pool(name)
	f.mu.Unlock()
	if len(list) > balancer.MaxBackends {
		panic("BUG: a pool with more backends than a mask has bits")
	}
	for _, ep := range list {
		if ep.pool != p {
			panic("BUG: " + ep.url + " is not of pool " + name)
		}
	}
	return &Members{pool: p, list: list, rules: rules.complete()}
}

// Budget returns the retry budget of a pool, the same one in every plan.
func (f *Fleet) Budget(pool string) *Budget {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pool(pool).budget
}

// Hedges returns what is known of a pool's late answers, the same in every plan.
func (f *Fleet) Hedges(pool string) *Hedges {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &f.pool(pool).hedges
}

// Credentials returns the pool's credentials made of keys, as
// "Authorization: Bearer" lines. Keys that the pool had before keep their rest.
// The error does not name a key.
func (f *Fleet) Credentials(pool string, keys []secret.Text) (*Credentials, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pool(pool)
	c, err := newCredentials(keys, p.credentials, f.began)
	if err != nil {
		return nil, fmt.Errorf("cannot use the keys of pool %s: %w", pool, err)
	}
	p.credentials = c
	return c, nil
}

// Retain puts a plan's rules into force, and drops every endpoint that is in
// none of its members: it gets no new requests, what runs there runs on for
// the pool's DrainTimeout, and then it is closed. Adopt can take it back until
// that.
func (f *Fleet) Retain(plan ...*Members) {
	now := tick(time.Since(f.began))
	kept := make(map[*Endpoint]bool)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range plan {
		m.pool.rules.Store(&m.rules)
		m.pool.epoch.Add(1)
		for _, ep := range m.list {
			kept[ep] = true
			ep.bound(m.rules.Concurrency)
		}
	}
	for _, ep := range f.endpoints {
		ep.change(now, func(r *Rules) {
			switch {
			case kept[ep]:
				ep.dropped, ep.kept = false, true
			case !ep.dropped:
				ep.dropped, ep.kept = true, false
				ep.leaveBy = now + tick(r.DrainTimeout)
			}
		})
		if kept[ep] {
			ep.probe.configure()
			ep.watch.configure()
		}
	}
}

// Drain sends a backend nothing new until Undrain; what runs there runs on for
// the pool's DrainTimeout. A reload does not change that. Draining what is
// drained does nothing. The error is ErrNoEndpoint.
func (f *Fleet) Drain(pool, url string) error {
	return f.each(pool, url, func(ep *Endpoint, now tick, r *Rules) {
		if !ep.drained {
			ep.drained = true
			ep.leaveBy = now + tick(r.DrainTimeout)
		}
	})
}

// Undrain takes a drained backend back, slowly. The error is ErrNoEndpoint.
func (f *Fleet) Undrain(pool, url string) error {
	return f.each(pool, url, func(ep *Endpoint, now tick, r *Rules) {
		if ep.drained && ep.health.state() == Healthy {
			ep.health.come(SlowStart, now)
		}
		ep.drained = false
	})
}

func (f *Fleet) each(pool, url string, do func(ep *Endpoint, now tick, r *Rules)) error {
	now := tick(time.Since(f.began))
	found := false
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, ep := range f.endpoints {
		if id.pool == pool && id.url == url {
			found = true
			ep.change(now, func(r *Rules) { do(ep, now, r) })
		}
	}
	if !found {
		return ErrNoEndpoint
	}
	return nil
}

// sweep closes connections that have been idle too long and endpoints that
// were dropped, and lets slow starts go on.
func (f *Fleet) sweep() {
	defer f.done.Done()
	timer := time.NewTicker(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-timer.C:
			at := tick(now.Sub(f.began))
			for _, ep := range f.all() {
				ep.sweep(now.Add(-idleMax))
				ep.change(at, func(*Rules) {}) // moves a slow start on
				if ep.overdue(at) {
					ep.cutOff()
				}
			}
			for _, ep := range f.unused(at) {
				ep.close()
			}
		}
	}
}

// DropIdle closes the connections to backends that nobody uses.
func (f *Fleet) DropIdle() {
	now := time.Now()
	for _, ep := range f.all() {
		ep.dropIdle(now)
	}
}

// overdue reports whether what still runs on ep has had its time.
func (ep *Endpoint) overdue(now tick) bool {
	ep.pool.mu.Lock()
	defer ep.pool.mu.Unlock()
	return (ep.drained || ep.dropped) && now >= ep.leaveBy
}

// unused takes the dropped endpoints that nothing runs on out of the fleet.
func (f *Fleet) unused(now tick) (list []*Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, ep := range f.endpoints {
		p := ep.pool
		p.mu.Lock()
		if ep.dropped && (ep.Load.InFlight() == 0 || now >= ep.leaveBy) {
			list = append(list, ep)
			delete(f.endpoints, id)
			p.remove(ep)
		}
		empty := len(p.members) == 0
		p.mu.Unlock()
		if empty {
			f.metrics.Pool(p.name, nil)
			delete(f.pools, p.name)
		}
	}
	for _, ep := range list {
		f.forgetGauges(ep)
	}
	return list
}

// forgetGauges leaves ep's gauges out, unless another endpoint of that URL has
// them now. Its counters stay: they must not begin anew when it comes back.
func (f *Fleet) forgetGauges(ep *Endpoint) {
	for id := range f.endpoints {
		if id.url == ep.url {
			return
		}
	}
	f.metrics.Backend(ep.url, nil).Watch(nil)
}

func (f *Fleet) all() []*Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*Endpoint, 0, len(f.endpoints))
	for _, ep := range f.endpoints {
		list = append(list, ep)
	}
	return list
}

// Close closes every idle connection and waits for the fleet's goroutines.
// Leases that are still held close theirs when they finish.
func (f *Fleet) Close() {
	close(f.stop)
	f.done.Wait()
	all := f.all()
	for _, ep := range all {
		ep.probe.cancel()
		ep.watch.cancel()
	}
	for _, ep := range all {
		ep.close()
	}
	f.loopOnce.Do(func() {}) // from here on it is not started
	if f.looper != nil {
		_ = f.looper.Close()
	}
}
