package replay

// Second tries of requests whose answers are late: package router's use of backends'
// hedges.

import (
	"time"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
)

// watchForLate has late happen when f's answer is late, if it may be asked twice.
func (r *router) watchForLate(f *flight) {
	h := r.world.config.Hedge
	if h.Percentile == 0 || f.tries > 1 {
		return
	}
	r.hedges.Request()
	if !r.repeatable(&f.try, f) {
		return
	}
	if late := r.hedges.Streams.Late(h.Percentile, f.lease.Expected(true, r.time())); late > 0 {
		r.world.events.add(r.world.now+int64(late), kindLate, int(f.number), int64(f.request))
	}
}

// repeatable reports whether the request is small enough to be computed twice.
func (r *router) repeatable(t *try, f *flight) bool {
	prompt := int64(r.world.config.Trace.Requests[f.request].Prompt)
	size := t.size
	if size == 0 { // nobody has looked
		size = prompt
	}
	return size-t.hit <= backends.HedgeTokens && prompt*bytesPerToken <= backends.HedgeBytes
}

// late sends a request to a second backend, if its first one has still not begun,
// there is one that has little to do, and the budgets allow it.
func (w *world) late(number int32, request int) {
	f := w.flights[number]
	if f.request != request || f.tries != 1 || f.first != 0 || f.engine == nil {
		return
	}
	r := f.router
	if !r.trySecond(f) {
		w.result.Hedges.Skipped++
	}
}

func (r *router) trySecond(f *flight) bool {
	now, idle := r.time(), r.idle(f)
	if r.queue.Len() > 0 || idle.Empty() || !r.hedges.Spend() {
		return false
	}
	if !r.pool.Budget().Retry(now) || !r.acquire(f, &f.second, idle) {
		r.hedges.Refund()
		return false
	}
	f.tries++
	e := f.second.engine
	if !e.up || e.submit(f, &f.second) != nil {
		r.hurry(e.number)
		r.world.result.Hedges.Failed++
		f.second.end(r, backends.Failed, backends.Report{Evidence: backends.Unreachable})
	}
	return true
}

// idle is which backends would begin with a request soon.
func (r *router) idle(f *flight) balancer.Mask {
	open := r.untried(f, r.time())
	for i := range r.candidates {
		if r.candidates[i].Ahead(r.world.now) >= backends.HedgeIdle {
			open.Clear(i)
		}
	}
	return open
}

// secondWins makes the second try the request's: its first token is there.
func (r *router) secondWins(f *flight) {
	r.world.result.Hedges.Won++
	r.noteLateness(&f.try, f) // it is at least that late
	loser := f.try
	f.try, f.second = f.second, try{}
	f.served = f.engine
	r.breakOff(&loser)
}

// secondLoses ends the second try, if there is one.
func (r *router) secondLoses(f *flight) {
	if f.second.engine == nil {
		return
	}
	r.world.result.Hedges.Lost++
	loser := f.second
	f.second = try{}
	r.breakOff(&loser)
}

// secondBroke is the end of the second try's backend.
func (r *router) secondBroke(f *flight) {
	r.world.result.Hedges.Failed++
	r.hurry(f.second.engine.number)
	f.second.end(r, backends.Failed, backends.Report{Evidence: backends.Faulty})
	f.second = try{}
}

// breakOff ends a try that nobody waits for.
func (r *router) breakOff(t *try) {
	e := t.engine
	seq := *t
	t.end(r, backends.Ignored, backends.Report{Evidence: backends.Neutral})
	e.abort(&seq)
}

// noteLateness learns how long t took to begin, or did not begin yet.
func (r *router) noteLateness(t *try, f *flight) {
	if r.world.config.Hedge.Percentile == 0 || !r.repeatable(t, f) {
		return
	}
	now := r.time()
	r.hedges.Streams.Observe(float64(now.Sub(t.sent)) / float64(max(t.lease.Expected(true, now), time.Nanosecond)))
}
