package balancer_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
)

// answers has l give so many, one after another, beside others that come and go: a
// step takes 20 ms, times what those others should add, what was read meanwhile at
// so many tokens a second, and some noise.
func answers(l *balancer.Load, times, rate float64, count int) {
	rnd := rand.New(rand.NewPCG(30, 3))
	now := int64(time.Minute)
	var others []*balancer.Charge
	const output = 200
	for range count {
		for range rnd.IntN(3) { // some go, some come
			if len(others) > 0 {
				l.Release()
				others[0].Settle(now)
				others = others[1:]
			}
		}
		for range rnd.IntN(3) {
			c := new(balancer.Charge)
			l.Acquire(0)
			c.Take(l, &balancer.Request{Now: now, Tokens: 2000 + rnd.Int64N(20_000), Stream: true})
			c.FirstToken(now)
			others = append(others, c)
		}
		l.Acquire(0)
		var c balancer.Charge
		c.Take(l, &balancer.Request{Now: now, Tokens: 600, Stream: true})
		now += int64(100 * time.Millisecond)
		c.FirstToken(now)
		read := rnd.Int64N(16_000) // by one that comes and goes meanwhile
		l.Acquire(0)
		var busy balancer.Charge
		busy.Take(l, &balancer.Request{Now: now, Tokens: read, Stream: true})
		busy.FirstToken(now)
		busy.Settle(now)
		l.Release()
		added := 20e-6*float64(l.InFlight()) + 40e-9*float64(l.KVTokens())
		step := 0.02 + times*added + 0.002*rnd.NormFloat64()
		now += int64((output*step + float64(read)/rate) * float64(time.Second))
		c.Learn(helixflow.Usage{InputTokens: 600, OutputTokens: output + 1, Reported: true}, now)
		c.Settle(now)
		l.Release()
	}
	for _, c := range others {
		l.Release()
		c.Settle(now)
	}
}

// TestInterferenceIsLearned: by how much running requests prolong each other's
// steps is seen from what answers take, however long the prompts take that are read
// between; of little that was seen nothing is made.
func TestInterferenceIsLearned(t *testing.T) {
	f := func(times, rate float64, count int, low, high float64) {
		t.Helper()
		var l balancer.Load
		answers(&l, times, rate, count)
		assert.GreaterOrEqual(t, l.Interference(), low)
		assert.LessOrEqual(t, l.Interference(), high)
	}
	f(1, 20_000, 0, 1, 1)
	f(8, 20_000, 1, 1, 1)
	f(1, 20_000, 600, 0.7, 1.3)
	f(1, 2_000, 600, 0.7, 1.3)
	f(4, 20_000, 600, 3, 5)
	f(0.1, 20_000, 600, 1.0/16, 0.5)
	f(100, 20_000, 600, 8, 16)
}

// TestInterferenceCounts: of two backends with as much to do, the one is taken
// whose requests disturb each other less; what was configured scales what is
// learned.
func TestInterferenceCounts(t *testing.T) {
	p := newPolicy(t, "adaptive")
	pool := pool(2)
	answers(pool[0].Load, 6, 20_000, 600)
	answers(pool[1].Load, 1, 20_000, 600)
	for i := range pool {
		pool[i].Load.Forgive() // of how slow they are nothing counts
		for range 20 {
			pool[i].Load.Acquire(0)
		}
	}
	r := &balancer.Request{Eligible: balancer.FirstN(2), Tokens: 500, Output: 500, Now: int64(time.Hour)}
	for random := range uint64(50) {
		r.Rand = random*0x9e3779b97f4a7c15 | 1<<60
		assert.Equal(t, 1, balancer.Choose(p, r, pool))
	}

	var l balancer.Load
	l.SetInterference(120e-6, 240e-9)
	answers(&l, 6, 20_000, 600)
	assert.InDelta(t, 1, l.Interference(), 0.4)
	l.SetInterference(math.NaN(), math.Inf(1))
	answers(&l, 6, 20_000, 600)
	assert.True(t, l.Interference() >= 1.0/16 && l.Interference() <= 16)
}

// TestInterferenceOfAQueue: of answers beside a long queue nothing is learned, for
// those who wait there prolong nobody's steps; and a backend that looks lighter than
// its pool draws no more than a little more.
func TestInterferenceOfAQueue(t *testing.T) {
	var l balancer.Load
	var queued balancer.Charge
	queued.Take(&l, &balancer.Request{Tokens: 50_000, Stream: true})
	answers(&l, 8, 20_000, 600)
	assert.Equal(t, 1.0, l.Interference())

	p, pool := newPolicy(t, "adaptive"), pool(3)
	for i, times := range []float64{1, 0.1, 1} {
		answers(pool[i].Load, times, 20_000, 600)
		pool[i].Load.Forgive()
	}
	for range 20 { // so many that the others are as good at two thirds of it
		pool[1].Load.Acquire(0)
	}
	for _, i := range []int{0, 2} {
		for range 10 {
			pool[i].Load.Acquire(0)
		}
	}
	r := &balancer.Request{Eligible: balancer.FirstN(3), Tokens: 500, Output: 5000, Now: int64(time.Hour), Rand: 1 << 60}
	assert.NotEqual(t, 1, balancer.Choose(p, r, pool))
}
