package admission

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// order empties the queue and names its tenants in the order they go.
func order(q *Queue, now time.Time) string {
	var names []string
	for w := q.Next(now); w != nil; w = q.Next(now) {
		names = append(names, w.Tenant)
	}
	return strings.Join(names, " ")
}

func TestQueueOrder(t *testing.T) {
	now := time.Now()
	f := func(want string, list ...*Waiter) {
		t.Helper()
		var q Queue
		for _, w := range list {
			q.Offer(w, now)
		}
		assert.Equal(t, len(list), q.Len())
		assert.Equal(t, want, order(&q, now))
		assert.Zero(t, q.Len())
		assert.Zero(t, work(&q))
	}
	w := func(class Class, tenant string, cost float64) *Waiter {
		return &Waiter{Class: class, Tenant: tenant, Cost: cost, Work: cost}
	}
	f("")
	f("a b c", w(Default, "a", 1), w(Default, "b", 1), w(Default, "c", 1))
	f("c b a", w(Batch, "a", 1), w(Default, "b", 1), w(Interactive, "c", 1))
	// One tenant's flood waits for the others, by tokens and not by requests.
	f("a b a b a a", w(Default, "a", 10), w(Default, "a", 10), w(Default, "a", 10), w(Default, "a", 10), w(Default, "b", 10), w(Default, "b", 10))
	f("a b b b b a", w(Default, "a", 40), w(Default, "a", 40), w(Default, "b", 10), w(Default, "b", 10), w(Default, "b", 10), w(Default, "b", 10))
}

func TestQueueDeadlines(t *testing.T) {
	now := time.Now()
	var q Queue
	for i, d := range []time.Duration{0, 30, 10, 20, 10} {
		w := &Waiter{Tenant: "t", Cost: float64(i)}
		if d > 0 {
			w.Deadline = now.Add(d * time.Second)
		}
		q.Offer(w, now)
	}
	var costs []float64
	for w := q.Next(now); w != nil; w = q.Next(now) {
		costs = append(costs, w.Cost)
	}
	assert.Equal(t, []float64{2, 4, 3, 1, 0}, costs)
}

// The lowest class that waits gets a tenth of the places, and whoever waits too
// long goes first.
func TestQueueDoesNotStarve(t *testing.T) {
	now := time.Now()
	var q Queue
	for range 30 {
		q.Offer(&Waiter{Class: Interactive, Tenant: "high", Cost: 1}, now)
	}
	for range 2 {
		q.Offer(&Waiter{Class: Batch, Tenant: "low", Cost: 1}, now)
	}
	for i := 1; i <= 20; i++ {
		want := "high"
		if i%floorEvery == 0 {
			want = "low"
		}
		require.Equal(t, want, q.Next(now).Tenant, i)
	}
	q.Offer(&Waiter{Class: Batch, Tenant: "low", Cost: 1}, now)
	later := now.Add(promoteAfter + time.Second)
	q.Offer(&Waiter{Class: Interactive, Tenant: "new", Cost: 1}, later)
	assert.Equal(t, "low", q.Next(later).Tenant)
}

// A tenant that comes back has saved nothing.
func TestQueueLiftsIdleTenants(t *testing.T) {
	now := time.Now()
	var q Queue
	for range 5 {
		q.Offer(&Waiter{Tenant: "busy", Cost: 100}, now)
	}
	for range 4 {
		require.Equal(t, "busy", q.Next(now).Tenant)
	}
	for range 3 {
		q.Offer(&Waiter{Tenant: "fresh", Cost: 100}, now)
	}
	assert.Equal(t, "busy fresh fresh fresh", order(&q, now))
}

func TestQueueAgain(t *testing.T) {
	now := time.Now()
	var q Queue
	a, b := &Waiter{Tenant: "a", Cost: 5}, &Waiter{Tenant: "b", Cost: 5}
	q.Offer(a, now)
	q.Offer(b, now)
	require.Same(t, a, q.Next(now))
	assert.False(t, q.Cancel(a))
	q.Again(a)
	assert.Equal(t, 2, q.Len())
	require.Same(t, a, q.Next(now))
	q.Charge(a, 7)
	assert.Equal(t, 12.0, a.tenant.counter)
	assert.True(t, q.Cancel(b))
	assert.False(t, q.Cancel(b))
	assert.Nil(t, q.Next(now))

	// Who looked for itself was not charged, and has nothing to get back.
	q.Again(b)
	assert.Zero(t, b.tenant.counter)
	require.Same(t, b, q.Next(now))
	assert.Equal(t, 5.0, b.tenant.counter)
}

// Whatever is offered, taken and cancelled: nobody is lost, nobody goes twice,
// and the books end at zero.
func TestQueueKeepsCount(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var q Queue
		now := time.Now()
		waiting := map[*Waiter]bool{}
		for range 500 {
			now = now.Add(time.Duration(rnd.Int64N(int64(time.Second))))
			switch rnd.IntN(4) {
			case 0, 1:
				w := &Waiter{Class: Class(rnd.IntN(int(NumClasses))), Tenant: string(rune('a' + rnd.IntN(5))), Cost: rnd.Float64() * 100, Work: rnd.Float64()}
				if rnd.IntN(2) == 0 {
					w.Deadline = now.Add(time.Duration(rnd.IntN(100)) * time.Second)
				}
				q.Offer(w, now)
				waiting[w] = true
			case 2:
				w := q.Next(now)
				require.Equal(t, len(waiting) > 0, w != nil)
				if w == nil {
					continue
				}
				require.True(t, waiting[w])
				if rnd.IntN(3) == 0 {
					q.Again(w)
				} else {
					delete(waiting, w)
				}
			default:
				for w := range waiting {
					require.True(t, q.Cancel(w))
					delete(waiting, w)
					break
				}
			}
			require.Equal(t, len(waiting), q.Len())
		}
		for q.Next(now) != nil {
		}
		require.Zero(t, q.Len())
		require.InDelta(t, 0, work(&q), 1e-9)
	}
}

func TestQueueForgetsIdleTenants(t *testing.T) {
	var q Queue
	now := time.Now()
	for i := range 3 * maxIdle {
		q.Offer(&Waiter{Tenant: string(rune(i)) + "x"}, now)
		q.Next(now)
	}
	assert.LessOrEqual(t, len(q.classes[System].all), maxIdle+1)
}

func work(q *Queue) float64 {
	_, w := q.Ahead(NumClasses - 1)
	return w
}

// TestQueueDisplaces: who makes way for a more urgent one, and who is ahead of whom.
func TestQueueDisplaces(t *testing.T) {
	now := time.Now()
	var q Queue
	assert.Nil(t, q.Displace(System, "x"))
	for _, w := range []*Waiter{
		{Class: Default, Tenant: "d", Work: 2},
		{Class: Batch, Tenant: "early", Cost: 1, Work: 4},
		{Class: Batch, Tenant: "late", Cost: 1, Work: 8},
		{Class: Interactive, Tenant: "i", Work: 1},
	} {
		q.Offer(w, now)
	}
	f := func(c Class, wantN int, wantWork float64) {
		t.Helper()
		n, work := q.Ahead(c)
		assert.Equal(t, wantN, n)
		assert.InDelta(t, wantWork, work, 1e-9)
	}
	f(System, 0, 0)
	f(Interactive, 1, 1)
	f(Default, 2, 3)
	f(Batch, 4, 15)
	assert.Nil(t, q.Displace(Batch, "x"), "nobody is less urgent")
	assert.Equal(t, "late", q.Displace(Default, "x").Tenant)
	assert.Equal(t, "early", q.Displace(Interactive, "x").Tenant)
	assert.Equal(t, "d", q.Displace(Interactive, "x").Tenant)
	assert.Nil(t, q.Displace(Interactive, "x"))
	f(Batch, 1, 1)
	assert.Equal(t, "i", order(&q, now))
}

// TestQueueMakesWayForTenants: when one tenant has filled the queue, others that
// have less in it take its places, its last ones first, until all have as much.
func TestQueueMakesWayForTenants(t *testing.T) {
	now := time.Now()
	var q Queue
	const size = 12
	for i := range size {
		q.Offer(&Waiter{Class: Default, Tenant: "flood", Cost: float64(i)}, now)
	}
	f := func(tenant string, wantAhead int, wantCost float64) {
		t.Helper()
		n, _ := q.AheadOf(Default, tenant)
		assert.Equal(t, wantAhead, n)
		w := q.Displace(Default, tenant)
		if wantCost < 0 {
			assert.Nil(t, w)
			return
		}
		require.NotNil(t, w)
		assert.Equal(t, "flood", w.Tenant)
		assert.Equal(t, wantCost, w.Cost, "the last one")
		q.Offer(&Waiter{Class: Default, Tenant: tenant, Cost: 100}, now)
	}
	f("flood", size, -1)
	f("a", 1, 11)
	f("a", 3, 10)
	f("b", 2, 9)
	f("b", 5, 8)
	f("a", 8, 7)
	f("b", 8, 6)
	f("a", 11, 5)
	f("b", 11, 4)
	for _, tenant := range []string{"flood", "a", "b"} {
		f(tenant, size, -1)
	}
	assert.Equal(t, size, q.Len())
	n, _ := q.AheadOf(Interactive, "b")
	assert.Zero(t, n)
	n, _ = q.AheadOf(Batch, "b")
	assert.Equal(t, size, n)
}

// TestQueueAheadOf: where requests cost the same, no more go before another one of
// a tenant than AheadOf says, and for no longer.
func TestQueueAheadOf(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		now := time.Now()
		var q Queue
		name := func() string { return string(rune('a' + rnd.IntN(4))) }
		for range rnd.IntN(30) {
			q.Offer(&Waiter{Class: Class(rnd.IntN(int(NumClasses))), Tenant: name(), Cost: 1, Work: 1}, now)
		}
		w := &Waiter{Class: Class(rnd.IntN(int(NumClasses))), Tenant: name(), Cost: 1, Work: 1}
		n, work := q.AheadOf(w.Class, w.Tenant)
		all, _ := q.Ahead(w.Class)
		require.LessOrEqual(t, n, all)
		require.InDelta(t, n, work, 1e-9)
		q.Offer(w, now)
		before := 0
		for next := q.Next(now); next != w; next = q.Next(now) {
			if next.Class <= w.Class { // others have the floor's places
				before++
			}
		}
		require.LessOrEqual(t, before, n, "seed %d", seed)
	}
}
