// These tests check the books, the sets and each policy's own promises.
package balancer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/balancer/policytest"
)

func newPolicy(tb testing.TB, name string) balancer.Policy {
	tb.Helper()
	p, err := balancer.New(name, balancer.DefaultTuning())
	require.NoError(tb, err)
	require.Equal(tb, name, p.Name())
	return p
}

func TestPoliciesConform(t *testing.T) {
	for _, name := range balancer.Names() {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, func() balancer.Policy { return newPolicy(t, name) })
		})
	}
}

func TestNewNamesTheChoices(t *testing.T) {
	_, err := balancer.New("least_infligth", balancer.Tuning{})
	require.EqualError(t, err, `cannot make balancing policy "least_infligth": the policies are adaptive, chwbl, least_inflight, least_tokens, p2c_ewma, prequal, priority, random, round_robin, session_affinity, weighted`)
}

// TestLoadSumsToZero plays random histories: the book always agrees with the
// number of leases held, and is zero once they are given back.
func TestLoadSumsToZero(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		loads := make([]balancer.Load, 4)
		limit := rnd.Int32N(5) - 1
		held := make([]int32, len(loads))
		for range 500 {
			i := rnd.IntN(len(loads))
			if rnd.IntN(2) == 0 {
				want := limit < 1 || held[i] < limit
				require.Equal(t, want, loads[i].Acquire(limit), "seed %d", seed)
				if want {
					held[i]++
				}
			} else if held[i] > 0 {
				loads[i].Release()
				held[i]--
			}
			require.Equal(t, held[i], loads[i].InFlight(), "seed %d", seed)
		}
		for i := range loads {
			for ; held[i] > 0; held[i]-- {
				loads[i].Release()
			}
			require.Zero(t, loads[i].InFlight(), "seed %d", seed)
		}
	}
}

func TestLoadLimitHoldsUnderContention(t *testing.T) {
	const limit = 3
	var load balancer.Load
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5000 {
				if load.Acquire(limit) {
					assert.LessOrEqual(t, load.InFlight(), int32(limit))
					load.Release()
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, load.InFlight())
}

func TestReleaseBelowZeroPanics(t *testing.T) {
	var load balancer.Load
	assert.PanicsWithValue(t, "BUG: balancer: Release without Acquire", load.Release)
}

// TestLoadsShareNoCacheLine: wherever the heap puts a Load, 128 bytes on either
// side of what it writes are its own.
func TestLoadsShareNoCacheLine(t *testing.T) {
	typ := reflect.TypeFor[balancer.Load]()
	hot, ok := typ.FieldByName("inflight")
	require.True(t, ok)
	assert.GreaterOrEqual(t, hot.Offset, uintptr(128))
	assert.GreaterOrEqual(t, typ.Size()-hot.Offset-hot.Type.Size(), uintptr(128))
}

func TestMaskAgreesWithMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	var m balancer.Mask
	want := map[int]bool{}
	require.True(t, m.Empty())
	for range 5000 {
		i := rnd.IntN(balancer.MaxBackends)
		if rnd.IntN(2) == 0 {
			m.Set(i)
			want[i] = true
		} else {
			m.Clear(i)
			delete(want, i)
		}
		require.Equal(t, want[i], m.Has(i))
		require.Equal(t, len(want), m.Count())
		require.Equal(t, len(want) == 0, m.Empty())
	}
}

func TestFirstNAndAnd(t *testing.T) {
	f := func(n, count int) {
		t.Helper()
		m := balancer.FirstN(n)
		assert.Equal(t, count, m.Count(), "FirstN(%d)", n)
		for i := range balancer.MaxBackends {
			assert.Equal(t, i < n, m.Has(i), "FirstN(%d).Has(%d)", n, i)
		}
	}
	f(-1, 0)
	f(0, 0)
	f(1, 1)
	f(63, 63)
	f(64, 64)
	f(65, 65)
	f(255, 255)
	f(256, 256)
	f(1000, 256)

	odd := balancer.FirstN(100)
	odd.Clear(70)
	both := odd.And(balancer.FirstN(71))
	assert.Equal(t, 70, both.Count())
	assert.Equal(t, 99, odd.Count(), "And must not change its operands")
}

// TestRoundRobinTakesTurns: for one eligible set the shares never differ by
// more than one, gaps or not, even while another kind of request alternates.
func TestRoundRobinTakesTurns(t *testing.T) {
	var gaps balancer.Mask
	for _, i := range []int{1, 2, 9, 200} {
		gaps.Set(i)
	}
	p, pool := newPolicy(t, "round_robin"), policytest.Pool(balancer.MaxBackends, 1, 0)
	shares := [2]map[int]int{{}, {}}
	for turn := range 1001 {
		for kind, eligible := range []balancer.Mask{gaps, balancer.FirstN(8)} {
			shares[kind][p.Pick(&balancer.Request{Eligible: eligible, Rand: uint64(turn)}, pool)]++
		}
	}
	f := func(share map[int]int, backends int) {
		t.Helper()
		assert.Len(t, share, backends)
		for i, n := range share {
			assert.InDelta(t, 1001/backends, n, 1, "backend %d", i)
		}
	}
	f(shares[0], 4)
	f(shares[1], 8)
}

// TestRoundRobinRetriesSpread: a retry that excludes the backend just tried
// reaches each of the others equally.
func TestRoundRobinRetriesSpread(t *testing.T) {
	const n, rounds = 4, 4000
	p, pool := newPolicy(t, "round_robin"), policytest.Pool(n, 1, 0)
	var pairs [n][n]int
	for turn := range rounds {
		r := &balancer.Request{Eligible: balancer.FirstN(n), Rand: uint64(turn)}
		first := p.Pick(r, pool)
		r.Eligible.Clear(first)
		pairs[first][p.Pick(r, pool)]++
	}
	for i := range pairs {
		for j := range pairs[i] {
			if i != j {
				assert.InDelta(t, rounds/n/(n-1), pairs[i][j], 1, "%d then %d", i, j)
			}
		}
	}
}

// TestRoundRobinPassesOverFullOnes: a full backend's turns are shared out among
// the others instead of doubling its neighbour's load.
func TestRoundRobinPassesOverFullOnes(t *testing.T) {
	const n, picks = 5, 10000
	p, pool := newPolicy(t, "round_robin"), policytest.Pool(n, 1, 1)
	require.True(t, pool[2].Load.Acquire(1))
	rnd := rand.New(rand.NewPCG(8, 8))
	var counts [n]int
	for range picks {
		counts[p.Pick(&balancer.Request{Eligible: balancer.FirstN(n), Rand: rnd.Uint64()}, pool)]++
	}
	assert.Zero(t, counts[2])
	for _, i := range []int{0, 1, 3, 4} {
		assert.InDelta(t, picks/(n-1), counts[i], 200, "backend %d", i)
	}
}

func TestLeastInflight(t *testing.T) {
	f := func(inflight, weight []int32, want int) {
		t.Helper()
		p, pool := newPolicy(t, "least_inflight"), policytest.Pool(len(weight), 1, 0)
		for i := range pool {
			pool[i].Weight = weight[i]
			for range inflight[i] {
				pool[i].Load.Acquire(0)
			}
		}
		for random := range uint64(50) {
			r := &balancer.Request{Eligible: balancer.FirstN(len(pool)), Rand: random}
			assert.Equal(t, want, p.Pick(r, pool), "inflight %v weight %v", inflight, weight)
		}
	}
	f([]int32{3, 1, 2}, []int32{1, 1, 1}, 1)
	f([]int32{3, 2, 9}, []int32{1, 1, 10}, 2)
	f([]int32{1, 0, 1}, []int32{1000, 1, 1}, 1)
	f([]int32{2, 1, 1}, []int32{1000, 0, -5}, 0)
	f([]int32{1, 2}, []int32{1 << 30, 1<<31 - 1}, 0) // a hair apart: 2/(2³¹-1) is above 1/2³⁰
}

// TestLeastInflightFillsByWeight: while requests only arrive, in-flight follows
// the weights to within one request.
func TestLeastInflightFillsByWeight(t *testing.T) {
	p, pool := newPolicy(t, "least_inflight"), policytest.Pool(3, 1, 0)
	pool[1].Weight, pool[2].Weight = 2, 5
	rnd := rand.New(rand.NewPCG(9, 9))
	for range 800 {
		i := p.Pick(&balancer.Request{Eligible: balancer.FirstN(3), Rand: rnd.Uint64()}, pool)
		require.True(t, pool[i].Load.Acquire(0))
	}
	assert.InDelta(t, 100, pool[0].Load.InFlight(), 1)
	assert.InDelta(t, 200, pool[1].Load.InFlight(), 1)
	assert.InDelta(t, 500, pool[2].Load.InFlight(), 1)
}

// TestLeastInflightIdleSplitsByWeight: a pool with nothing in flight is all
// ties; the canary of weight 5 still gets its 5 percent.
func TestLeastInflightIdleSplitsByWeight(t *testing.T) {
	p, pool := newPolicy(t, "least_inflight"), policytest.Pool(2, 5, 0)
	pool[0].Weight = 95
	rnd := rand.New(rand.NewPCG(10, 10))
	canary := 0
	for range 20000 {
		canary += p.Pick(&balancer.Request{Eligible: balancer.FirstN(2), Rand: rnd.Uint64()}, pool)
	}
	assert.InDelta(t, 1000, canary, 190)
}

// TestWeightedRounds: over a whole round each backend has exactly its weight,
// from whichever turn one counts, and turns are spread as nginx spreads them.
func TestWeightedRounds(t *testing.T) {
	f := func(weights []int32, round int, want []int) {
		t.Helper()
		p, pool := newPolicy(t, "weighted"), policytest.Pool(len(weights), 1, 0)
		for i, w := range weights {
			pool[i].Weight = w
		}
		for random := range uint64(5) {
			counts := make([]int, len(weights))
			for range round {
				counts[p.Pick(&balancer.Request{Eligible: balancer.FirstN(len(pool)), Rand: random}, pool)]++
			}
			assert.Equal(t, want, counts, "weights %v", weights)
		}
	}
	f([]int32{1}, 3, []int{3})
	f([]int32{5, 1, 1}, 7, []int{5, 1, 1})
	f([]int32{1000, 500, 500}, 4, []int{2, 1, 1})
	f([]int32{95, 5}, 20, []int{19, 1})
	f([]int32{0, -7, 2}, 4, []int{1, 1, 2})
	f([]int32{997, 991}, 997+991, []int{997, 991})
	f([]int32{1 << 30, 1 << 30}, 2, []int{1, 1})
	f([]int32{math.MaxInt32, 1}, 4096, []int{4095, 1})                    // rounded
	f([]int32{10007, 20011, 1}, 4096, []int{1365, 2730, 1})               // rounded
	f([]int32{math.MaxInt32, math.MaxInt32 - 1}, 4096, []int{2048, 2048}) // rounded
}

// TestWeightedIsSmooth: turns come evenly, not in bursts.
func TestWeightedIsSmooth(t *testing.T) {
	p, pool := newPolicy(t, "weighted"), policytest.Pool(3, 1, 0)
	pool[0].Weight = 5
	run, longest := 0, 0
	for range 700 {
		if p.Pick(&balancer.Request{Eligible: balancer.FirstN(3), Rand: 1}, pool) == 0 {
			run++
		} else {
			run = 0
		}
		longest = max(longest, run)
	}
	assert.Equal(t, 4, longest, "a a b a c a a, and again")
}

// TestWeightedRetriesSpread: a retry that excludes the backend just tried, and
// a full one's turns, go to the others by weight.
func TestWeightedRetriesSpread(t *testing.T) {
	p, pool := newPolicy(t, "weighted"), policytest.Pool(4, 1, 1)
	pool[1].Weight, pool[2].Weight, pool[3].Weight = 2, 3, 4
	rnd := rand.New(rand.NewPCG(11, 11))
	second := make([]int, 4)
	for range 9000 {
		r := &balancer.Request{Eligible: balancer.FirstN(4), Rand: rnd.Uint64()}
		r.Eligible.Clear(3)
		second[p.Pick(r, pool)]++
	}
	assert.InDelta(t, 1500, second[0], 200)
	assert.InDelta(t, 3000, second[1], 250)
	assert.InDelta(t, 4500, second[2], 250)
	require.True(t, pool[2].Load.Acquire(1))
	full := make([]int, 4)
	for range 7000 {
		full[p.Pick(&balancer.Request{Eligible: balancer.FirstN(4), Rand: rnd.Uint64()}, pool)]++
	}
	assert.Zero(t, full[2])
	assert.InDelta(t, 1000, full[0], 160)
	assert.InDelta(t, 2000, full[1], 220)
	assert.InDelta(t, 4000, full[3], 220)
}

// TestWeightedFollowsShares: a change of a share is in the table within a round.
func TestWeightedFollowsShares(t *testing.T) {
	p, pool := newPolicy(t, "weighted"), policytest.Pool(2, 3, 0)
	count := func(picks int) (counts [2]int) {
		for range picks {
			counts[p.Pick(&balancer.Request{Eligible: balancer.FirstN(2), Rand: 5}, pool)]++
		}
		return counts
	}
	assert.Equal(t, [2]int{10, 10}, count(20))
	for share := 1; share <= balancer.FullShare; share++ {
		pool[1].Load.SetShare(share)
		count(100) // finds out
		assert.Equal(t, [2]int{100, 10 * share}, count(100+10*share), "share %d", share)
	}
}

func TestShare(t *testing.T) {
	var load balancer.Load
	assert.Equal(t, balancer.FullShare, load.Share())
	f := func(set, want int) {
		t.Helper()
		load.SetShare(set)
		assert.Equal(t, want, load.Share())
	}
	f(math.MinInt, 1)
	f(0, 1)
	f(1, 1)
	f(7, 7)
	f(10, 10)
	f(math.MaxInt, 10)
}

func BenchmarkPick(b *testing.B) {
	for _, name := range balancer.Names() {
		for _, n := range []int{8, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				p, pool := newPolicy(b, name), policytest.Pool(n, 1, 64)
				r := &balancer.Request{Eligible: balancer.FirstN(n)}
				for i := range pool {
					for range i % 7 {
						pool[i].Load.Acquire(0)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					r.Rand += 0x9e3779b97f4a7c15
					p.Pick(r, pool)
				}
			})
		}
	}
}
