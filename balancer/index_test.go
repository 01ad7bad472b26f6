package balancer_test

import (
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// matched returns how many blocks of the prompt each of n backends has.
func matched(x *balancer.Index, c *balancer.Chain, n int) []int {
	var m balancer.Matches
	x.Match(c, balancer.FirstN(n), &m)
	blocks := make([]int, n)
	for i := range blocks {
		blocks[i] = m.Blocks(i)
	}
	return blocks
}

func TestIndexMatchesAllBackendsAtOnce(t *testing.T) {
	x := balancer.NewIndex(1<<20, 4)
	prompt := text(1, 10_000)
	c := chainOf(1, prompt)
	require.Equal(t, []int{0, 0, 0, 0}, matched(x, c, 4))
	x.Insert(chainOf(1, prompt[:1024]), 1, 0)
	x.Insert(c, 2, 0)
	x.Insert(chainOf(1, prompt[:300]), 3, 0)
	require.Equal(t, []int{0, 4, 21, 1}, matched(x, c, 4))
	require.Equal(t, []int{0, 0, 0, 0}, matched(x, chainOf(2, prompt), 4), "of another seed")

	var m balancer.Matches
	open := balancer.FirstN(4)
	open.Clear(2)
	x.Match(c, open, &m)
	assert.Equal(t, 4, m.Best())
	assert.Zero(t, m.Blocks(2), "not asked for")
}

func TestIndexOfAnyNumberOfBackends(t *testing.T) {
	prompt := text(1, 5000)
	c := chainOf(1, prompt)
	for _, n := range []int{0, 1, 2, 63, 64, 65, 128, 129, 255, 256, 300} {
		x := balancer.NewIndex(1<<20, n)
		known := min(n, balancer.MaxBackends)
		want := make([]int, balancer.MaxBackends)
		for b := -1; b < n+2; b++ {
			part := chainOf(1, prompt[:256*(1+max(b, 0)%16)])
			x.Insert(part, b, 0)
			x.SetHorizon(b, 1<<30)
			x.Calibrate(b, 1000, 1000)
			if 0 <= b && b < known {
				want[b] = part.Len()
			}
		}
		require.Equal(t, want, matched(x, c, balancer.MaxBackends), "%d backends", n)

		for b := 2; b < n+2; b += 3 {
			x.Forget(b)
			if b < known {
				want[b] = 0
			}
		}
		x.Forget(-1)
		require.Equal(t, want, matched(x, c, balancer.MaxBackends), "%d backends, a third forgotten", n)
	}
}

// TestIndexForgetsAtOnce: whatever there was, nothing is left of it, however often
// it is forgotten, and what comes later is remembered.
func TestIndexForgetsAtOnce(t *testing.T) {
	x := balancer.NewIndex(1<<20, 2)
	c, other := chainOf(1, text(1, 10_000)), chainOf(1, text(2, 100))
	for i := range 1000 {
		for matched(x, c, 2)[0] == 0 {
			x.Insert(c, 0, 0)
			x.Insert(c, 1, 0)
		}
		require.Equal(t, []int{21, 21}, matched(x, c, 2))
		x.Forget(0)
		require.Equal(t, []int{0, 21}, matched(x, c, 2))
		for range i % 7 {
			x.Insert(other, 1, 0)
			require.Equal(t, []int{0, 21}, matched(x, c, 2))
		}
		if i%3 == 0 {
			x.Forget(0)
		}
	}
}

var promptOf4K = text(1, 4<<10)

func TestIndexNeverExceedsItsMemory(t *testing.T) {
	f := func(maxBytes int64, backends int) {
		t.Helper()
		x := balancer.NewIndex(maxBytes, backends)
		var c balancer.Chain
		for i := range uint64(3000) {
			c.Reset(i)
			c.Write(promptOf4K[:256*(1+i%16)])
			x.Insert(&c, int(i)%backends, int64(i))
		}
		s := x.Stats()
		assert.LessOrEqual(t, s.Bytes, max(maxBytes, 0))
		assert.LessOrEqual(t, s.Entries, s.Capacity)
		assert.LessOrEqual(t, s.Entries*32, s.Bytes)
		if s.Capacity > 0 {
			assert.Positive(t, s.Entries)
			assert.Positive(t, s.Evictions)
		}
	}
	for _, size := range []int64{math.MinInt64, -1, 0, 255, 256, 257, 5000, 100_000} {
		f(size, 1)
		f(size, 65)
		f(size, 256)
	}
}

// TestIndexTellsHashesApart puts all there is into one bucket.
func TestIndexTellsHashesApart(t *testing.T) {
	const n = 65
	prompt := func(i int) *balancer.Chain { return chainOf(1, text(uint64(i), 256)) }
	has := func(backends ...int) []int {
		blocks := make([]int, n)
		for _, b := range backends {
			blocks[b] = 1
		}
		return blocks
	}
	x := balancer.NewIndex(448, n)
	for i := range 8 {
		x.Insert(prompt(i), i*9, 0)
	}
	require.EqualValues(t, 8, x.Stats().Entries)
	for i := range 8 {
		require.Equal(t, has(i*9), matched(x, prompt(i), n))
	}
	for i := range 10_000 {
		require.Equal(t, has(), matched(x, prompt(8+i), n))
	}
	for i := range 100 {
		x.Insert(prompt(100+i), 64*(i%2), 0)
		require.Equal(t, has(64*(i%2)), matched(x, prompt(100+i), n), "of the one before nothing is left")
	}
	assert.EqualValues(t, 8, x.Stats().Entries)
	assert.EqualValues(t, 100, x.Stats().Evictions)
}

// TestIndexEvictsTheOldest: what is asked for again outlives what is not.
func TestIndexEvictsTheOldest(t *testing.T) {
	x := balancer.NewIndex(64<<10, 1) // 2048 entries, far fewer than the horizon has
	hot := chainOf(1, text(1, 4<<10))
	missed := 0
	for i := range uint64(5000) {
		x.Insert(chainOf(i+2, promptOf4K), 0, 0)
		if matched(x, hot, 1)[0] < hot.Len() {
			missed++
		}
		x.Insert(hot, 0, 0)
	}
	assert.Positive(t, x.Stats().Evictions)
	assert.Less(t, missed, 50)
}

func TestIndexPopularity(t *testing.T) {
	const second = int64(1e9)
	x := balancer.NewIndex(1<<20, 3)
	prompt := text(1, 1000)
	c := chainOf(1, prompt)
	f := func(first, last int) {
		t.Helper()
		var m balancer.Matches
		x.Match(c, balancer.FirstN(3), &m)
		require.Equal(t, 3, m.Best())
		assert.EqualValues(t, first, m.Popularity(0))
		assert.EqualValues(t, last, m.Popularity(2))
		assert.Panics(t, func() { m.Popularity(3) })
	}
	now := 1000 * second
	x.Insert(c, 0, now)
	f(0, 0)
	for i := range 40 {
		x.Insert(c, i%3, now)
	}
	f(40, 40)
	x.Insert(chainOf(1, prompt[:300]), 0, now)
	f(41, 40)
	other := chainOf(2, prompt)
	later := func(seconds int64) {
		now += seconds * second
		x.Insert(other, 0, now)
	}
	later(42)
	f(20, 20)
	x.Insert(c, 0, now)
	f(21, 21)
	later(84)
	f(5, 5)
	now -= 5000 * second // the clock steps back
	x.Insert(c, 1, now)
	f(6, 6)
	later(42)
	f(3, 3)
	later(1 << 32) // and leaps
	f(0, 0)
	for range 300 {
		x.Insert(c, 2, now)
	}
	x.Insert(other, 2, now+256*41_588_830_834) // as far as the number of the half-life comes round
	f(0, 0)
	for range 300 {
		x.Insert(c, 2, now)
	}
	f(255, 255)
	x.Insert(c, 2, math.MaxInt64)
	x.Insert(c, 2, math.MinInt64)
	x.Insert(c, 2, 0)
	f(3, 3)
}

// TestIndexPopularityStaysForgotten: the number of a half-life comes round after 256
// of them, what was popular before does not.
func TestIndexPopularityStaysForgotten(t *testing.T) {
	x := balancer.NewIndex(256<<10, 2)
	x.SetHorizon(1, 64<<10)
	c := chainOf(1, text(1, 256))
	for range 200 {
		x.Insert(c, 0, 0)
	}
	var m balancer.Matches
	for i := range uint64(300) {
		for j := range uint64(4) {
			x.Insert(chainOf(2+4*i+j, promptOf4K), 1, int64(i)*42e9)
		}
		x.Match(c, balancer.FirstN(2), &m)
		require.Equal(t, 1, m.Blocks(0))
		if i >= 8 {
			require.Zero(t, m.Popularity(0), "half-life %d", i)
		}
	}
}

func TestIndexHostilePrompts(t *testing.T) {
	x := balancer.NewIndex(1<<20, 2)
	f := func(prompt []byte, blocks int) {
		t.Helper()
		c := chainOf(1, prompt)
		x.Insert(c, 1, 0)
		assert.Equal(t, []int{0, blocks}, matched(x, c, 2))
	}
	f(nil, 0)
	f([]byte{'x'}, 0)
	f(make([]byte, 256), 1)
	f(make([]byte, 512<<10), 188)
	f(make([]byte, 3<<20), 188)
	f(text(1, 2<<20), 188)
}

func TestIndexCalibrates(t *testing.T) {
	x := balancer.NewIndex(1<<20, 2)
	x.SetHorizon(0, 1_000_000)
	f := func(samples int, predicted, cached int64, trust float64, horizon int64) {
		t.Helper()
		for range samples {
			x.Calibrate(0, predicted, cached)
		}
		assert.InDelta(t, trust, x.Trust(0), 0.02)
		assert.InDelta(t, horizon, x.Horizon(0), float64(horizon)/1000)
	}
	f(0, 0, 0, 1, 1_000_000)
	f(1000, 100, 0, 1, 1_000_000) // too little to tell
	f(16, 1000, 1000, 1, 1_100_000)
	f(32, 1000, 800, 0.8, 1_100_000)
	f(32, 1000, 500, 0.5, 1_100_000*0.9*0.9)
	f(1000, 1000, -5, 0, 250_000)
	f(1000, 1000, math.MaxInt64, 1, 4_000_000)
	x.SetHorizon(0, 2_000_000)
	f(0, 0, 0, 1, 8_000_000)
	x.Forget(0)
	f(0, 0, 0, 1, 2_000_000)
	assert.EqualValues(t, balancer.DefaultHorizon, x.Horizon(1), "of each backend its own")
	x.SetHorizon(1, -5)
	assert.Positive(t, x.Horizon(1))
	x.SetHorizon(1, math.MaxInt64)
	assert.Positive(t, x.Horizon(1))
}

// TestIndexIsSharedByGoroutines is for the race detector; and entries and memory
// add up when all are done.
func TestIndexIsSharedByGoroutines(t *testing.T) {
	const backends = 70
	x := balancer.NewIndex(128<<10, backends)
	prompts := [][]byte{}
	for i := range uint64(40) {
		prompts = append(prompts, text(i%4, 8<<10)[:256*(1+i%32)])
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var c balancer.Chain
			var m balancer.Matches
			for i := range 1500 {
				c.Reset(uint64(i * g % 50))
				c.Write(prompts[(i+g)%len(prompts)])
				x.Match(&c, balancer.FirstN(backends), &m)
				for b := range backends {
					if m.Blocks(b) > c.Len() || m.Blocks(b) > m.Best() {
						t.Errorf("%d blocks of %d, the best %d", m.Blocks(b), c.Len(), m.Best())
					}
				}
				x.Insert(&c, i*7%backends, int64(i)*1e9)
				x.Calibrate(i%backends, 1000, int64(i%1200))
				if i%300 == 0 {
					x.Forget(i / 300 * 17 % backends)
					x.SetHorizon(i%backends, int64(i)<<10)
				}
				x.Stats()
			}
		})
	}
	wg.Wait()
	s := x.Stats()
	assert.Positive(t, s.Entries)
	assert.LessOrEqual(t, s.Entries, s.Capacity)
}

func TestIndexAllocatesNothing(t *testing.T) {
	for _, n := range []int{1, 8, 64, 256} {
		x := balancer.NewIndex(256<<10, n)
		var c balancer.Chain
		var m balancer.Matches
		i := 0
		assert.Zero(t, testing.AllocsPerRun(500, func() {
			i++
			c.Reset(uint64(i))
			c.Write(promptOf4K[:4000])
			c.EndSpan()
			x.Match(&c, balancer.FirstN(n), &m)
			x.Insert(&c, i%n, int64(i)*1e9)
			x.Calibrate(i%n, 1000, 900)
			if i%50 == 0 {
				x.Forget(i % n)
			}
			x.Stats()
		}))
	}
}
