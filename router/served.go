package router

import (
	"time"

	"github.com/helixflow/helixflow/balancer"
)

// This file leaves out the backends that do not list the model, where the pool
// goes by their lists.

// askLists makes t go by the lists of its pool. model is the configured name it
// has there; empty: whatever the caller asks for.
func (t *target) askLists(model string) {
	if !t.pool.listed && !t.pool.adapters {
		return
	}
	if model == "" {
		t.anyModel = true
		return
	}
	t.served = t.pool.members.Serving(model)
}

// serving returns who of a target serves the request's model, and who has to load
// it first; ok is false where nobody goes by lists.
func (e *Exchange) serving(t *target, now time.Time) (serves, cold balancer.Mask, ok bool) {
	switch {
	case !t.pool.listed:
		return serves, cold, false
	case t.served != nil:
		serves, cold = t.served.At(now)
	case t.anyModel && (e.body != nil || e.upload != nil || e.deployment != nil):
		serves, cold = t.pool.members.Serves(string(e.wanted()), now)
	default:
		return serves, cold, false
	}
	return serves, cold, true
}

// goByLists decides whether who does not list the model is left out. Where that
// would be all of them, nobody is: what a backend answers then says best what is
// wrong.
func (e *Exchange) goByLists(now time.Time) {
	e.byLists = false
	if !e.name.route.listed {
		return
	}
	for i := range e.name.route.targets {
		if serves, _, ok := e.serving(&e.name.route.targets[i], now); !ok || !serves.Empty() {
			e.byLists = true
			return
		}
	}
}

// open is which endpoints of a target may be asked, tried ones among them.
func (e *Exchange) open(i int, now time.Time) balancer.Mask {
	if e.unable>>i&1 != 0 {
		return balancer.Mask{}
	}
	t := &e.name.route.targets[i]
	open := t.pool.members.Eligible(now)
	if e.byLists {
		if serves, _, ok := e.serving(t, now); ok {
			return open.And(serves)
		}
	}
	return open
}

// coldOf is who of a target has to load the model first.
func (e *Exchange) coldOf(t *target, now time.Time) balancer.Mask {
	_, cold, _ := e.serving(t, now)
	return cold
}

// adaptersOf is who of a target has to load the model first, where that is an
// adapter to another one, and where requests wait for room to.
func (e *Exchange) adaptersOf(t *target, now time.Time) (absent, queued balancer.Mask) {
	switch {
	case !t.pool.adapters:
		return absent, queued
	case t.served != nil:
		return t.served.Adapters(now)
	case t.anyModel && e.body != nil:
		return t.pool.members.Adapters(string(e.wanted()), now)
	}
	return absent, queued
}

// timeLoading notes how long a model took to load: what a stream's first token
// took of a backend that did not have it. Of a whole answer that cannot be told.
func (a *Attempt) timeLoading(now time.Time) {
	if a.cold && a.events {
		a.lease.Endpoint().Signals.SetLoadTime(now.Sub(a.lease.Sent))
	}
}
