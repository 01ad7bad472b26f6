package backends

// What a report or a check changes: an endpoint's state, as far as its pool can
// do without it.

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Transition is one change of an endpoint's state, for a log.
type Transition struct {
	Pool, URL string
	From, To  State
	Reason    string // empty where To is Healthy
}

// pool is what the endpoints of one pool share, whatever the plan.
type pool struct {
	name  string
	fleet *Fleet
	rules atomic.Pointer[Rules]
	epoch atomic.Uint64 // counts everything that changes who is eligible
	lists atomic.Uint64 // counts the lists of models that were read

	random func() uint64 // of fresh bits

	budget      *Budget
	hedges      Hedges
	credentials *Credentials // of the latest plan; guarded by fleet.mu

	mu      sync.Mutex  // guards the health of the members, and the field below
	members []*Endpoint // living ones, the oldest first
}

func (p *pool) tick(now time.Time) tick { return tick(now.Sub(p.fleet.began)) }

// remove takes ep out of the members. The lock is held.
func (p *pool) remove(ep *Endpoint) {
	p.members = slices.DeleteFunc(p.members, func(m *Endpoint) bool { return m == ep })
}

// panicking is asked by scrapes.
func (p *pool) panicking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return panicking(p.members, &p.rules.Load().Ejection)
}

// mayEject reports whether ep may be ejected beside those that are already.
func (p *pool) mayEject(ep *Endpoint, r *Ejection) bool {
	if r.Off {
		return false
	}
	size, out, serving := 0, 1, 0
	for _, m := range p.members {
		if m.drained || m.dropped {
			continue
		}
		size++
		switch s := m.health.state(); {
		case m == ep:
		case s == Ejected || s == HalfOpen:
			out++
		case s.serves():
			serving++
		}
	}
	return serving > 0 && float64(out) <= r.MaxShare*float64(size)
}

// panicking reports whether so few of the endpoints are healthy that ejections
// are ignored.
func panicking(list []*Endpoint, r *Ejection) bool {
	size, healthy := 0, 0
	for _, m := range list {
		if m.drained || m.dropped {
			continue
		}
		size++
		if m.health.state().serves() {
			healthy++
		}
	}
	return float64(healthy) < r.Panic*float64(size)
}

// change runs f under the lock and lets everybody know what came of it.
func (ep *Endpoint) change(now tick, f func(r *Rules)) {
	p := ep.pool
	r := p.rules.Load()
	p.mu.Lock()
	before, ejections := ep.stateLocked(), ep.health.ejections
	f(r)
	ep.Load.SetShare(ep.health.advance(r.SlowStart, now))
	after, reason := ep.stateLocked(), ep.reasonLocked()
	ejections = ep.health.ejections - ejections
	if before != after {
		p.epoch.Add(1)
		if !before.serves() && (after == HalfOpen || after.serves()) {
			ep.Load.Forgive()
		}
	}
	p.mu.Unlock()
	if before == after {
		return
	}
	if ejections > 0 {
		ep.Series.Ejection()
	}
	if tell := p.fleet.tell.Load(); tell != nil {
		(*tell)(Transition{Pool: p.name, URL: ep.url, From: before, To: after, Reason: reason})
	}
}

// stateLocked is the state as seen from outside. The pool's lock is held.
func (ep *Endpoint) stateLocked() State {
	if ep.drained || ep.dropped {
		return Draining
	}
	return ep.health.state()
}

func (ep *Endpoint) reasonLocked() string {
	switch {
	case ep.dropped:
		return "no longer in the configuration"
	case ep.drained:
		return "drained by an operator"
	default:
		return ep.health.reason
	}
}

// Report is how one try ended.
type Report struct {
	Pass     Pass
	Evidence Evidence
	Wait     time.Duration // what a Retry-After said; 0 for nothing
	Status   int           // of the answer; 0 when none came
	Err      error         // why none came
}

// Answered says that the answer to a try has begun well. p is then no trial any
// more; how the try ends is still to be reported.
func (ep *Endpoint) Answered(p *Pass, now time.Time) {
	if p.trial {
		if w := ep.health.answered(p); w == wishIn {
			ep.settle(w, Report{Pass: *p, Evidence: Well}, ep.pool.tick(now))
		}
	}
}

// Report books how a try ended; each Pass is reported once. It takes a lock only
// where that changes the endpoint's state, and allocates only after failures.
func (ep *Endpoint) Report(r Report, now time.Time) {
	at := ep.pool.tick(now)
	rules := ep.pool.rules.Load()
	if r.Evidence == Pressed && ep.health.press(r.Wait, at) {
		ep.pool.epoch.Add(1)
	}
	if r.Evidence > Pressed {
		ep.lastError.Store(&lastError{text: r.text(), at: now})
	}
	if r.Evidence == Unreachable {
		ep.probe.hurry()
	}
	if w := ep.health.report(r.Pass, r.Evidence, &rules.Ejection, at); w != wishNothing {
		ep.settle(w, r, at)
	}
}

// text says what went wrong.
func (r *Report) text() string {
	switch {
	case r.Err != nil:
		return shortened(reasonOf(r.Err))
	case r.Status != 0:
		return statusReason(r.Status)
	case r.Evidence == Slow:
		return "no first token in time"
	case r.Evidence == Unreachable:
		return "cannot be reached"
	default:
		return "its answer broke off"
	}
}

// shortened bounds a text that a backend may have a part in.
func shortened(text string) string {
	if len(text) > 300 {
		return strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}

// settle does as w wishes, if that is still to be done.
func (ep *Endpoint) settle(w wish, r Report, now tick) {
	ep.change(now, func(rules *Rules) {
		h := &ep.health
		switch state := h.state(); {
		case h.life() != r.Pass.life:
		case w == wishIn && state == HalfOpen:
			h.win(now)
		case w == wishOut && ep.pool.mayEject(ep, &rules.Ejection):
			h.leave(Ejected, r.Evidence, r.text(), &rules.Ejection, now, ep.pool.random())
		}
	})
	if !ep.health.state().serves() {
		ep.probe.hurry()
	}
}
