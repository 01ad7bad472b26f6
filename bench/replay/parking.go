package replay

// Waiting for room: package router's use of admission's queue.

import (
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/router/admission"
)

// turnsAway reports whether f is refused before anything else, as package router's
// shed does: the cheapest class first, where the queue is nearly full, or nearly
// all places are taken that nobody may wait for.
func (r *router) turnsAway(f *flight) bool {
	q := r.world.config.Queue
	if q.Wait > 0 {
		if r.queue.Len() == 0 {
			return false
		}
		n, ahead := r.ahead(f)
		return f.waiter.Class.Sheds(admission.Fullness(n, q.Size, ahead, q.Wait), f.chance)
	}
	return f.waiter.Class == admission.Batch && f.waiter.Class.Sheds(r.taken(), f.chance)
}

// taken is the part of all places that is taken, 0 if there is no end of them.
func (r *router) taken() float64 {
	used, bound := int64(0), int64(0)
	open := r.pool.Members().Eligible(r.time())
	for i := range r.candidates {
		c := &r.candidates[i]
		if !open.Has(i) {
			continue
		}
		if c.Bound() == 0 {
			return 0
		}
		used, bound = used+int64(c.Load.InFlight()), bound+int64(c.Bound())
	}
	return ratio(used, bound)
}

// ahead is how many requests would go before f, and how long they would take.
func (r *router) ahead(f *flight) (int, time.Duration) {
	n, work := r.queue.AheadOf(f.waiter.Class, f.waiter.Tenant)
	return n, max(time.Duration(work/float64(len(r.candidates))*float64(time.Second)), r.pace.Wait(n))
}

// park lets f wait for room, if there is a queue and a hope in it.
func (r *router) park(f *flight) {
	q, w := r.world.config.Queue, &f.waiter
	if f.tries > 0 || r.pool.Members().Eligible(r.time()).Empty() {
		r.over(f, Failed)
		return
	}
	n, ahead := r.ahead(f)
	if n >= q.Size || ahead > q.Wait {
		r.over(f, Refused)
		return
	}
	if w.Class.Sheds(admission.Fullness(n, q.Size, ahead, q.Wait), f.chance) {
		r.shed(f)
		return
	}
	if r.queue.Len() >= q.Size && !r.displace(w) {
		r.over(f, Refused)
		return
	}
	tokens := r.estimator.Input(promptOf(&r.world.config.Trace.Requests[f.request]))
	w.Cost, w.Work = float64(tokens), balancer.PrefillSeconds(tokens)
	f.parked, f.waited = true, true
	r.queue.Offer(w, r.time())
	r.fairness.waits(w)
	r.world.events.add(r.world.now+int64(q.Wait), kindExpire, int(f.number), int64(f.request))
	r.freed() // a place may be free that the others before it did not want
}

// shed refuses f for those that are more urgent, or another tenant.
func (r *router) shed(f *flight) {
	r.world.result.Shed++
	r.over(f, Refused)
}

// displace refuses a request that has to make way for w, and reports whether there
// is one.
func (r *router) displace(w *admission.Waiter) bool {
	other := r.queue.Displace(w.Class, w.Tenant)
	if other == nil {
		return false
	}
	r.fairness.goes(other)
	r.shed(other.Owner.(*flight))
	return true
}

// freed has those go who can, in their order.
func (r *router) freed() {
	for {
		w := r.queue.Next(r.time())
		if w == nil {
			r.pace.Reset()
			return
		}
		f := w.Owner.(*flight)
		f.tried = balancer.Mask{}
		if f.parked = false; !r.try(f) {
			f.parked = true
			r.queue.Again(w)
			return
		}
		r.fairness.goes(w)
		if r.queue.Len() > 0 {
			r.pace.Given(r.time())
		}
	}
}

// expire ends the waiting of a request that waited in vain.
func (w *world) expire(number int32, request int) {
	f := w.flights[number]
	if f.request != request || !f.parked {
		return
	}
	f.router.leaveQueue(f)
	f.router.over(f, Refused)
}

// leaveQueue takes f out of the queue.
func (r *router) leaveQueue(f *flight) {
	if r.queue.Cancel(&f.waiter) {
		r.fairness.goes(&f.waiter)
	}
}
