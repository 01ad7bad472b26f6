package backends

// The endpoints of a pool as one plan lists them: who may be asked now.

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/balancer"
)

// Members are the endpoints of a pool in the order one plan lists them. Safe
// for concurrent use. They go with their plan; requests that began under an
// older one keep using its.
type Members struct {
	pool  *pool
	list  []*Endpoint
	rules Rules
	view  atomic.Pointer[view]
}

// view is who may be asked, as of one epoch. Immutable.
type view struct {
	epoch   uint64
	until   tick          // when time alone makes it outdated
	open    balancer.Mask // who may be asked
	trial   balancer.Mask // of those, one request at a time
	panic   bool          // ejections are ignored
	resting bool          // some asked to be left alone, and would be open otherwise
	next    tick          // the earliest end of a rest or of a hold; 0 for none
}

// Eligible returns which endpoints may be asked: healthy ones that are neither
// drained nor asked to be left alone. It is cheap and does not allocate, but for
// the first call after something has changed.
func (m *Members) Eligible(now time.Time) balancer.Mask { return m.at(m.pool.tick(now)).open }

// Panic reports whether so few of the endpoints are healthy that ejections are
// ignored.
func (m *Members) Panic(now time.Time) bool { return m.at(m.pool.tick(now)).panic }

// Enter gives leave to try endpoint i, and reports false when it is no longer
// to be asked, or when another request is on trial there. Every true is followed
// by one Report on that endpoint.
func (m *Members) Enter(i int, now time.Time) (Pass, bool) {
	v := m.at(m.pool.tick(now))
	if !v.open.Has(i) {
		return Pass{}, false
	}
	return m.list[i].health.pass(v.trial.Has(i))
}

// Resting reports whether endpoints would be eligible that asked to be left
// alone: the answer to a request that finds nobody is then 429, not 503.
func (m *Members) Resting(now time.Time) bool { return m.at(m.pool.tick(now)).resting }

// RetryAfter returns when to ask again, from 1 s to a minute, where Eligible
// is empty: when the first endpoint may come back.
func (m *Members) RetryAfter(now time.Time) time.Duration {
	at := m.pool.tick(now)
	return min(max(time.Duration(m.at(at).next-at), time.Second), maxRest)
}

func (m *Members) at(now tick) *view {
	if v := m.view.Load(); v != nil && v.epoch == m.pool.epoch.Load() && now < v.until {
		return v
	}
	v := m.look(now)
	m.view.Store(v)
	return v
}

// look makes the view anew.
func (m *Members) look(now tick) *view {
	p := m.pool
	r := &p.rules.Load().Ejection
	p.mu.Lock()
	defer p.mu.Unlock()
	v := &view{epoch: p.epoch.Load(), until: math.MaxInt64, panic: panicking(m.list, r)}
	var last, avoided balancer.Mask
	for i, ep := range m.list {
		h := &ep.health
		state := h.state()
		switch {
		case ep.drained:
			continue
		case state == Unhealthy || state == Ejected && !v.panic:
			v.sooner(h.holdUntil)
			continue
		}
		if told := tick(h.told.Load()); told > now {
			v.until = min(v.until, told)
			v.sooner(told)
			v.resting = true
			continue
		}
		if rest := tick(h.rest.Load()); rest > now {
			v.until = min(v.until, rest)
			avoided.Set(i)
			continue
		}
		if ep.dropped {
			last.Set(i)
			continue
		}
		v.open.Set(i)
		if state == HalfOpen && !v.panic {
			v.trial.Set(i)
		}
	}
	if v.open.Empty() {
		v.open = avoided
	}
	// A request that began under a plan whose endpoints have all been dropped
	// is still served by them.
	if v.open.Empty() {
		v.open = last
	}
	return v
}

func (v *view) sooner(t tick) {
	if v.next == 0 || t < v.next {
		v.next = t
	}
}
