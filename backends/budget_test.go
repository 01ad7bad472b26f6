package backends

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// slowBudget is Budget by its definition: lists of what happened in each second.
type slowBudget struct {
	share             float64
	perSecond         int
	requests, retries map[int]int
}

func (s *slowBudget) retry(second int) bool {
	requests, retries := 0, 0
	for back := range budgetSeconds {
		requests += s.requests[second-back]
		retries += s.retries[second-back]
	}
	most := int(s.share*float64(requests) + 1e-9)
	ok := retries+1 <= most || s.retries[second] < s.perSecond && retries < budgetSeconds*s.perSecond
	if ok {
		s.retries[second]++
	}
	return ok
}

func TestBudgetAgreesWithDefinition(t *testing.T) {
	for seed := range uint64(28) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		base := time.Unix(1000, 0)
		s := &slowBudget{share: float64(rnd.IntN(11)) / 10, perSecond: 3 + rnd.IntN(10), requests: map[int]int{}, retries: map[int]int{}}
		b := NewBudget(s.share, s.perSecond, base)
		at := time.Duration(0)
		for range 1000 {
			switch rnd.IntN(20) {
			case 0:
				at += time.Duration(rnd.Int64N(int64(15 * time.Second)))
			case 1:
				if seed%7 == 0 {
					at += 40 * time.Hour // eras pass
				}
			default:
				at += time.Duration(rnd.Int64N(int64(300 * time.Millisecond)))
			}
			second := int(at / time.Second)
			for range rnd.IntN(40) {
				b.Request(base.Add(at))
				s.requests[second]++
			}
			for range rnd.IntN(20) {
				require.Equal(t, s.retry(second), b.Retry(base.Add(at)), "seed %d at %v", seed, at)
			}
		}
	}
}

// TestBudgetBoundsAttempts: whatever the history, tries are at most 1.2 times
// the requests or, at low rates, requests and ten a second; and always both of
// them together with room to spare.
func TestBudgetBoundsAttempts(t *testing.T) {
	f := func(perSecond int, fails float64, seconds int) (requests, attempts int) {
		t.Helper()
		rnd := rand.New(rand.NewPCG(uint64(perSecond), uint64(seconds)))
		base := time.Unix(0, 0)
		b := NewBudget(DefaultBudget, BudgetPerSecond, base)
		for second := range seconds {
			for i := range perSecond {
				now := base.Add(time.Duration(second)*time.Second + time.Duration(i)*time.Second/time.Duration(perSecond))
				b.Request(now)
				requests++
				attempts++
				for range 2 {
					if rnd.Float64() >= fails || !b.Retry(now) {
						break
					}
					attempts++
				}
			}
			assert.LessOrEqual(t, float64(attempts), 1.2*float64(requests)+float64(BudgetPerSecond*(second+1)), "%d/s", perSecond)
		}
		return requests, attempts
	}
	for _, rate := range []int{1, 5, 10, 49, 100, 500, 5000} {
		requests, attempts := f(rate, 1, 30)
		if rate >= 100 {
			// Only the first seconds, before there are requests to count, use the floor.
			assert.LessOrEqual(t, float64(attempts), 1.2*float64(requests)+budgetSeconds*BudgetPerSecond, "%d/s", rate)
		}
		f(rate, 0.3, 30)
	}
	requests, attempts := f(500, 1, 60)
	assert.LessOrEqual(t, float64(attempts)/float64(requests), 1.2, "a storm at 500/s")
	requests, attempts = f(5, 0.5, 30)
	assert.Greater(t, attempts, requests+requests/3, "a small pool may try again more often")
}

func TestBudgetLimits(t *testing.T) {
	now := time.Now()
	f := func(share float64, perSecond, requests, want int) {
		t.Helper()
		b := NewBudget(share, perSecond, now)
		for range requests {
			b.Request(now)
		}
		got := 0
		for b.Retry(now) {
			got++
		}
		assert.Equal(t, want, got)
		assert.True(t, b.Retry(now.Add(time.Hour)), "all is forgotten")
		assert.NotPanics(t, func() { b.Retry(now.Add(-time.Hour)) })
	}
	f(0, 0, 1000, 3)
	f(0, -5, 1000, 3)
	f(0.2, 10, 0, 10)
	f(0.2, 10, 49, 10)
	f(0.2, 10, 1000, 200)
	f(7, 10, 1000, 1000)
	f(-1, 10, 1000, 10)

	b := NewBudget(0, 3, now)
	b.Set(1, 20)
	for range 20 {
		assert.True(t, b.Retry(now))
	}
	assert.False(t, b.Retry(now))
}

func TestBudgetHoldsUnderContention(t *testing.T) {
	const workers, rounds = 8, 2000
	now := time.Now()
	b := NewBudget(0.2, 3, now)
	var retries atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				b.Request(now)
				if b.Retry(now) {
					retries.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, workers*rounds/5, retries.Load())
}

func TestBudgetDoesNotAllocate(t *testing.T) {
	now := time.Now()
	b := NewBudget(0.2, 10, now)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		b.Request(now)
		b.Retry(now)
	}))
}

func BenchmarkBudgetRequest(b *testing.B) {
	budget, now := NewBudget(0.2, 10, time.Now()), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		budget.Request(now)
	}
}
