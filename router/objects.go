package router

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/objects"
)

// This file keeps tenants' objects apart: files, batches, stored responses and
// whatever else a backend keeps under an id. A request may name what the registry
// knows as its tenant's, and goes where that lives. To whom it does not belong, an
// object is as one that does not exist.

// reach is where a request may go, by the objects that it names.
type reach struct {
	narrowed bool
	targets  uint64 // of the route, a bit each; maxTargets of a configuration is 64
	pinned   bool   // it goes where home says
	home     objects.Home
}

// may reports whether the request may go to a target.
func (r *reach) may(target int) bool { return !r.narrowed || r.targets>>target&1 != 0 }

// own narrows the request's reach to where the object of this id is its tenant's.
// The tenant whose account a pool is may also name what nobody is known to have.
func (e *Exchange) own(id []byte, param string) error {
	var known, allowed uint64
	var home objects.Home
	for i := range e.name.route.targets {
		pool := e.name.route.targets[i].pool
		if !e.reach.may(i) {
			continue
		}
		switch at, whose := e.srv.objects.Find(pool.name, e.principal.Tenant, id, e.began); {
		case whose == objects.Own && known == 0: // in another pool it is another object
			known, home = 1<<i, at
		case whose == objects.Unknown && pool.isOwnedBy(e.principal.Tenant):
			allowed |= 1 << i
		}
	}
	switch {
	case known != 0:
		e.reach.targets = known
		if !e.reach.pinned {
			e.reach.pinned, e.reach.home = true, home
		}
	case allowed != 0:
		e.reach.targets = allowed
	default:
		return objectNotFound(param)
	}
	e.reach.narrowed = true
	return nil
}

// mustOwn is own, also for what is on its way to a backend already: a form, which
// does not reach it whole then, or a websocket.
func (e *Exchange) mustOwn(id []byte, param string) error {
	if e.attempt == nil {
		return e.own(id, param)
	}
	pool := e.attempt.pool
	switch _, whose := e.srv.objects.Find(pool.name, e.principal.Tenant, id, e.began); {
	case whose == objects.Own, whose == objects.Unknown && pool.isOwnedBy(e.principal.Tenant):
		return nil
	default:
		return objectNotFound(param)
	}
}

func (p *Pool) isOwnedBy(tenant string) bool { return p.owner != "" && p.owner == tenant }

func objectNotFound(param string) error {
	return &helixflow.Error{Kind: helixflow.KindObjectNotFound, Param: param}
}

// confine strikes off what the request may not reach: other targets, and on the
// one that it is bound to other endpoints than the object's. Where that has left
// the plan, any other may have taken its place.
func (e *Exchange) confine() {
	if !e.reach.narrowed {
		return
	}
	for i := range e.name.route.targets {
		home := e.home(i)
		for j := range e.name.route.targets[i].pool.endpoints {
			if !e.reach.may(i) || home >= 0 && j != home {
				e.tried[i].Set(j)
			}
		}
	}
}

// reaches reports whether the request may go to all these endpoints of a target.
func (e *Exchange) reaches(target int, open balancer.Mask) bool {
	if home := e.home(target); home >= 0 {
		open.Clear(home)
		return open.Empty() && e.reach.may(target)
	}
	return e.reach.may(target)
}

// home is which endpoint of a target the request is bound to, or -1.
func (e *Exchange) home(target int) int {
	if !e.reach.pinned {
		return -1
	}
	return e.name.route.targets[target].pool.endpointMarked(e.reach.home.Endpoint)
}

// endpointMarked is which of the pool's endpoints has the mark, or -1.
func (p *Pool) endpointMarked(mark uint32) int {
	for j, ep := range p.endpoints {
		if ep.Mark() == mark {
			return j
		}
	}
	return -1
}

// credentialFor is the pool's credential for the next try: the one that the
// request's object was made with, since another may be of another account.
func (e *Exchange) credentialFor(p *Pool, now time.Time) *backends.Credential {
	if e.reach.pinned {
		if k := p.credentials.Marked(e.reach.home.Credential); k != nil {
			return k
		}
	}
	return p.credentials.Pick(now)
}
