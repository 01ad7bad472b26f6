// These tests check the promises of the policies that go by a key or a figure.
package balancer_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/balancer/policytest"
)

func TestSessionsStay(t *testing.T) {
	const n = 5
	p, pool := newPolicy(t, "session_affinity"), policytest.Pool(n, 1, 0)
	rnd := rand.New(rand.NewPCG(40, 40))
	homes := map[uint64]int{}
	pick := func(key uint64, out int) int {
		r := &balancer.Request{Eligible: balancer.FirstN(n), Rand: rnd.Uint64(), Session: key}
		if out >= 0 {
			r.Eligible.Clear(out)
		}
		i := balancer.Choose(p, r, pool)
		assert.Equal(t, balancer.ReasonSticky, r.Decision.Reason)
		return i
	}
	for key := range uint64(1000) {
		homes[key+1] = pick(key+1, -1)
	}
	for key, home := range homes {
		require.Equal(t, home, pick(key, -1))
		out := (home + 1) % n
		require.Equal(t, home, pick(key, out), "the loss of another moves nobody")
	}
}

// TestSessionsAreBounded: one session that is all the traffic does not bury its
// backend, and spills over to others; a few requests more than usual are no
// reason to go elsewhere.
func TestSessionsAreBounded(t *testing.T) {
	const n = 4
	p, pool := newPolicy(t, "session_affinity"), policytest.Pool(n, 1, 0)
	var counts [n]int
	for range 400 {
		r := &balancer.Request{Eligible: balancer.FirstN(n), Session: 7}
		i := balancer.Choose(p, r, pool)
		counts[i]++
		pool[i].Load.Acquire(0)
	}
	for i := range counts {
		assert.LessOrEqual(t, counts[i], 126, "%v", counts)
	}
	idle := policytest.Pool(n, 1, 0)
	r := &balancer.Request{Eligible: balancer.FirstN(n), Session: 7}
	home := balancer.Choose(p, r, idle)
	for range 4 {
		idle[home].Load.Acquire(0)
		assert.Equal(t, home, balancer.Choose(p, r, idle))
	}
}

// TestCHWBLGoesByTheBeginning: prompts that share their first KiB share a backend,
// and the bound is one of tokens.
func TestCHWBLGoesByTheBeginning(t *testing.T) {
	const n = 4
	p, pool := newPolicy(t, "chwbl"), policytest.Pool(n, 1, 0)
	pick := func(prompt string, tokens int64) (int, balancer.Reason) {
		var chain balancer.Chain
		chain.Reset(1)
		chain.Write([]byte(prompt))
		r := &balancer.Request{Eligible: balancer.FirstN(n), Chain: &chain, Root: chain.Root(), Tokens: tokens}
		return balancer.Choose(p, r, pool), r.Decision.Reason
	}
	used := map[int]bool{}
	for seed := range 40 {
		beginning := prose(seed, 300)
		home, _ := pick(beginning, 300)
		used[home] = true
		for end := range 5 {
			i, reason := pick(beginning+prose(100+end, 200), 500)
			require.Equal(t, home, i)
			assert.Equal(t, balancer.ReasonSticky, reason)
		}
	}
	assert.Len(t, used, n)
	home, _ := pick(prose(1, 300), 300)
	var c balancer.Charge
	c.Take(pool[home].Load, &balancer.Request{Tokens: 5000})
	i, reason := pick(prose(1, 300), 300)
	assert.NotEqual(t, home, i)
	assert.Equal(t, balancer.ReasonLoad, reason)
}

func TestLeastTokens(t *testing.T) {
	p, pool := newPolicy(t, "least_tokens"), policytest.Pool(3, 1, 0)
	pick := func() int {
		return balancer.Choose(p, &balancer.Request{Eligible: balancer.FirstN(3), Rand: 3}, pool)
	}
	take := func(i int, prompt int64) *balancer.Charge {
		c := &balancer.Charge{}
		c.Take(pool[i].Load, &balancer.Request{Tokens: prompt, Stream: true})
		return c
	}
	first := take(0, 1000)
	take(1, 900)
	take(2, 800)
	assert.Equal(t, 2, pick())
	first.FirstToken(1)
	assert.Equal(t, 0, pick(), "what was read counts a quarter")
	pool[1].Weight = 10
	assert.Equal(t, 1, pick())
}

// TestP2CGoesByNormalisedTimes: of a slow and a fast backend the fast one gets the
// most, whatever the lengths of the prompts each gets.
func TestP2CGoesByNormalisedTimes(t *testing.T) {
	p, pool := newPolicy(t, "p2c_ewma"), policytest.Pool(2, 1, 0)
	for range 100 {
		stream(pool[0].Load, 20_000, time.Minute, 2*time.Second) // as predicted
		stream(pool[1].Load, 700, time.Minute, 500*time.Millisecond)
	}
	for random := range uint64(20) {
		assert.Equal(t, 0, balancer.Choose(p, &balancer.Request{Eligible: balancer.FirstN(2), Rand: random}, pool))
	}
	for range 20 {
		pool[0].Load.Acquire(0)
	}
	assert.Equal(t, 1, balancer.Choose(p, &balancer.Request{Eligible: balancer.FirstN(2)}, pool))
}

// TestPrequalHotAndCold: the fastest of those that do not have more requests than
// the others, and when a latency is old, nothing is known.
func TestPrequalHotAndCold(t *testing.T) {
	p, pool := newPolicy(t, "prequal"), policytest.Pool(4, 1, 0)
	now := time.Minute
	for i := range pool {
		for range 50 {
			stream(pool[i].Load, 800, now, time.Duration(i+1)*100*time.Millisecond)
		}
	}
	pick := func(at time.Duration, random uint64) int {
		return balancer.Choose(p, &balancer.Request{Eligible: balancer.FirstN(4), Now: int64(at), Rand: random}, pool)
	}
	for random := range uint64(20) {
		assert.Equal(t, 0, pick(now+time.Second, random))
	}
	pool[0].Load.Acquire(0)
	for random := range uint64(20) {
		assert.Equal(t, 1, pick(now+time.Second, random), "the fastest is hot")
	}
	seen := map[int]bool{}
	for random := range uint64(100) {
		seen[pick(now+time.Hour, random)] = true
	}
	assert.Len(t, seen, 3, "who is faster is forgotten")
}

func TestPriorityGoesByTiers(t *testing.T) {
	p, pool := newPolicy(t, "priority"), policytest.Pool(4, 1, 1)
	pool[0].Tier, pool[1].Tier = 2, 2
	r := &balancer.Request{Eligible: balancer.FirstN(4)}
	for _, want := range []balancer.Reason{balancer.ReasonTie, balancer.ReasonLoad, balancer.ReasonFallback, balancer.ReasonFallback} {
		i := balancer.Choose(p, r, pool)
		assert.Equal(t, want == balancer.ReasonFallback, i < 2)
		assert.Equal(t, want, r.Decision.Reason)
		pool[i].Load.Acquire(1)
	}
	assert.Equal(t, -1, balancer.Choose(p, r, pool))
	assert.Equal(t, balancer.FirstN(4), r.Eligible, "the caller's own")
}
