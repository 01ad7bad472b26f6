package admission

import (
	"container/heap"
	"math"
	"time"
)

// Class is how urgent a request is.
type Class uint8

// The classes, the most urgent first.
const (
	System Class = iota
	Interactive
	Default
	Batch
	NumClasses // how many there are
)

const (
	floorEvery   = 10               // so many places, and one of them is for the lowest class that waits
	promoteAfter = 30 * time.Second // whoever waits longer goes first, whatever its class
	maxIdle      = 10_000           // tenants remembered though none of their requests waits
)

// Waiter is a request in a Queue. Its fields are the caller's to fill, and to
// leave alone while it waits.
type Waiter struct {
	Class    Class
	Tenant   string
	Cost     float64   // of its prompt, in tokens: what its tenant is charged when it goes
	Work     float64   // seconds a backend needs before its first token
	Deadline time.Time // when an answer is of no use any more; zero: never
	Owner    any       // whom to call when it goes

	arrived time.Time
	turn    uint64 // place in the order of arrival
	tenant  *tenant
	charged bool // its tenant was, for its prompt
	at      int  // place in its tenant's heap, or -1
}

// Queue orders the requests that wait for a place in a pool: by class, inside a
// class by tenant, the one served least first (Sheng et al., Fairness in Serving
// Large Language Models, OSDI 2024), inside a tenant by deadline and arrival. It
// is a pure state machine, not safe for concurrent use: time is passed in, and
// waking whoever goes is the caller's business. The zero Queue is empty.
type Queue struct {
	classes [NumClasses]class
	n       int
	turns   uint64
	places  uint64 // given away so far
}

// class is the tenants with waiting requests of one class, and the memory of
// those without.
type class struct {
	active pile[*tenant]
	all    map[string]*tenant
	n      int
	work   float64
}

// tenant is one tenant's waiting requests of one class.
type tenant struct {
	name    string
	counter float64 // tokens it was served, lifted after it was idle
	waiters pile[*Waiter]
	at      int // place among the active ones, or -1
}

// Len is how many wait.
func (q *Queue) Len() int { return q.n }

// Ahead is how many wait that are as urgent as c or more so, and for how many
// seconds they would keep one backend busy.
func (q *Queue) Ahead(c Class) (n int, work float64) {
	for i := range q.classes[:c+1] {
		n += q.classes[i].n
		work += q.classes[i].work
	}
	return n, work
}

// AheadOf is Ahead as a tenant's next request of class c sees it: inside a class
// tenants take turns, so of each of the others no more requests go before it than
// of its own, and one.
func (q *Queue) AheadOf(c Class, tenant string) (n int, work float64) {
	if c > System {
		n, work = q.Ahead(c - 1)
	}
	own := &q.classes[c]
	if own.n == 0 {
		return n, work
	}
	mine, tenants := own.waiting(tenant), len(own.active)
	if mine == 0 {
		tenants++
	}
	turns := min(own.n, (mine+1)*tenants-1)
	return n + turns, work + own.work*float64(turns)/float64(own.n)
}

// waiting is how many requests of a tenant wait.
func (c *class) waiting(tenant string) int {
	if t := c.all[tenant]; t != nil {
		return len(t.waiters)
	}
	return 0
}

// Displace takes out the request that makes way for another one of a tenant and
// of class c: of the least urgent class, of the tenant that has most waiting
// there, the one that would go last. Inside c itself a tenant makes way for one
// that would still have fewer waiting than it. Displace returns nil if nobody does.
func (q *Queue) Displace(c Class, tenant string) *Waiter {
	for i := NumClasses - 1; i >= c && i < NumClasses; i-- {
		t := q.classes[i].greediest()
		if t == nil || i == c && len(t.waiters) <= q.classes[c].waiting(tenant)+1 {
			continue
		}
		w := t.last()
		q.remove(w)
		return w
	}
	return nil
}

// greediest is the tenant that has most requests waiting, of several the one whose
// turn is later; nil if none has any.
func (c *class) greediest() *tenant {
	var most *tenant
	for _, t := range c.active {
		if most == nil || len(t.waiters) > len(most.waiters) || len(t.waiters) == len(most.waiters) && most.before(t) {
			most = t
		}
	}
	return most
}

// last is the request of the tenant that would go last.
func (t *tenant) last() *Waiter {
	last := t.waiters[0]
	for _, w := range t.waiters {
		if last.before(w) {
			last = w
		}
	}
	return last
}

// Offer lets w wait from now on.
func (q *Queue) Offer(w *Waiter, now time.Time) {
	c := &q.classes[w.Class]
	t := c.tenant(w.Tenant)
	if t.at < 0 && len(c.active) > 0 {
		// Who was away has saved nothing: it begins with the one served least.
		t.counter = max(t.counter, c.active[0].counter)
	}
	q.turns++
	w.arrived, w.turn, w.tenant, w.charged = now, q.turns, t, false
	q.add(w)
}

func (q *Queue) add(w *Waiter) {
	heap.Push(&w.tenant.waiters, w)
	c := &q.classes[w.Class]
	c.settle(w.tenant)
	c.n++
	c.work += w.Work
	q.n++
}

// settle puts a tenant where it belongs among the active ones.
func (c *class) settle(t *tenant) {
	switch {
	case t.at < 0 && len(t.waiters) > 0:
		heap.Push(&c.active, t)
	case t.at >= 0:
		heap.Fix(&c.active, t.at)
	}
}

// Again lets w wait once more, at the place it had: it was called, or looked for
// itself, and found no room.
func (q *Queue) Again(w *Waiter) {
	if w.charged {
		w.tenant.counter -= w.Cost
		w.charged = false
	}
	q.add(w)
}

// Next takes out the request that gets a place which is free at now; nil if none
// waits.
func (q *Queue) Next(now time.Time) *Waiter {
	c := q.nextClass(now)
	if c == nil {
		return nil
	}
	w := c.active[0].waiters[0]
	w.tenant.counter += w.Cost
	w.charged = true
	q.remove(w)
	q.places++
	return w
}

// nextClass is the class whose turn it is.
func (q *Queue) nextClass(now time.Time) *class {
	var first, last *class
	for i := range q.classes {
		c := &q.classes[i]
		if len(c.active) == 0 {
			continue
		}
		if first == nil {
			first = c
		} else if now.Sub(c.oldest()) > promoteAfter {
			return c
		}
		last = c
	}
	if (q.places+1)%floorEvery == 0 {
		return last
	}
	return first
}

// oldest is when the first request of the tenant served least came.
func (c *class) oldest() time.Time { return c.active[0].waiters[0].arrived }

// Cancel takes w out, and reports false if it does not wait (any more).
func (q *Queue) Cancel(w *Waiter) bool {
	if w.tenant == nil || w.at < 0 || w.at >= len(w.tenant.waiters) || w.tenant.waiters[w.at] != w {
		return false
	}
	q.remove(w)
	return true
}

// Served is what the tenant of a request was served in its class, in tokens.
func (q *Queue) Served(w *Waiter) float64 {
	if t := q.classes[w.Class].all[w.Tenant]; t != nil {
		return t.counter
	}
	return 0
}

// Charge adds to what w's tenant was served: tokens of an answer. w has been in
// the queue.
func (q *Queue) Charge(w *Waiter, tokens float64) {
	w.tenant.counter += tokens
	q.classes[w.Class].settle(w.tenant)
}

// remove takes w out. A tenant is compared by its first waiter, so one whose only
// waiter it is leaves the active ones first.
func (q *Queue) remove(w *Waiter) {
	t, c := w.tenant, &q.classes[w.Class]
	if len(t.waiters) == 1 {
		heap.Remove(&c.active, t.at)
	}
	heap.Remove(&t.waiters, w.at)
	c.settle(t)
	c.n--
	c.work = math.Max(c.work-w.Work, 0)
	q.n--
}

// tenant returns the tenant of a name. When too many are remembered, those that
// wait for nothing are forgotten.
func (c *class) tenant(name string) *tenant {
	if t := c.all[name]; t != nil {
		return t
	}
	if c.all == nil {
		c.all = make(map[string]*tenant)
	}
	if len(c.all) >= maxIdle+len(c.active) {
		for other, t := range c.all {
			if t.at < 0 {
				delete(c.all, other)
			}
		}
	}
	t := &tenant{name: name, at: -1}
	c.all[name] = t
	return t
}

// before puts the tenant served least first.
func (t *tenant) before(o *tenant) bool {
	if t.counter != o.counter {
		return t.counter < o.counter
	}
	return t.waiters[0].turn < o.waiters[0].turn
}

func (t *tenant) moved(to int) { t.at = to }

// before puts the most urgent request first.
func (w *Waiter) before(o *Waiter) bool {
	if !w.Deadline.Equal(o.Deadline) {
		return o.Deadline.IsZero() || !w.Deadline.IsZero() && w.Deadline.Before(o.Deadline)
	}
	return w.turn < o.turn
}

func (w *Waiter) moved(to int) { w.at = to }

// piled is what lies in a pile and knows where: at -1 once it is out.
type piled[T any] interface {
	before(T) bool
	moved(to int)
}

var (
	_ piled[*tenant] = (*tenant)(nil)
	_ piled[*Waiter] = (*Waiter)(nil)
)

// pile is a heap for package container/heap.
type pile[T piled[T]] []T

func (p pile[T]) Len() int           { return len(p) }
func (p pile[T]) Less(i, j int) bool { return p[i].before(p[j]) }

func (p pile[T]) Swap(i, j int) {
	p[i], p[j] = p[j], p[i]
	p[i].moved(i)
	p[j].moved(j)
}

// Push is called by package heap only.
func (p *pile[T]) Push(x any) {
	x.(T).moved(len(*p))
	*p = append(*p, x.(T))
}

// Pop is called by package heap only.
func (p *pile[T]) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	clear((*p)[last:])
	*p = (*p)[:last]
	x.moved(-1)
	return x
}
