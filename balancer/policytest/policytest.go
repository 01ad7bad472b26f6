// Package policytest is the conformance suite of balancing policies: whatever
// implements balancer.Policy passes Run.
package policytest

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/testtiming"
)

// Run checks the policy that newPolicy makes, a fresh one per call, against
// what balancer.Policy promises.
func Run(t *testing.T, newPolicy func() balancer.Policy) {
	t.Run("nothing to choose", func(t *testing.T) { nothing(t, newPolicy()) })
	t.Run("one candidate", func(t *testing.T) { one(t, newPolicy()) })
	t.Run("the last index", func(t *testing.T) { last(t, newPolicy()) })
	t.Run("bits beyond the pool", func(t *testing.T) { beyond(t, newPolicy()) })
	t.Run("weight extremes", func(t *testing.T) { weights(t, newPolicy) })
	t.Run("only eligible and open ones", func(t *testing.T) { onlyOpen(t, newPolicy) })
	t.Run("first picks differ", func(t *testing.T) { firstPicks(t, newPolicy) })
	t.Run("no bias", func(t *testing.T) { noBias(t, newPolicy) })
	t.Run("no bias among prompts", func(t *testing.T) { noBiasOfKeys(t, newPolicy) })
	t.Run("any pool and request", func(t *testing.T) { anyPool(t, newPolicy) })
	t.Run("slow starts", func(t *testing.T) { slowStarts(t, newPolicy()) })
	t.Run("no allocations", func(t *testing.T) { noAllocations(t, newPolicy()) })
	t.Run("concurrent", func(t *testing.T) { concurrent(t, newPolicy()) })
}

// Pool returns n idle candidates of the given weight and limit.
func Pool(n int, weight, limit int32) []balancer.Candidate {
	pool := make([]balancer.Candidate, n)
	for i := range pool {
		pool[i] = balancer.Candidate{Load: &balancer.Load{}, Weight: weight, Limit: limit}
	}
	return pool
}

// only returns the set of the indexes.
func only(indexes ...int) balancer.Mask {
	var m balancer.Mask
	for _, i := range indexes {
		m.Set(i)
	}
	return m
}

func nothing(t *testing.T, p balancer.Policy) {
	all := balancer.FirstN(balancer.MaxBackends)
	full := Pool(3, 1, 1)
	for i := range full {
		require.True(t, full[i].Load.Acquire(1))
	}
	f := func(eligible balancer.Mask, pool []balancer.Candidate) {
		t.Helper()
		assert.Equal(t, -1, p.Pick(&balancer.Request{Eligible: eligible, Rand: 7}, pool))
	}
	f(balancer.Mask{}, nil)
	f(all, nil)
	f(balancer.Mask{}, Pool(1, 1, 0))
	f(balancer.Mask{}, Pool(balancer.MaxBackends, 1, 0))
	f(all, full)
	f(only(1), full)
}

func one(t *testing.T, p balancer.Policy) {
	pool := Pool(1, 1, 2)
	for random := range uint64(100) {
		require.Equal(t, 0, p.Pick(&balancer.Request{Eligible: only(0), Rand: random}, pool))
	}
	require.Equal(t, 0, p.Pick(&balancer.Request{Eligible: only(0), Rand: math.MaxUint64}, pool))
}

func last(t *testing.T, p balancer.Policy) {
	pool := Pool(balancer.MaxBackends, 1, 0)
	for _, i := range []int{balancer.MaxBackends - 1, 64, 63, 0} {
		for random := range uint64(10) {
			require.Equal(t, i, p.Pick(&balancer.Request{Eligible: only(i), Rand: random}, pool))
		}
	}
}

func beyond(t *testing.T, p balancer.Policy) {
	pool := Pool(65, 1, 0)
	all := balancer.FirstN(balancer.MaxBackends)
	for random := range uint64(1000) {
		i := p.Pick(&balancer.Request{Eligible: all, Rand: mixed(random)}, pool)
		require.True(t, i >= 0 && i < len(pool), "picked %d of %d", i, len(pool))
	}
	require.Equal(t, -1, p.Pick(&balancer.Request{Eligible: only(65, 255)}, pool))

	// A pool above the limit is a mistake elsewhere; it must not be a panic here.
	i := p.Pick(&balancer.Request{Eligible: all}, Pool(balancer.MaxBackends+10, 1, 0))
	require.True(t, i >= 0 && i < balancer.MaxBackends, "picked %d", i)
}

func weights(t *testing.T, newPolicy func() balancer.Policy) {
	for _, w := range [][]int32{
		{0, 0, 0},
		{-1, math.MinInt32, 0},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32},
		{0, 1, math.MaxInt32},
		{math.MinInt32, math.MaxInt32, 1},
	} {
		p, pool := newPolicy(), Pool(len(w), 1, 0)
		for i := range pool {
			pool[i].Weight = w[i]
		}
		for random := range uint64(200) {
			i := p.Pick(&balancer.Request{Eligible: balancer.FirstN(len(pool)), Rand: mixed(random)}, pool)
			require.True(t, i >= 0 && i < len(pool), "weights %v: picked %d", w, i)
			require.True(t, pool[i].Load.Acquire(0))
		}
	}
}

// onlyOpen plays random histories of picks, reservations and releases over
// random eligible sets, and checks each pick against the definition.
func onlyOpen(t *testing.T, newPolicy func() balancer.Policy) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range testtiming.Rounds(200) {
		p := newPolicy()
		pool := Pool(1+rnd.IntN(balancer.MaxBackends), 1, 0)
		for i := range pool {
			pool[i].Weight, pool[i].Limit = 1+rnd.Int32N(1000), rnd.Int32N(4)
		}
		var held []int
		for range 300 {
			eligible := randomMask(rnd)
			i := p.Pick(&balancer.Request{Eligible: eligible, Rand: rnd.Uint64()}, pool)
			if i < 0 {
				require.Equal(t, -1, i)
				for j := range pool {
					require.False(t, eligible.Has(j) && isOpen(pool[j]), "nothing picked, but %d was open", j)
				}
			} else {
				require.Less(t, i, len(pool))
				require.True(t, eligible.Has(i), "picked %d, which is not eligible", i)
				require.True(t, pool[i].Load.Acquire(pool[i].Limit), "picked %d, which is full", i)
				held = append(held, i)
			}
			if len(held) > 0 && rnd.IntN(3) == 0 {
				k := rnd.IntN(len(held))
				pool[held[k]].Load.Release()
				held[k] = held[len(held)-1]
				held = held[:len(held)-1]
			}
		}
	}
}

// firstPicks: routers that start together, each with one request, must not all
// choose the same backend.
func firstPicks(t *testing.T, newPolicy func() balancer.Policy) {
	const n, routers = 8, 400
	var picked [n]int
	pool := Pool(n, 1, 0)
	for random := range uint64(routers) {
		picked[newPolicy().Pick(&balancer.Request{Eligible: balancer.FirstN(n), Rand: mixed(random)}, pool)]++
	}
	assertEven(t, picked[:], routers)
}

// noBias: over an idle pool of equal backends every eligible one gets its share,
// whichever the eligible set, and the neighbours of gaps get no more.
func noBias(t *testing.T, newPolicy func() balancer.Policy) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, eligible := range []balancer.Mask{
		balancer.FirstN(8), only(0, 5), only(3, 4, 7), only(0, 63, 64, 127, 128, 255), balancer.FirstN(balancer.MaxBackends),
	} {
		p, pool := newPolicy(), Pool(balancer.MaxBackends, 1, 0)
		picks := testtiming.Rounds(500) * eligible.Count()
		counts := make([]int, balancer.MaxBackends)
		for range picks {
			counts[p.Pick(&balancer.Request{Eligible: eligible, Rand: rnd.Uint64()}, pool)]++
		}
		var shares []int
		for i, c := range counts {
			if eligible.Has(i) {
				shares = append(shares, c)
			}
		}
		assertEven(t, shares, picks)
	}
}

// noBiasOfKeys: over many prompts and sessions every backend gets its share.
func noBiasOfKeys(t *testing.T, newPolicy func() balancer.Policy) {
	const n, picks = 8, 8000
	p, pool := newPolicy(), Pool(n, 1, 0)
	rnd := rand.New(rand.NewPCG(9, 10))
	counts := make([]int, n)
	for range picks {
		r := &balancer.Request{
			Eligible: balancer.FirstN(n), Rand: rnd.Uint64(), Tokens: 1000, Output: 100, Root: rnd.Uint64(), Session: rnd.Uint64(),
		}
		counts[balancer.Choose(p, r, pool)]++
	}
	assertEven(t, counts, picks)
}

// anyPool: whatever the pool's size, with backends listed twice, out, full, cold,
// or of another tier, and whatever the request: somebody is picked exactly if
// somebody is open, and what was decided makes sense.
func anyPool(t *testing.T, newPolicy func() balancer.Policy) {
	rnd := rand.New(rand.NewPCG(11, 12))
	var chain balancer.Chain
	var matches balancer.Matches
	for _, n := range []int{0, 1, 2, 63, 64, 65, 128, balancer.MaxBackends} {
		p, pool := newPolicy(), Pool(n, 1, 0)
		index := balancer.NewIndex(1<<20, n)
		for i := range pool {
			c := &pool[i]
			c.Weight, c.Limit, c.Tier, c.Place = rnd.Int32N(5)-1, rnd.Int32N(4), rnd.Int32N(4)-1, i
			c.Signals = &balancer.Signals{}
			c.Signals.SetKV(rnd.Float64()*1.2, 1)
			c.Signals.SetWaiting(float64(rnd.IntN(100)), 1)
			c.Signals.SetSlots(rnd.Int32N(4))
			if i > 0 && rnd.IntN(8) == 0 {
				c.Load = pool[i-1].Load // the same backend once more
			}
			c.Load.SetShare(rnd.IntN(12))
			if rnd.IntN(3) == 0 {
				c.Load.Acquire(0)
			}
		}
		for range testtiming.Rounds(300) {
			r := &balancer.Request{
				Eligible: randomMask(rnd), Cold: randomMask(rnd), Rand: rnd.Uint64(), Now: rnd.Int64() - rnd.Int64(),
				Tokens: rnd.Int64N(1 << rnd.IntN(40)), Output: rnd.Int64N(1 << rnd.IntN(40)), Stream: rnd.IntN(2) == 0,
				Root: rnd.Uint64() >> rnd.IntN(65), Session: rnd.Uint64() >> rnd.IntN(65),
			}
			if rnd.IntN(2) == 0 {
				chain.Reset(rnd.Uint64N(3))
				chain.Write(make([]byte, rnd.IntN(100_000)))
				index.Match(&chain, r.Eligible, &matches)
				r.Index, r.Chain, r.Matches = index, &chain, &matches
				index.Insert(&chain, rnd.IntN(max(n, 1)), r.Now)
			}
			i, eligible := balancer.Choose(p, r, pool), r.Eligible
			some := false
			for j := range pool {
				some = some || eligible.Has(j) && isOpen(pool[j])
			}
			require.Equal(t, some, i >= 0)
			if i >= 0 {
				require.True(t, eligible.Has(i) && isOpen(pool[i]))
				d := &r.Decision
				require.True(t, d.Hit >= 0 && d.Hit <= r.Tokens && d.Wait >= 0 && d.Reason < balancer.NumReasons, "%+v", d)
				require.True(t, !d.Costed || d.Cost >= 0 && d.Next < n && d.Next != i, "%+v", d)
			}
		}
	}
}

// slowStarts: a backend with a share below the full one gets about as much less,
// but never nothing; alone it gets all, beside its like an equal part, and once
// it is full again its part is too.
func slowStarts(t *testing.T, p balancer.Policy) {
	const n, picks = 4, 8000
	rnd := rand.New(rand.NewPCG(7, 8))
	pool := Pool(n, 3, 0)
	count := func(eligible balancer.Mask) []int {
		counts := make([]int, n)
		for range picks {
			counts[p.Pick(&balancer.Request{Eligible: eligible, Rand: rnd.Uint64()}, pool)]++
		}
		return counts
	}
	assertEven(t, count(balancer.FirstN(n)), picks)
	pool[2].Load.SetShare(1)
	counts := count(balancer.FirstN(n))
	assert.InDelta(t, picks/35, counts[2], picks/70, "a tenth of a quarter, or one part of 31")
	assertEven(t, []int{counts[0], counts[1], counts[3]}, picks-counts[2])
	assert.Equal(t, picks, count(only(2))[2], "alone")
	for i := range pool {
		pool[i].Load.SetShare(1)
	}
	assertEven(t, count(balancer.FirstN(n)), picks)
	for i := range pool {
		pool[i].Load.SetShare(balancer.FullShare)
	}
	assertEven(t, count(balancer.FirstN(n)), picks)
}

// assertEven allows each share six standard deviations of a fair random choice.
func assertEven(t *testing.T, counts []int, picks int) {
	t.Helper()
	mean := float64(picks) / float64(len(counts))
	for i, c := range counts {
		assert.InDelta(t, mean, float64(c), 6*math.Sqrt(mean)+1, "share of number %d: %v", i, counts)
	}
}

func noAllocations(t *testing.T, p balancer.Policy) {
	pool := Pool(balancer.MaxBackends, 3, 1)
	require.True(t, pool[0].Load.Acquire(1))
	r := &balancer.Request{Eligible: balancer.FirstN(len(pool))}
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		r.Rand = mixed(r.Rand)
		p.Pick(r, pool)
	}))
}

// concurrent: many callers pick, reserve and release; under the race detector
// this finds unguarded state, and the books are balanced at the end.
func concurrent(t *testing.T, p balancer.Policy) {
	const limit = 2
	pool := Pool(5, 1, limit)
	var wg sync.WaitGroup
	for worker := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(worker, 5))
			for range 2000 {
				eligible := randomMask(rnd)
				i := p.Pick(&balancer.Request{Eligible: eligible, Rand: rnd.Uint64()}, pool)
				if i < 0 {
					continue
				}
				if !assert.True(t, eligible.Has(i)) {
					return
				}
				if pool[i].Load.Acquire(limit) {
					assert.LessOrEqual(t, pool[i].Load.InFlight(), int32(limit))
					pool[i].Load.Release()
				}
			}
		})
	}
	wg.Wait()
	for i := range pool {
		assert.Zero(t, pool[i].Load.InFlight())
	}
}

// isOpen says in the plainest way what a policy may pick.
func isOpen(c balancer.Candidate) bool { return c.Limit < 1 || c.Load.InFlight() < c.Limit }

func randomMask(rnd *rand.Rand) balancer.Mask {
	var m balancer.Mask
	for w := range m {
		m[w] = rnd.Uint64()
		if rnd.IntN(2) == 0 {
			m[w] &= rnd.Uint64() & rnd.Uint64()
		}
	}
	return m
}

// mixed spreads a counter over 64 bits.
func mixed(x uint64) uint64 { return rand.NewPCG(x, 6).Uint64() }
