package replay

// Waiting for room: package router's use of admission's queue.

import (
	"strconv"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/router/admission"
)

// park lets f wait for room, if there is a queue and a hope in it.
func (r *router) park(f *flight) {
	q := r.world.config.Queue
	if f.tries > 0 || r.pool.Members().Eligible(r.time()).Empty() {
		r.over(f, Failed)
		return
	}
	n, work := r.queue.Ahead(admission.Default)
	ahead := time.Duration(work / float64(len(r.candidates)) * float64(time.Second))
	if n >= q.Size || ahead > q.Wait {
		r.over(f, Refused)
		return
	}
	t := &r.world.config.Trace.Requests[f.request]
	tokens := r.estimator.Input(promptOf(t))
	f.waiter = admission.Waiter{
		Class: admission.Default, Tenant: strconv.Itoa(int(t.Tenant)), Owner: f,
		Cost: float64(tokens), Work: balancer.PrefillSeconds(tokens),
	}
	f.parked, f.waited = true, true
	r.queue.Offer(&f.waiter, r.time())
	r.world.events.add(r.world.now+int64(q.Wait), kindExpire, int(f.number), int64(f.request))
	r.freed() // a place may be free that the others before it did not want
}

// freed has those go who can, in their order.
func (r *router) freed() {
	for {
		w := r.queue.Next(r.time())
		if w == nil {
			return
		}
		f := w.Owner.(*flight)
		f.tried = balancer.Mask{}
		if f.parked = false; !r.try(f) {
			f.parked = true
			r.queue.Again(w)
			return
		}
	}
}

// expire ends the waiting of a request that waited in vain.
func (w *world) expire(number int32, request int) {
	f := w.flights[number]
	if f.request != request || !f.parked {
		return
	}
	f.router.queue.Cancel(&f.waiter)
	f.router.over(f, Refused)
}
