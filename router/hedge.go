package router

import (
	"bytes"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/pressure"
)

// This file asks a second backend where the first one lets a request wait for too
// long, once, and has the one answer that begins first (ADR 28). The first try goes
// on where it is, on the goroutine of the request; the second one has a goroutine
// and bytes of its own, so that the request never waits for it to end.

// hedging is a pool's rule.
type hedging struct {
	after      time.Duration // what counts as late; 0: what few answers of the pool take
	percentile float64       // how few
	book       *backends.Hedges
	series     *metric.HedgeSeries
}

// late is how long after its sending a request is late that is expected to be
// answered after so long; 0: nobody knows.
func (h *hedging) late(streamed bool, expected time.Duration) time.Duration {
	if h.after > 0 {
		return h.after
	}
	return h.lateness(streamed).Late(h.percentile, expected)
}

func (h *hedging) lateness(streamed bool) *backends.Lateness {
	if streamed {
		return &h.book.Streams
	}
	return &h.book.Unary
}

// hedgeResult is what came of a second try.
type hedgeResult uint8

const (
	hedgeNone   hedgeResult = iota // there was none
	hedgeWon                       // it answers
	hedgeLost                      // the first one began sooner
	hedgeFailed                    // it had no answer
)

var hedgeResults = [...]string{"", "won", "lost", "failed"}

// String returns the result as logs and headers write it.
func (r hedgeResult) String() string { return hedgeResults[r] }

// hedge is a second try under way.
type hedge struct {
	srv     *Server
	route   *Route
	cell    *cell    // of the client
	attempt *Attempt // its goroutine's, until done; then the request's if it has won
	out     backends.Outgoing
	copied  [3]*buf.Buffer // what out points into
	armed   atomic.Pointer[backends.Conn]
	course  atomic.Int32  // how it stands: racing, or a hedgeResult
	done    chan struct{} // closed when its goroutine has nothing to do with it any more
}

// racing is the course of a hedge that may still win.
const racing = int32(hedgeNone)

// won reports whether it answers; nil has not.
func (h *hedge) won() bool { return h != nil && h.course.Load() == int32(hedgeWon) }

// end decides the race, and reports false if that was done before.
func (h *hedge) end(as hedgeResult) bool { return h.course.CompareAndSwap(racing, int32(as)) }

// Arm implements backends.Hangup. It stores before it looks, and whoever breaks it
// off decides before he swaps, as with a cell.
func (h *hedge) Arm(c *backends.Conn) bool {
	h.armed.Store(c)
	if h.course.Load() != racing || h.cell.Gone() {
		h.armed.Store(nil)
		return false
	}
	return true
}

// Disarm implements backends.Hangup.
func (h *hedge) Disarm(c *backends.Conn) bool { return h.armed.CompareAndSwap(c, nil) }

func (h *hedge) breakOff() {
	if c := h.armed.Swap(nil); c != nil {
		c.Break()
	}
}

// watchForLate has beginRace called when a's answer is late, if the request may be
// sent twice.
func (e *Exchange) watchForLate(a *Attempt, out *backends.Outgoing, now time.Time) {
	h := a.pool.hedging
	if e.tries == 1 {
		h.book.Request()
	}
	if e.tries >= a.pool.attempts || e.hedged != hedgeNone || !e.repeatable(a) {
		return
	}
	streamed := a.want.stream
	if late := h.late(streamed, a.lease.Expected(streamed, now)); late > 0 {
		out.Late, out.OnLate = late, e.onLate
	}
}

// repeatable reports whether the request may be sent to two backends at once:
// whether it only computes something, once and not too much of it.
func (e *Exchange) repeatable(a *Attempt) bool {
	c := &e.call
	switch e.op {
	case helixflow.OpChatCompletions, helixflow.OpCompletions, helixflow.OpEmbeddings, helixflow.OpModerations,
		helixflow.OpRerank, helixflow.OpScore, helixflow.OpClassify, helixflow.OpPooling:
	case helixflow.OpResponses: // stored unless it says no, and tools may run over there
		if !c.NoStore || c.PreviousResponseID.Present() || c.Conversation.Present() || c.Tools.Present() {
			return false
		}
	default:
		return false
	}
	if e.body == nil || e.socket != nil || len(e.body.B) > backends.HedgeBytes || e.reach.narrowed || c.Stores || c.N > 1 || e.prompt.Images > 0 {
		return false
	}
	tokens := a.tokens - a.decision.Hit
	if a.tokens == 0 {
		tokens = int64(len(e.body.B)) / bytesPerToken
	}
	return tokens <= backends.HedgeTokens
}

// beginRace sends the request to a second backend, if there is one that has little
// to do, and the budgets allow it. It is called while the first one is waited for.
func (e *Exchange) beginRace() {
	now, first := time.Now(), e.attempt
	h := first.pool.hedging
	if s := e.second(first, now); s != nil {
		e.tries++
		e.race(first, s, now)
		return
	}
	h.series.Skipped()
}

// second takes a place for a second try; nil: there is to be none.
func (e *Exchange) second(first *Attempt, now time.Time) *Attempt {
	pool, i := first.pool, e.targetOf(e.prepared)
	if e.srv.under(pressure.Lean) || pool.lot != nil && pool.lot.waiting.Load() > 0 || !now.Before(e.answerBy()) || e.soundsOrSearches() {
		return nil
	}
	idle := e.idle(i, now)
	if idle.Empty() || !pool.hedging.book.Spend() {
		return nil
	}
	if !pool.budget.Retry(now) {
		pool.hedging.book.Refund()
		return nil
	}
	tried, shadowed := e.tried[i], e.shadowed
	all := balancer.FirstN(len(pool.candidates))
	for word := range all {
		e.tried[i][word] = all[word] &^ idle[word]
	}
	s := e.acquireOf(i, now)
	e.tried[i], e.shadowed = tried, shadowed
	if s == nil {
		pool.hedging.book.Refund()
		return nil
	}
	s.decision.Reason = balancer.ReasonHedge
	pool.series.Pick(int(balancer.ReasonHedge))
	for j, ep := range pool.endpoints {
		if ep == s.lease.Endpoint() {
			e.tried[i].Set(j)
		}
	}
	e.spend(s)
	return s
}

// targetOf is the place of t among the route's targets.
func (e *Exchange) targetOf(t *target) int {
	for i := range e.name.route.targets {
		if &e.name.route.targets[i] == t {
			return i
		}
	}
	panic("BUG: a target of another route")
}

// idle is which endpoints of a target were not tried, and would begin with the
// request soon.
func (e *Exchange) idle(i int, now time.Time) balancer.Mask {
	t := &e.name.route.targets[i]
	m, cold, clock := e.untried(i, now), e.coldOf(t, now), t.pool.members.Clock(now)
	absent, queued := e.adaptersOf(t, now)
	for j := range t.pool.candidates {
		if cold.Has(j) || absent.Has(j) || queued.Has(j) || t.pool.candidates[j].Ahead(clock) >= backends.HedgeIdle {
			m.Clear(j)
		}
	}
	return m
}

// soundsOrSearches reports whether a chat may ask for more than text: sound, or a
// search that the backend makes. It looks for the keys anywhere.
func (e *Exchange) soundsOrSearches() bool {
	for _, key := range [...]string{`"modalities"`, `"input_audio"`, `"web_search_options"`} {
		if bytes.Contains(e.body.B, []byte(key)) {
			return true
		}
	}
	return false
}

// race sends s beside first.
func (e *Exchange) race(first, s *Attempt, now time.Time) {
	h := &hedge{srv: e.srv, route: e.name.route, cell: &e.conn.cell, attempt: s, done: make(chan struct{})}
	h.out = e.outgoing(s, now)
	h.out.Hangup = h
	h.out.FirstByte -= now.Sub(first.lease.Sent) // both are given up at once
	s.want = first.want
	h.own(e)
	e.hedge = h
	h.cell.second.Store(h)
	h.srv.inflight.Add(1)
	h.srv.flying.Go(h.run)
}

// own makes what is sent the hedge's.
func (h *hedge) own(e *Exchange) {
	size := e.edits.Size(e.body.B)
	h.copied = [...]*buf.Buffer{buf.Get(len(h.out.Query)), buf.Get(len(h.out.Header)), buf.Get(size)}
	query, header, body := h.copied[0], h.copied[1], h.copied[2]
	query.B = append(query.B, h.out.Query...)
	header.B = append(header.B, h.out.Header...)
	body.B = e.edits.AppendTo(body.B, e.body.B)
	h.out.Query, h.out.Header, h.out.Body, h.out.Edits = query.B, header.B, body.B, nil
}

// run is the second try.
func (h *hedge) run() {
	defer h.srv.inflight.Add(-1)
	defer close(h.done)
	a := h.attempt
	defer func() {
		if p := recover(); p != nil {
			h.srv.logPanic(nil, p, debug.Stack())
			h.end(hedgeFailed)
			a.finish(backends.Ignored, backends.Report{Evidence: backends.Neutral}, time.Now())
		}
	}()
	f := asFailure(a.run(&h.out, h.route))
	for _, b := range h.copied {
		b.Free()
	}
	if f == nil && a.status < 400 && h.end(hedgeWon) {
		h.cell.breakOff()
		return
	}
	now, r := time.Now(), backends.Report{Evidence: backends.Neutral}
	if !h.end(hedgeFailed) { // it came too late
		a.finish(backends.Ignored, r, now)
		return
	}
	r = a.book(f, now)
	a.finish(outcomeOf(f, r), r, now)
}

// decideRace says whose answer it is, when the first try a has ended, with f or
// with the beginning of an answer. That try is over if it is the other one's.
func (e *Exchange) decideRace(a *Attempt, f *backends.Failure) (*Attempt, *backends.Failure) {
	h := e.hedge
	answers := f == nil && !repeats(a.status)
	if answers || f != nil && f.Gone && e.conn.Gone() {
		if h.end(hedgeLost) {
			h.breakOff()
			e.raceOver(hedgeLost)
			return a, f
		}
	}
	<-h.done
	if !h.won() {
		e.raceOver(hedgeFailed)
		return a, f
	}
	now := time.Now()
	e.raced = a.lease.Sent
	outcome, r := backends.Ignored, backends.Report{Evidence: backends.Neutral}
	switch {
	case f == nil && answers, f != nil && f.Gone:
		e.noteLateness(a, now) // it is at least that late
	default:
		r = a.book(f, now)
		outcome = outcomeOf(f, r)
		e.srv.logRetry(e, a, f, r.Status)
	}
	e.drop(outcome, r, now)
	s := h.attempt
	e.attempt, e.backend, e.decision = s, s.lease.Endpoint().URL(), s.decision
	e.raceOver(hedgeWon)
	if !s.lease.Entrust(h.cell) {
		return s, &backends.Failure{Phase: backends.PhaseBody, Gone: true, Backend: e.backend, Err: errClientLeft}
	}
	return s, nil
}

// raceOver is the end of a race.
func (e *Exchange) raceOver(as hedgeResult) {
	h := e.hedge
	e.hedge, e.hedged = nil, as
	h.cell.second.Store(nil)
	e.attempt.pool.hedging.series.Over(int(as) - 1)
}

// callOff ends a race that nobody decides.
func (e *Exchange) callOff() {
	h := e.hedge
	if h.end(hedgeLost) {
		h.breakOff()
	} else if <-h.done; h.won() {
		h.attempt.finish(backends.Ignored, backends.Report{Evidence: backends.Neutral}, time.Now())
	}
	e.raceOver(hedgeLost)
}

// noteLateness learns how long a's answer took to begin, or did not begin yet.
func (e *Exchange) noteLateness(a *Attempt, now time.Time) {
	if a.status >= 400 || a.lease.Sent.IsZero() || a.cold || !e.repeatable(a) {
		return
	}
	streamed := a.want.stream
	expected := a.lease.Expected(streamed, now)
	a.pool.hedging.lateness(streamed).Observe(float64(now.Sub(a.lease.Sent)) / float64(expected))
}
