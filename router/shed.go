package router

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/router/admission"
)

// This file refuses early what there is no room for: before its body is read, the
// cheapest class first. While no queue is pressed that costs one atomic load.

// pressedFrom is the saturation of a lot, in thousandths, from which on anybody
// may be refused early.
const pressedFrom = 600

// standing is what is known of a tenant's requests before their bodies are read.
type standing struct {
	class admission.Class
	pools []*Pool // that its models may lead to
}

// shed refuses e if the pools that it may go to are so full that one of its class
// has to stand back. It is known who asks, and not yet for which model.
func (e *Exchange) shed() error {
	s := e.snap
	if s.lots.pressed.Load() == 0 && !s.shedsUnqueued {
		return nil
	}
	own := s.standings[e.principal.Tenant]
	if own == nil || len(own.pools) == 0 {
		return nil
	}
	least := own.pools[0]
	for _, p := range own.pools[1:] {
		if p.saturation(own.class, e.began) < least.saturation(own.class, e.began) {
			least = p
		}
	}
	return e.shedFrom(least, own.class)
}

// shedAtRoute is shed once the model is known, for pools where nobody may wait:
// where one may, the queue decides.
func (e *Exchange) shedAtRoute() error {
	if !e.snap.shedsUnqueued {
		return nil
	}
	class := e.snap.classOf(e.principal.Tenant)
	if class != admission.Batch {
		return nil
	}
	targets := e.name.route.targets
	least := targets[0].pool
	for i := range targets {
		p := targets[i].pool
		if p.lot != nil {
			return nil
		}
		if p.saturation(class, e.bodyRead) < least.saturation(class, e.bodyRead) {
			least = p
		}
	}
	return e.shedFrom(least, class)
}

func (e *Exchange) shedFrom(p *Pool, class admission.Class) error {
	if !class.Sheds(p.saturation(class, e.began), e.chance()) {
		return nil
	}
	if p.lot == nil {
		e.srv.metrics.Shed(class.String())
		return shedError(0)
	}
	saturation, ahead, why := p.saturationFor(class, e.principal.Tenant)
	switch {
	case !class.Sheds(saturation, e.chance()): // others use the room up: one of theirs makes way
		return nil
	case saturation >= 1:
		p.lot.series.refused.Add(1)
		return overloaded(ahead, why)
	}
	e.srv.metrics.Shed(class.String())
	p.lot.series.shed.Add(1)
	return shedError(ahead)
}

// saturationFor is saturation as a tenant sees it that takes turns with the others
// of its class, how long it would wait, and why it could not where it is 1.
func (p *Pool) saturationFor(class admission.Class, tenant string) (saturation float64, ahead time.Duration, why string) {
	l := p.lot
	l.mu.Lock()
	defer l.mu.Unlock()
	n, work := l.queue.AheadOf(class, tenant)
	ahead = l.time(n, work, p)
	return p.fullness(n, ahead), ahead, p.whyFull(n, ahead)
}

// chance is drawn once for a request, so that who has been let past one look is
// not taken at the next.
func (e *Exchange) chance() float64 {
	if e.drawn == 0 {
		e.drawn = 1 - rand.Float64()
	}
	return 1 - e.drawn
}

// saturation is how much is used up of the room that a class may have in p, from
// 0 to 1: of the queue, or where there is none, of the places, which only a batch
// stands back from.
func (p *Pool) saturation(class admission.Class, now time.Time) float64 {
	if p.lot != nil {
		return float64(p.lot.saturation[class].Load()) / 1000
	}
	if class != admission.Batch {
		return 0
	}
	var used, bound int64
	open := p.members.Eligible(now)
	for i := range p.candidates {
		c := &p.candidates[i]
		if !open.Has(i) {
			continue
		}
		n := c.Bound()
		if n == 0 {
			return 0
		}
		used += int64(c.Load.InFlight())
		bound += int64(n)
	}
	if bound == 0 {
		return 0
	}
	return float64(used) / float64(bound)
}

// measure notes how full the queue is for each class: only those count that are as
// urgent, for the others make way. The lock is held.
func (l *lot) measure(p *Pool) {
	if l.queue.Len() == 0 {
		l.pace.Reset()
	}
	before := l.saturation[admission.Batch].Load()
	for c := range admission.NumClasses {
		n, work := l.queue.Ahead(c)
		ahead := l.time(n, work, p)
		l.ahead[c].Store(int64(ahead))
		l.saturation[c].Store(uint32(p.fullness(n, ahead) * 1000))
	}
	switch after := l.saturation[admission.Batch].Load(); {
	case before < pressedFrom && after >= pressedFrom:
		l.all.pressed.Add(1)
	case before >= pressedFrom && after < pressedFrom:
		l.all.pressed.Add(-1)
	}
}

// fullness is how much of the queue is used up, from 0 to 1, by requests of which
// there are n and that will take a time.
func (p *Pool) fullness(n int, ahead time.Duration) float64 {
	return admission.Fullness(n, p.queue.size, ahead, p.queue.wait)
}

// time is how long n requests will take: by the work they are, or by the pace of
// those that went lately. The lock is held.
func (l *lot) time(n int, work float64, p *Pool) time.Duration {
	ahead := time.Duration(work / float64(len(p.endpoints)) * float64(time.Second))
	return max(ahead, l.pace.Wait(n))
}

// errShed is the cause of a refusal that made room for others.
var errShed = errors.New("requests of lower priority are refused first")

// errCrowding is the cause of a refusal that made room for another tenant.
var errCrowding = errors.New("the tenant that has most requests waiting makes way")

// shedError is the error of a request that has to stand back; ahead is how long
// those before it will take.
func shedError(ahead time.Duration) *helixflow.Error {
	p := overloaded(ahead, reasonPriority)
	p.Public, p.Cause = "This model is overloaded, and requests of this priority are refused first.", errShed
	return p
}

// crowdingError is the error of a request that made way for another tenant's.
func crowdingError(ahead time.Duration) *helixflow.Error {
	p := overloaded(ahead, reasonQueueShare)
	p.Public, p.Cause = "This model is overloaded, and too many of your requests wait for it already.", errCrowding
	return p
}
