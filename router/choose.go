package router

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file chooses where a try goes: a target by priority and weight, an
// endpoint of its pool by the pool's policy. Nothing is ever tried twice.

// begunChoosing forgets what an earlier request on this Exchange tried.
func (e *Exchange) begunChoosing(now time.Time) {
	e.tried = e.tried[:0]
	for range e.name.route.targets {
		e.tried = append(e.tried, balancer.Mask{})
	}
	e.goByLists(now)
	e.confine()
	if e.pick == nil {
		e.pick = placings.Get().(*placing)
	}
	e.pick.Rand, e.pick.Cold = rand.Uint64(), balancer.Mask{}
	e.pick.Absent, e.pick.Queued = balancer.Mask{}, balancer.Mask{}
}

// untried is which endpoints of a target may be tried.
func (e *Exchange) untried(i int, now time.Time) balancer.Mask {
	open := e.open(i, now)
	for word := range open {
		open[word] &^= e.tried[i][word]
	}
	return open
}

func (e *Exchange) anyLeft(now time.Time) bool {
	for i := range e.name.route.targets {
		if !e.untried(i, now).Empty() {
			return true
		}
	}
	return false
}

// forgive lets the endpoint of a be tried again.
func (e *Exchange) forgive(a *Attempt) {
	for i, t := range e.name.route.targets {
		if t.pool != a.pool {
			continue
		}
		for j, ep := range t.pool.endpoints {
			if ep == a.lease.Endpoint() {
				e.tried[i].Clear(j)
			}
		}
	}
}

// acquire takes a place on an endpoint of the first group that has one, and
// stays with a later group for a while once it had to go there.
func (e *Exchange) acquire(now time.Time) (*Attempt, *target) {
	r := e.name.route
	begin := r.fallback.first(now, len(r.groups))
	for step := range r.groups {
		g := (begin + step) % len(r.groups) // those before it come last
		if a, t := e.acquireIn(r.groups[g], now); a != nil {
			switch {
			case g > 0:
				a.decision.Reason = balancer.ReasonFallback
			case e.tries > 0:
				a.decision.Reason = balancer.ReasonRetry
			}
			a.pool.series.Pick(int(a.decision.Reason))
			e.decision, e.chosenBy = a.decision, a.pool.policy.Name()
			// Only what the first try finds unusable is: a later one may just have
			// tried all of it, and one that is bound to an object may not go there.
			if g > begin && r.hold > 0 && e.tries == 0 && !e.reach.narrowed && e.unable == 0 {
				r.fallback.fell(g, now, r.hold)
			}
			return a, t
		}
	}
	return nil, nil
}

// acquireIn splits by weight among the targets of one priority that have an
// endpoint left.
func (e *Exchange) acquireIn(g group, now time.Time) (*Attempt, *target) {
	if g.end-g.first == 1 { // nothing to split
		return e.acquireOf(g.first, now), &e.name.route.targets[g.first]
	}
	for {
		i := e.weighted(g, now)
		if i < 0 {
			return nil, nil
		}
		if a := e.acquireOf(i, now); a != nil {
			return a, &e.name.route.targets[i]
		}
	}
}

// weighted draws one of the group's targets that have an endpoint left, or -1.
func (e *Exchange) weighted(g group, now time.Time) int {
	total := 0
	for i := g.first; i < g.end; i++ {
		if !e.untried(i, now).Empty() {
			total += e.name.route.targets[i].weight
		}
	}
	if total == 0 {
		return -1
	}
	draw := rand.IntN(total)
	for i := g.first; i < g.end; i++ {
		if e.untried(i, now).Empty() {
			continue
		}
		if draw -= e.name.route.targets[i].weight; draw < 0 {
			return i
		}
	}
	return -1 // the last one went out between the two looks
}

// acquireOf takes a place on an endpoint of one target. Endpoints that turn out
// to be full or on trial are struck off.
func (e *Exchange) acquireOf(i int, now time.Time) *Attempt {
	pool, p := e.name.route.targets[i].pool, e.place(i, now)
	p.Cold = e.coldOf(&e.name.route.targets[i], now)
	p.Absent, p.Queued = e.adaptersOf(&e.name.route.targets[i], now)
	a := attempts.Get().(*Attempt)
	for again := true; ; p.Eligible = e.untried(i, now) {
		j := balancer.Choose(pool.policy, &p.Request, pool.candidates)
		if j < 0 {
			// Nobody of them has room: do not look here again.
			e.tried[i] = balancer.FirstN(len(pool.candidates))
			a.release()
			return nil
		}
		e.tried[i].Set(j)
		ep, aside := pool.endpoints[j], pool.consult(&p.Request, j)
		pass, ok := pool.members.Enter(j, now)
		if !ok {
			continue
		}
		if ep.Acquire(&a.lease, pool.candidates[j].Bound()) {
			if overtaken := a.lease.Promise(&p.Request); !overtaken || !again {
				a.pool, a.pass, a.cold = pool, pass, p.Cold.Has(j)
				a.room.enter(&pool.candidates[j])
				aside.count(j)
				e.shadowed = aside
				a.decision, a.tokens, a.place = p.Decision, p.Tokens, pool.candidates[j].Place
				if p.Index != nil {
					pool.index.given(&p.chain, a.place, ep, p.Now)
				}
				return a
			}
			again = false // what it was decided by is no longer so
			e.tried[i].Clear(j)
			a.lease.Finish(backends.Ignored, now)
		}
		ep.Report(backends.Report{Pass: pass, Evidence: backends.Neutral}, now)
	}
}

// prepare lays the edits that the target wants around the body's bytes.
func (e *Exchange) prepare(t *target) error {
	if e.prepared == t {
		return nil
	}
	e.prepared = t
	e.edits.Reset()
	switch {
	case e.upload != nil:
		e.renameForm(t)
		return nil
	case e.body == nil:
		return nil
	}
	if e.op.Understood() || e.op == helixflow.OpResponsesSocket { // the rules are about generating
		if err := e.name.route.params.Apply(e.body.B, &e.call, &e.edits); err != nil {
			return err
		}
	}
	if err := e.rename(t); err != nil {
		return err
	}
	e.salt(t.pool)
	e.withholdUsage = false
	if t.pool.injectUsage {
		e.withholdUsage = openai.InjectUsage(&e.call, &e.edits)
	}
	return nil
}

// rename makes the body name the model as the target knows it.
func (e *Exchange) rename(t *target) error {
	content := t.content
	if content == nil {
		content = e.name.content
	}
	if content == nil && e.deployment != nil {
		content = jsonContent(string(e.deployment))
	}
	m := e.call.Model
	switch {
	case content == nil:
	case m.Present() && string(m.In(e.body.B)) != string(content):
		e.edits.Replace(m, content)
	case !m.Present() && e.deployment != nil && e.call.Members == 0:
		return errEmptyBody
	case !m.Present() && e.deployment != nil:
		e.edits.Insert(e.call.Close, slices.Concat([]byte(`,"model":"`), content, []byte(`"`)))
	}
	return nil
}

// renameForm is rename for a form.
func (e *Exchange) renameForm(t *target) {
	switch {
	case t.plain != nil:
		e.upload.rename(t.plain)
	case e.name.plain != nil:
		e.upload.rename(e.name.plain)
	default:
		e.upload.rename(e.deployment)
	}
}

// headerFor is the client's header lines as the pool gets them: without those
// that its own extra headers take the place of.
func (e *Exchange) headerFor(p *Pool) []byte {
	if p.replaced == nil {
		return e.header.B
	}
	if e.filtered == nil {
		e.filtered = buf.Get(len(e.header.B))
	}
	e.filtered.B = dropNamed(append(e.filtered.B[:0], e.header.B...), p.replaced)
	return e.filtered.B
}

// nothingLeft is the error of a request that no further backend can take.
func (e *Exchange) nothingLeft(now time.Time) error {
	if e.failure != nil {
		return blame(e.failure)
	}
	if e.reach.pinned {
		return errHomeOut
	}
	wait, resting, anyOut := time.Duration(0), false, false
	for i, t := range e.name.route.targets {
		m := t.pool.members
		if !e.open(i, now).Empty() {
			continue
		}
		anyOut = true
		resting = resting || m.Resting(now)
		if w := m.RetryAfter(now); wait == 0 || w < wait {
			wait = w
		}
	}
	switch {
	case !anyOut && e.op == helixflow.OpPassthrough:
		return errPathBusy
	case !anyOut:
		return errAllBusy
	case resting:
		return &helixflow.Error{Kind: helixflow.KindOverloaded, RetryAfter: wait}
	default:
		return &helixflow.Error{Kind: helixflow.KindNoBackend, RetryAfter: wait}
	}
}
