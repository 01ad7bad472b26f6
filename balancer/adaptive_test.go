// These tests check what adaptive goes by, term by term.
package balancer_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/balancer/policytest"
)

func pool(n int) []balancer.Candidate {
	pool := policytest.Pool(n, 1, 0)
	for i := range pool {
		pool[i].Signals = &balancer.Signals{}
	}
	return pool
}

// choose picks for a streamed prompt of so many tokens.
func choose(t *testing.T, pool []balancer.Candidate, tokens int64, random uint64) (int, balancer.Decision) {
	t.Helper()
	r := &balancer.Request{
		Eligible: balancer.FirstN(len(pool)), Rand: random, Now: int64(time.Hour), Tokens: tokens, Output: 100, Stream: true,
	}
	i := balancer.Choose(newPolicy(t, "adaptive"), r, pool)
	return i, r.Decision
}

func promise(c *balancer.Candidate, tokens int64) {
	var charge balancer.Charge
	charge.Take(c.Load, &balancer.Request{Now: int64(time.Hour), Tokens: tokens, Stream: true})
}

// TestAdaptiveCost: each thing that makes a backend the worse choice of two, alone.
func TestAdaptiveCost(t *testing.T) {
	now := int64(time.Hour)
	f := func(name string, worsen func(c *balancer.Candidate), atLeast time.Duration) {
		t.Helper()
		for worse := range 2 {
			p := pool(2)
			worsen(&p[worse])
			for random := range uint64(20) {
				i, d := choose(t, p, 1000, 7+random<<32)
				assert.Equal(t, 1-worse, i, name)
				assert.Equal(t, balancer.ReasonLoad, d.Reason, name)
				assert.Equal(t, worse, d.Next, name)
				assert.GreaterOrEqual(t, d.Second-d.Cost, atLeast.Seconds(), name)
			}
		}
	}
	f("prompts ahead", func(c *balancer.Candidate) { promise(c, 5000) }, 500*time.Millisecond)
	f("slower at prompts", func(c *balancer.Candidate) { c.Load.SetPrefillRate(1000) }, 890*time.Millisecond)
	f("running requests", func(c *balancer.Candidate) {
		for range 100 {
			c.Load.Acquire(0)
		}
	}, 90*time.Millisecond)
	f("contexts", func(c *balancer.Candidate) {
		var charge balancer.Charge
		charge.Take(c.Load, &balancer.Request{Output: 100_000})
	}, 100*time.Millisecond)
	f("a full KV cache", func(c *balancer.Candidate) { c.Signals.SetKV(1, now) }, time.Second)
	f("a used up quota", func(c *balancer.Candidate) { c.Signals.SetQuota(0.9, now) }, 200*time.Millisecond)
}

// TestAdaptiveForgetsWhatIsOld: what an engine told long ago costs nothing.
func TestAdaptiveForgetsWhatIsOld(t *testing.T) {
	p := pool(2)
	p[0].Signals.SetKV(1, int64(time.Hour-11*time.Second))
	p[0].Signals.SetQuota(1, int64(time.Hour-11*time.Second))
	p[0].Signals.SetWaiting(1000, int64(time.Hour-11*time.Second))
	_, d := choose(t, p, 1000, 7)
	assert.Equal(t, balancer.ReasonTie, d.Reason)
	assert.Equal(t, d.Cost, d.Second)
}

// TestAdaptiveCountsStrangers: requests that wait at a backend and are not ours
// count as so many prompts of the usual length.
func TestAdaptiveCountsStrangers(t *testing.T) {
	p := pool(2)
	var c balancer.Charge
	c.Take(p[0].Load, &balancer.Request{Now: 1, Tokens: 4000, Stream: true})
	c.FirstToken(int64(400 * time.Millisecond))
	c.Learn(helixflow.Usage{}, int64(time.Second))
	c.Settle(int64(time.Second))
	p[0].Signals.SetWaiting(5, int64(time.Hour))
	i, d := choose(t, p, 1000, 7)
	assert.Equal(t, 1, i)
	assert.InDelta(t, 2, d.Second-d.Cost, 0.1, "5 prompts of 4000 tokens")
}

func TestAdaptiveColdModel(t *testing.T) {
	p := pool(2)
	r := &balancer.Request{Eligible: balancer.FirstN(2), Tokens: 100}
	r.Cold.Set(0)
	for random := range uint64(20) {
		r.Rand = random
		assert.Equal(t, 1, balancer.Choose(newPolicy(t, "adaptive"), r, p))
		assert.InDelta(t, 15, r.Decision.Second-r.Decision.Cost, 1e-3)
	}
}

func TestAdaptiveSlots(t *testing.T) {
	p := pool(2)
	for i := range p {
		p[i].Load.Acquire(0)
		p[i].Load.Acquire(0)
		var c balancer.Charge
		c.Take(p[i].Load, &balancer.Request{Now: 0, Tokens: 100, Stream: true})
		c.FirstToken(1)
		c.Learn(helixflow.Usage{}, int64(10*time.Second))
		c.Settle(int64(10 * time.Second))
	}
	p[0].Signals.SetSlots(2)
	i, d := choose(t, p, 100, 7)
	assert.Equal(t, 1, i)
	assert.InDelta(t, 5, d.Second-d.Cost, 0.1, "half a service, of 10 s")
}

// TestAdaptiveTies: equals are chosen by the prompt's first block, the same one
// each time, and evenly over many prompts; without one by chance.
func TestAdaptiveTies(t *testing.T) {
	const n = 4
	p, pool := newPolicy(t, "adaptive"), pool(n)
	rnd := rand.New(rand.NewPCG(20, 20))
	var counts [n]int
	for range 4000 {
		r := &balancer.Request{Eligible: balancer.FirstN(n), Rand: rnd.Uint64(), Root: rnd.Uint64() | 1, Tokens: 100}
		i := balancer.Choose(p, r, pool)
		counts[i]++
		r.Rand = rnd.Uint64()
		require.Equal(t, i, balancer.Choose(p, r, pool))
		r.Eligible.Clear((i + 1) % n)
		require.Equal(t, i, balancer.Choose(p, r, pool), "the loss of another moves nobody")
		assert.Equal(t, balancer.ReasonTie, r.Decision.Reason)
	}
	for i := range counts {
		assert.InDelta(t, 1000, counts[i], 180)
	}
}

// TestAdaptiveSurvivesNonsense: numbers that make no sense keep nobody from being
// chosen.
func TestAdaptiveSurvivesNonsense(t *testing.T) {
	p := pool(3)
	p[0].Load.SetPrefillRate(math.Inf(1))
	p[1].Load.SetPrefillRate(math.NaN())
	p[2].Weight = math.MinInt32
	for _, tokens := range []int64{0, 1, math.MaxInt64 / 4, -5} {
		i, d := choose(t, p, tokens, 7)
		assert.True(t, i >= 0 && i < 3)
		assert.False(t, math.IsNaN(d.Cost))
	}
}

// stream is a request whose first token took so long.
func stream(l *balancer.Load, tokens int64, at, ttft time.Duration) {
	var c balancer.Charge
	c.Take(l, &balancer.Request{Now: int64(at), Tokens: tokens, Stream: true})
	c.FirstToken(int64(at + ttft))
	c.Learn(helixflow.Usage{InputTokens: tokens, OutputTokens: 100, Reported: true}, int64(at+ttft+time.Second))
	c.Settle(int64(at + ttft + time.Second))
}

// TestAdaptiveSlowdown: a backend that is slower than was predicted, beside its
// pool, counts as such; one that is idle is forgiven; and a pool whose backends
// are all alike has no factors, however wrong the predictions are.
func TestAdaptiveSlowdown(t *testing.T) {
	p, pool := newPolicy(t, "adaptive"), pool(3)
	r := &balancer.Request{Eligible: balancer.FirstN(3), Tokens: 2000, Stream: true, Rand: 1}
	at := time.Minute
	play := func(slow time.Duration, rounds int) {
		for range rounds {
			for i := range pool {
				ttft := 100 * time.Millisecond
				if i == 2 {
					ttft = slow
				}
				stream(pool[i].Load, 800, at, ttft) // neither short enough for a base nor long enough for a rate
			}
			at += 2 * time.Second
			r.Now = int64(at)
			balancer.Choose(p, r, pool)
		}
	}
	play(100*time.Millisecond, 100)
	for i := range pool {
		assert.Equal(t, 1.0, pool[i].Load.Factor(), "all alike")
	}
	play(130*time.Millisecond, 100)
	assert.Equal(t, 1.0, pool[2].Load.Factor(), "within the dead band")
	play(400*time.Millisecond, 200)
	assert.InDelta(t, 4, pool[2].Load.Factor(), 0.5)
	assert.Equal(t, 1.0, pool[0].Load.Factor())
	for range 300 { // it gets nothing any more
		for i := range 2 {
			stream(pool[i].Load, 800, at, 100*time.Millisecond)
		}
		at += time.Second
		r.Now = int64(at)
		balancer.Choose(p, r, pool)
	}
	assert.Equal(t, 1.0, pool[2].Load.Factor(), "forgiven after five minutes")
}

// TestAdaptiveFailuresCount: who fails fast is no fast backend.
func TestAdaptiveFailuresCount(t *testing.T) {
	p, pool := newPolicy(t, "adaptive"), pool(3)
	for range 5 {
		for i := range pool {
			var c balancer.Charge
			c.Take(pool[i].Load, &balancer.Request{Now: 1, Tokens: 500, Stream: true})
			if i == 1 {
				c.Failed(2)
			} else {
				c.FirstToken(int64(50 * time.Millisecond))
			}
			c.Settle(int64(time.Second))
		}
	}
	r := &balancer.Request{Eligible: balancer.FirstN(3), Now: int64(time.Minute)}
	balancer.Choose(p, r, pool)
	assert.Greater(t, pool[1].Load.Factor(), 2.0)
}

// TestAdaptiveForgives: who was out for its failures comes back as one of the
// others, whatever is usual among them, and not as one that is kept out further.
func TestAdaptiveForgives(t *testing.T) {
	p, pool := newPolicy(t, "adaptive"), pool(3)
	at := time.Minute
	choose := func() {
		at += 2 * time.Second
		balancer.Choose(p, &balancer.Request{Eligible: balancer.FirstN(3), Now: int64(at)}, pool)
	}
	ask := func(i int) { stream(pool[i].Load, 50, at, 100*time.Millisecond) }
	for range 50 {
		for i := range pool {
			ask(i)
		}
	}
	for range 20 {
		var c balancer.Charge
		c.Take(pool[1].Load, &balancer.Request{Now: int64(at), Tokens: 50, Stream: true})
		c.Failed(int64(at))
		c.Settle(int64(at))
	}
	choose()
	require.Greater(t, pool[1].Load.Factor(), 2.0)
	require.NotZero(t, pool[1].Load.Base(int64(at)))

	pool[1].Load.Forgive()
	assert.Equal(t, 1.0, pool[1].Load.Factor())
	assert.Zero(t, pool[1].Load.Base(int64(at)))
	choose()
	for i := range pool {
		ask(i)
	}
	choose()
	assert.Equal(t, 1.0, pool[1].Load.Factor(), "its first sample stands alone")
}

// TestAdaptiveProbes: a slow backend is tried now and then all the same.
func TestAdaptiveProbes(t *testing.T) {
	p, pool := newPolicy(t, "adaptive"), pool(3)
	at := time.Minute
	for range 60 {
		for i := range pool {
			stream(pool[i].Load, 800, at, 100*time.Millisecond+time.Duration(i/2)*400*time.Millisecond)
		}
	}
	rnd := rand.New(rand.NewPCG(21, 21))
	probes := 0
	for range 20_000 {
		r := &balancer.Request{Eligible: balancer.FirstN(3), Rand: rnd.Uint64(), Now: int64(2 * at), Tokens: 2000}
		if i := balancer.Choose(p, r, pool); i == 2 {
			assert.Equal(t, balancer.ReasonProbe, r.Decision.Reason)
			probes++
		}
	}
	assert.InDelta(t, 20_000*0.005/3, probes, 30)
}

// TestPrefillRateIsLearned: from long prompts that did not wait, within a factor of
// four of what was configured.
func TestPrefillRateIsLearned(t *testing.T) {
	f := func(configured, real, want float64) {
		t.Helper()
		var l balancer.Load
		l.SetPrefillRate(configured)
		for i := range 100 {
			stream(&l, 8000, time.Duration(i)*time.Minute, time.Duration(8000/real*float64(time.Second)))
		}
		assert.InDelta(t, want, l.PrefillRate(), want/50)
	}
	f(0, 10_000, 10_000)
	f(0, 20_000, 20_000)
	f(0, 4_000, 4_000)
	f(0, 1_000, 2_500)
	f(0, 1e6, 40_000)
	f(2000, 1_000, 1_000)
}

// TestBase: the lowest latency counts that a request saw for which there was
// hardly any work, and is forgotten after a while.
func TestBase(t *testing.T) {
	var l balancer.Load
	assert.Zero(t, l.Base(0))
	stream(&l, 100, time.Second, 310*time.Millisecond)
	stream(&l, 100, 3*time.Second, 210*time.Millisecond)
	stream(&l, 100, 5*time.Second, 410*time.Millisecond)
	stream(&l, 20_000, 7*time.Second, 10*time.Millisecond)
	assert.InDelta(t, 0.2, l.Base(int64(20*time.Second)), 1e-6)
	stream(&l, 100, 70*time.Second, 510*time.Millisecond)
	assert.InDelta(t, 0.2, l.Base(int64(71*time.Second)), 1e-6)
	stream(&l, 100, 130*time.Second, 510*time.Millisecond)
	assert.InDelta(t, 0.5, l.Base(int64(131*time.Second)), 1e-6)
	assert.InDelta(t, 0.5, l.Base(int64(190*time.Second)), 1e-6)
	assert.Zero(t, l.Base(int64(time.Hour)))
}

func BenchmarkCharge(b *testing.B) {
	var l balancer.Load
	r := &balancer.Request{Tokens: 2000, Output: 200, Stream: true}
	b.ReportAllocs()
	for b.Loop() {
		r.Now += 1000
		var c balancer.Charge
		c.Take(&l, r)
		c.FirstToken(r.Now + 500)
		c.Learn(helixflow.Usage{InputTokens: 2000, OutputTokens: 200, Reported: true}, r.Now+900)
		c.Settle(r.Now + 1000)
	}
}

// TestAdaptiveAdapters: who would have to load the adapter costs a second more, where
// it is waited for a part of that.
func TestAdaptiveAdapters(t *testing.T) {
	p := pool(3)
	r := &balancer.Request{Eligible: balancer.FirstN(3), Tokens: 100}
	r.Absent.Set(0)
	r.Queued.Set(1)
	for random := range uint64(20) {
		r.Rand = random
		assert.Equal(t, 2, balancer.Choose(newPolicy(t, "adaptive"), r, p))
		assert.InDelta(t, 0.3, r.Decision.Second-r.Decision.Cost, 1e-3)
	}
	coster := balancer.NewCoster(balancer.Tuning{})
	assert.InDelta(t, 1, coster.Cost(r, p, 0).Cost-coster.Cost(r, p, 2).Cost, 1e-3)
}
