package router

import (
	"slices"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/router/admission"
)

// This file is what a second try may do where requests wait: less than a fresh
// one. Without that, a backend that fails under load would double the load.

// spent is an endpoint that a request was sent to in vain.
type spent struct {
	pool     *Pool
	endpoint int
}

// spend notes that a was in vain, unless its endpoint was forgiven.
func (e *Exchange) spend(a *Attempt) {
	free := slices.Index(e.spent[:], spent{})
	for i := range e.name.route.targets {
		if e.name.route.targets[i].pool != a.pool || free < 0 {
			continue
		}
		for j, ep := range a.pool.endpoints {
			if ep == a.lease.Endpoint() && e.tried[i].Has(j) {
				e.spent[free] = spent{a.pool, j}
				return
			}
		}
	}
}

// unspent is those endpoints of a target that requests may go to and that e was
// not sent to in vain.
func (e *Exchange) unspent(target int, now time.Time) balancer.Mask {
	open := e.open(target, now)
	for _, s := range e.spent {
		if s.pool == e.name.route.targets[target].pool {
			open.Clear(s.endpoint)
		}
	}
	return open
}

// chooseAgain forgets what had no room, and not what was tried in vain.
func (e *Exchange) chooseAgain(now time.Time) {
	e.begunChoosing(now)
	for _, s := range e.spent {
		for i := range e.name.route.targets {
			if s.pool != nil && e.name.route.targets[i].pool == s.pool {
				e.tried[i].Set(s.endpoint)
			}
		}
	}
}

// standsBack reports whether e is not to be repeated since too many wait: it would
// be refused like a batch. Then what the backend said is the answer.
func (e *Exchange) standsBack() bool {
	if e.snap.lots.pressed.Load() == 0 {
		return false
	}
	for i := range e.name.route.targets {
		l := e.name.route.targets[i].pool.lot
		if l == nil || !admission.Batch.Sheds(float64(l.saturation[admission.Batch].Load())/1000, e.chance()) {
			return false
		}
	}
	return true
}

// refusedAgain is the answer to a request that found no room for another try: what
// the one before failed of, if that is known.
func (e *Exchange) refusedAgain(err error) error {
	p, ok := err.(*helixflow.Error)
	if e.failure == nil || !ok || p.Kind != helixflow.KindOverloaded && p.Kind != helixflow.KindDeadline {
		return err
	}
	return blame(e.failure)
}

// classFor is how urgent e's next try is: fresh work goes before what a backend
// has begun to work on already.
func (e *Exchange) classFor() admission.Class {
	if e.again {
		return admission.Batch
	}
	return e.snap.classOf(e.principal.Tenant)
}

// repeats notes that another try follows a, by what that tells of its backend.
func (e *Exchange) repeats(a *Attempt, f *backends.Failure, r backends.Report) {
	e.failure, e.again = f, r.Evidence != backends.Unreachable
	e.spend(a)
}
