package router

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router/admission"
)

// This file parks requests whose backends are all full, until one has room. The
// order is admission's; the backend is picked when a request goes, not when it
// comes. While nobody waits it costs one atomic load.

// lookAgain is how often a parked request looks for itself: room also comes from
// a backend that is healthy again, or a larger limit.
const lookAgain = 250 * time.Millisecond

// lot is where a pool's requests are parked. It outlives plans. Safe for
// concurrent use.
type lot struct {
	waiting    atomic.Int32                        // how many; read without the lock
	saturation [admission.NumClasses]atomic.Uint32 // as each class sees it, in thousandths; likewise
	ahead      [admission.NumClasses]atomic.Int64  // nanoseconds that one of that class would wait; likewise
	pool       string
	all        *Lots
	series     *lotSeries

	mu    sync.Mutex // guards the fields below
	queue admission.Queue
	pace  admission.Pace
}

// lotSeries is what is counted of a lot.
type lotSeries struct {
	refused atomic.Uint64
	shed    atomic.Uint64 // refused although there was room yet, or made way
	expired atomic.Uint64
	served  atomic.Uint64
	waited  atomic.Int64 // nanoseconds, of those served
}

// Lots are all pools' lots, whatever the plan. The zero value is ready; safe for
// concurrent use.
type Lots struct {
	pressed atomic.Int32 // how many are so full that some requests are refused early

	mu   sync.Mutex // guards lots
	lots map[string]*lot
}

func (l *Lots) of(pool string) *lot {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lots == nil {
		l.lots = make(map[string]*lot)
	}
	p := l.lots[pool]
	if p == nil {
		p = &lot{pool: pool, all: l, series: new(lotSeries)}
		l.lots[pool] = p
	}
	return p
}

// parked is one parked request.
type parked struct {
	admission.Waiter
	call      chan struct{}                   // it may go, or has to, or its client left; holds one
	displaced atomic.Pointer[helixflow.Error] // it has to go, and why
}

// queueRules bound a pool's lot.
type queueRules struct {
	size int
	wait time.Duration
}

// freed tells that a place in the pool may be free: the request whose turn it is
// goes and looks.
func (p *Pool) freed(now time.Time) {
	if p.lot == nil || p.lot.waiting.Load() == 0 {
		return
	}
	p.next(now)
}

func (p *Pool) next(now time.Time) {
	l := p.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.queue.Next(now)
	if w == nil {
		return
	}
	l.waiting.Add(-1)
	l.measure(p)
	w.Owner.(*parked).ring()
}

func (p *parked) ring() {
	select {
	case p.call <- struct{}{}:
	default:
	}
}

// crowded reports whether others wait already where e would, so that it must not
// overtake them.
func (e *Exchange) crowded(now time.Time) bool {
	p := e.name.route.targets[0].pool
	return p.lot != nil && p.lot.waiting.Load() > 0 && (!e.reach.narrowed && e.unable == 0 || e.full(now) == p)
}

// full is the first pool that could take e if only it had room; nil: none. Who is
// bound to some of a pool's backends does not wait there: it would hold up those
// that can go to the others.
func (e *Exchange) full(now time.Time) *Pool {
	for i := range e.name.route.targets {
		p := e.name.route.targets[i].pool
		if open := e.unspent(i, now); p.lot != nil && !open.Empty() && (!e.reach.narrowed || e.reaches(i, open)) {
			return p
		}
	}
	return nil
}

// park waits until there is room for e, which p is too full for, and takes it.
func (e *Exchange) park(p *Pool, now time.Time) (a *Attempt, t *target, _ time.Time, _ error) {
	w := e.waiter()
	if err := p.enter(w, e.chance(), now); err != nil {
		if err.Cause == errShed {
			e.srv.metrics.Shed(w.Class.String())
		}
		return nil, nil, now, err
	}
	e.conn.waiting.Store(w)
	began := now
	defer func() {
		e.conn.waiting.Store(nil)
		e.queued = now.Sub(began)
	}()
	if p.lot.waiting.Load() == 1 {
		p.freed(now) // a place may have become free since e looked
	}
	until := earliest(now.Add(p.queue.wait), e.answerBy())
	timer := time.NewTimer(min(until.Sub(now), lookAgain))
	defer timer.Stop()
	for {
		called := e.ended() == nil && w.wait(timer)
		now = time.Now()
		if why := w.displaced.Load(); called && why != nil {
			e.srv.metrics.Shed(w.Class.String())
			return nil, nil, now, why
		}
		if err := e.ended(); err != nil {
			if !p.leave(w) {
				p.freed(now) // it was called: the place is the next one's
			}
			return nil, nil, now, err
		}
		if !p.leave(w) && !called {
			continue // it was called just now
		}
		e.chooseAgain(now)
		if a, t = e.acquire(now); a != nil {
			p.lot.served(now.Sub(began), now)
			e.parked, e.parkedIn = w, p.lot
			return a, t, now, nil
		}
		if !now.Before(until) {
			return nil, nil, now, p.expired(now, e.answerBy())
		}
		p.again(w)
		timer.Reset(min(until.Sub(now), lookAgain))
	}
}

// ended is why nobody waits for an answer any more; nil: somebody does.
func (e *Exchange) ended() error {
	switch {
	case e.conn.Gone():
		return errClientGone
	case e.srv.cutting.Load():
		return errDraining
	case e.conn.given.Load():
		return errGivenUp
	}
	return nil
}

// wait waits for a call, and reports false if the timer ran out before it.
func (w *parked) wait(timer *time.Timer) bool {
	select {
	case <-w.call:
		return true
	case <-timer.C:
		return false
	}
}

// waiter is e as the queue sees it.
func (e *Exchange) waiter() *parked {
	w := &parked{call: make(chan struct{}, 1)}
	w.Owner = w
	w.Class = e.classFor()
	w.Tenant = e.principal.Tenant
	if e.expected.InputTokens == 0 && e.body != nil {
		e.prompt = promptOf(&e.call, e.body.B)
		e.expected.InputTokens = e.name.route.estimator.Input(e.prompt)
	}
	w.Cost = float64(e.expected.InputTokens)
	w.Work = balancer.PrefillSeconds(e.expected.InputTokens)
	if e.client.patience > 0 {
		w.Deadline = e.answerBy()
	}
	return w
}

// enter lets w wait, if there is room and a hope to be served in time. Where the
// room is used up by those that are less urgent, or by another tenant, one of them
// makes way.
func (p *Pool) enter(w *parked, chance float64, now time.Time) *helixflow.Error {
	l := p.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	n, work := l.queue.AheadOf(w.Class, w.Tenant)
	ahead := l.time(n, work, p)
	most := p.queue.wait
	if !w.Deadline.IsZero() {
		most = min(most, w.Deadline.Sub(now))
	}
	if n >= p.queue.size || ahead > most {
		l.series.refused.Add(1)
		return overloaded(ahead, p.whyFull(n, ahead))
	}
	if w.Class.Sheds(p.fullness(n, ahead), chance) {
		l.series.shed.Add(1)
		return shedError(ahead)
	}
	if l.queue.Len() >= p.queue.size && !l.displace(w) {
		l.series.refused.Add(1)
		return overloaded(ahead, reasonQueueFull)
	}
	l.queue.Offer(&w.Waiter, now)
	l.waiting.Add(1)
	l.measure(p)
	return nil
}

// whyFull is why nobody else may wait behind n requests that will take a time.
func (p *Pool) whyFull(n int, ahead time.Duration) string {
	switch {
	case n >= p.queue.size:
		return reasonQueueFull
	case ahead >= p.queue.wait:
		return reasonQueueWait
	}
	return reasonQueueDeadline
}

// displace sends a request away that has to make way for w, and reports whether
// there is one. The lock is held.
func (l *lot) displace(w *parked) bool {
	other := l.queue.Displace(w.Class, w.Tenant)
	if other == nil {
		return false
	}
	l.waiting.Add(-1)
	l.series.shed.Add(1)
	ahead := time.Duration(l.ahead[other.Class].Load())
	why := shedError(ahead)
	if other.Class == w.Class {
		why = crowdingError(ahead)
	}
	out := other.Owner.(*parked)
	out.displaced.Store(why)
	out.ring()
	return true
}

// leave takes w out, and reports false if it was called already.
func (p *Pool) leave(w *parked) bool {
	l := p.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.queue.Cancel(&w.Waiter) {
		return false
	}
	l.waiting.Add(-1)
	l.measure(p)
	return true
}

// again has w wait on at its old place: it found no room.
func (p *Pool) again(w *parked) {
	l := p.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.Again(&w.Waiter)
	l.waiting.Add(1)
	l.measure(p)
}

func (l *lot) served(waited time.Duration, now time.Time) {
	l.series.served.Add(1)
	l.series.waited.Add(int64(waited))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.Len() > 0 { // else nobody waits whom it tells anything
		l.pace.Given(now)
	}
}

// expired is the error of a request that waited in vain.
func (p *Pool) expired(now, deadline time.Time) error {
	p.lot.series.expired.Add(1)
	if !now.Before(deadline) {
		return errDeadline
	}
	return overloaded(p.queue.wait, reasonQueueExpired)
}

// overloaded is the error of a request that there is no room for; ahead is how
// long those before it will take.
func overloaded(ahead time.Duration, reason string) *helixflow.Error {
	seconds := min(max(math.Ceil(ahead.Seconds()), 1), 60)
	jittered := seconds * (0.8 + 0.4*rand.Float64())
	return &helixflow.Error{
		Kind: helixflow.KindOverloaded, Reason: reason, RetryAfter: time.Duration(jittered * float64(time.Second)),
		Public: "Too many requests wait for this model already.",
	}
}

// outputWeight is what a token of an answer counts beside one of a prompt: it
// takes a step of the engine of its own (Sheng et al., section 3).
const outputWeight = 2

// charge adds what a request that had to wait was given to its tenant's account,
// which says who goes next.
func (e *Exchange) charge() {
	if e.parked == nil {
		return
	}
	l := e.parkedIn
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.Charge(&e.parked.Waiter, outputWeight*float64(e.usage.OutputTokens))
}

// QueueCounts lists, for the metrics, how many wait in each pool's lot, and what
// became of those that did.
func (l *Lots) QueueCounts() []metric.QueueCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]metric.QueueCounts, 0, len(l.lots))
	for name, p := range l.lots {
		list = append(list, metric.QueueCounts{
			Pool: name, Length: int(p.waiting.Load()), Refused: p.series.refused.Load(), Shed: p.series.shed.Load(), Expired: p.series.expired.Load(),
			Served: p.series.served.Load(), Waited: time.Duration(p.series.waited.Load()),
		})
	}
	slices.SortFunc(list, func(a, b metric.QueueCounts) int { return strings.Compare(a.Pool, b.Pool) })
	return list
}
