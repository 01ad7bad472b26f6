// These tests check what requests promise on a backend's book: all of it is taken
// back, whatever happens in between and in which order.
package balancer_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/testtiming"
)

func assertIdle(t *testing.T, l *balancer.Load, now int64) {
	t.Helper()
	assert.Zero(t, l.InFlight())
	assert.Zero(t, l.PrefillTokens())
	assert.Zero(t, l.KVTokens())
	assert.Zero(t, l.Ahead(now))
}

// TestChargesSumToZero plays random histories: streams with and without a first
// token, unary requests, failures, ends in any order, at moments that jump to and
// fro. At the end nothing is left on any book.
func TestChargesSumToZero(t *testing.T) {
	type request struct {
		charge balancer.Charge
		load   *balancer.Load
	}
	for seed := range uint64(testtiming.Rounds(200)) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		loads := make([]balancer.Load, 3)
		now := int64(time.Hour)
		var open []*request
		end := func(i int) {
			r := open[i]
			switch rnd.IntN(4) {
			case 0:
				r.charge.Failed(now)
			case 1:
				r.charge.Learn(helixflow.Usage{InputTokens: rnd.Int64N(1e5), CachedTokens: rnd.Int64N(1e5), OutputTokens: rnd.Int64N(100), Reported: true}, now)
			}
			r.charge.Settle(now)
			r.charge.Settle(now) // once is enough
			r.load.Release()
			open[i] = open[len(open)-1]
			open = open[:len(open)-1]
		}
		for range 400 {
			now += rnd.Int64N(int64(time.Second)) - int64(100*time.Millisecond)
			switch rnd.IntN(3) {
			case 0:
				r := &request{load: &loads[rnd.IntN(len(loads))]}
				require.True(t, r.load.Acquire(0))
				ask := &balancer.Request{Now: now, Tokens: rnd.Int64N(50_000), Output: rnd.Int64N(1000), Stream: rnd.IntN(2) == 0}
				r.charge.Take(r.load, ask)
				open = append(open, r)
			case 1:
				if len(open) > 0 {
					open[rnd.IntN(len(open))].charge.FirstToken(now)
				}
			case 2:
				if len(open) > 0 {
					end(rnd.IntN(len(open)))
				}
			}
			for i := range loads {
				require.GreaterOrEqual(t, loads[i].PrefillTokens(), int64(0))
				require.GreaterOrEqual(t, loads[i].Ahead(now), 0.0)
			}
		}
		latest := now + int64(100*time.Millisecond)
		now = latest
		for len(open) > 0 {
			end(len(open) - 1)
		}
		for i := range loads {
			assertIdle(t, &loads[i], latest)
		}
	}
}

// TestChargesOfMany is the same from many goroutines.
func TestChargesOfMany(t *testing.T) {
	var load balancer.Load
	var wg sync.WaitGroup
	start := time.Now()
	clock := func() int64 { return int64(time.Since(start)) + 1 }
	for worker := range uint64(8) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(worker, 2))
			for range 2000 {
				load.Acquire(0)
				var c balancer.Charge
				c.Take(&load, &balancer.Request{Now: clock(), Tokens: rnd.Int64N(5000), Output: 10, Stream: rnd.IntN(2) == 0})
				if rnd.IntN(2) == 0 {
					c.FirstToken(clock())
				}
				c.Learn(helixflow.Usage{InputTokens: 100, OutputTokens: 10, Reported: true}, clock())
				c.Settle(clock())
				load.Release()
			}
		})
	}
	wg.Wait()
	assertIdle(t, &load, clock())
}

func TestChargeOfAStream(t *testing.T) {
	var load balancer.Load
	var c balancer.Charge
	const second = int64(time.Second)
	c.Take(&load, &balancer.Request{Now: second, Tokens: 20_000, Output: 500, Stream: true})
	assert.EqualValues(t, 20_000, load.PrefillTokens())
	assert.EqualValues(t, 20_500, load.KVTokens())
	assert.InDelta(t, 2, load.Ahead(second), 1e-9)
	assert.InDelta(t, 2, load.Ahead(100*second), 1e-9, "a prompt is not read before its first token")
	c.FirstToken(3 * second)
	assert.Zero(t, load.Ahead(3*second))
	assert.EqualValues(t, 20_500, load.KVTokens())
	c.Settle(4 * second)
	assertIdle(t, &load, 4*second)
}

// TestChargeOfAUnary: what shows no first token drains by the rate, one after the
// other; what ends early makes room at once.
func TestChargeOfAUnary(t *testing.T) {
	var load balancer.Load
	var first, next balancer.Charge
	const second = int64(time.Second)
	ask := &balancer.Request{Now: second, Tokens: 20_000}
	first.Take(&load, ask)
	next.Take(&load, ask)
	assert.InDelta(t, 4, load.Ahead(second), 1e-9)
	assert.InDelta(t, 3, load.Ahead(2*second), 1e-9)
	first.Settle(2 * second)
	assert.InDelta(t, 2, load.Ahead(2*second), 1e-9)
	next.Settle(3 * second)
	assertIdle(t, &load, 3*second)
}

// TestTakeTellsOfOthers: who decided by a book on which others have put more than
// a prompt since is told.
func TestTakeTellsOfOthers(t *testing.T) {
	p, pool := newPolicy(t, "adaptive"), pool(1)
	pick := func() *balancer.Request {
		r := &balancer.Request{Eligible: balancer.FirstN(1), Tokens: 1000, Stream: true, Now: 1}
		require.Zero(t, balancer.Choose(p, r, pool))
		return r
	}
	var charges [4]balancer.Charge
	r := pick()
	assert.False(t, charges[0].Take(pool[0].Load, r))
	late := pick()
	assert.False(t, charges[1].Take(pool[0].Load, pick()))
	assert.False(t, charges[2].Take(pool[0].Load, late), "one prompt is as may be")
	late = pick()
	late.Decision = r.Decision
	assert.True(t, charges[3].Take(pool[0].Load, late))
}
