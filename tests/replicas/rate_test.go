//go:build integration && linux

package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Four routers that are asked for far more than a limit let it pass and no more,
// in every window from the second on, and ask Redis no more than ten times a
// second each.
func TestFourRoutersOneLimit(t *testing.T) {
	const n = 4
	w := newWorld(t, n, rateLimits)
	operations := func() (sum float64) {
		for _, r := range w.routers {
			sum += r.metric("helixflow_redis_operations_total")
		}
		return sum
	}
	l := w.offer(offered)
	time.Sleep(rateWindow / 2) // the burst goes first
	for i := range rateWindows {
		before, asked, began := w.served.Load(), operations(), time.Now()
		time.Sleep(rateWindow)
		passed, took := float64(w.served.Load()-before), time.Since(began).Seconds()
		share := passed / (rate * took)
		perSecond := (operations() - asked) / took
		t.Logf("window %d: %.0f passed, %.2f%% of the limit; %.1f operations a second", i+1, passed, 100*share, perSecond)
		assert.GreaterOrEqual(t, passed, 0.99*rate*took-leases)
		assert.LessOrEqual(t, passed, 1.005*rate*took+leases)
		assert.LessOrEqual(t, perSecond, 10*n+n+10*n/took, "ten a second, a word that it is here, and ten in a row once")
	}
	l.stop()
	assert.Equal(t, l.all(), l.count(200)+l.count(429), "nothing but these")
	require.Positive(t, l.count(429))
}
