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
	t := &r.world.config.Trace.Requests[f.request]
	tenant := strconv.Itoa(int(t.Tenant))
	n, work := r.queue.AheadOf(admission.Default, tenant)
	ahead := max(time.Duration(work/float64(len(r.candidates))*float64(time.Second)), r.pace.Wait(n))
	if n >= q.Size || ahead > q.Wait || r.queue.Len() >= q.Size && !r.displace(tenant) {
		r.over(f, Refused)
		return
	}
	tokens := r.estimator.Input(promptOf(t))
	f.waiter = admission.Waiter{
		Class: admission.Default, Tenant: tenant, Owner: f,
		Cost: float64(tokens), Work: balancer.PrefillSeconds(tokens),
	}
	f.parked, f.waited = true, true
	r.queue.Offer(&f.waiter, r.time())
	r.world.events.add(r.world.now+int64(q.Wait), kindExpire, int(f.number), int64(f.request))
	r.freed() // a place may be free that the others before it did not want
}

// displace refuses a request that has to make way for a tenant's next one, and
// reports whether there is one.
func (r *router) displace(tenant string) bool {
	w := r.queue.Displace(admission.Default, tenant)
	if w == nil {
		return false
	}
	r.over(w.Owner.(*flight), Refused)
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
	f.router.queue.Cancel(&f.waiter)
	f.router.over(f, Refused)
}
