//go:build integration && linux

package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	rated  = 4 // routers
	others = "tokens_per_minute: 600M, tokens_per_day: 6000M, concurrent: 10k, budget: {usd: 1000000}"
)

// sum is that of all routers' metrics of one name.
func (w *world) sum(name string) (sum float64) {
	for _, r := range w.routers {
		sum += r.metric(name)
	}
	return sum
}

// operations is how often the routers have asked Redis.
func (w *world) operations() float64 { return w.sum("helixflow_redis_operations_total") }

// mostOperations is how often they may in a time: ten a second each, and ten in a
// row once.
func mostOperations(seconds float64) float64 { return rated * (10*seconds + 10) }

// Four routers that are asked for far more than a limit let all of it pass and no
// more, from the first moment on, and ask Redis no more than they may, however many
// limits the tenant has besides.
func TestFourRoutersOneLimit(t *testing.T) {
	const (
		rate, burst = 100.0, 200.0 // 6000 a minute
		leases      = 12.0         // N·L
	)
	w := newWorld(t, rated, "{requests_per_minute: 6000, burst: {requests: 200}, "+others+"}", patiently)
	asked, began := w.operations(), time.Now()
	l := w.offer(200)
	time.Sleep(8 * time.Second)
	require.Eventually(t, func() bool {
		passed := float64(w.served.Load())
		return passed >= 0.99*(burst+rate*time.Since(began).Seconds())
	}, patience, 20*time.Millisecond, "all of it is used")
	took := time.Since(began).Seconds()
	operations := w.operations() - asked
	l.stop()
	worst := excess(w.passages(), rate)
	t.Logf("%d passed in %.2f s; in the worst window %.1f above the rate; %.1f operations a second", w.served.Load(), took, worst, operations/took)
	assert.LessOrEqual(t, worst, burst+leases)
	assert.LessOrEqual(t, operations, mostOperations(took)+10*rated, "and once more ten in a row for the burst")
	assert.Equal(t, l.all(), l.count(200)+l.count(429), "nothing but these")
	require.Positive(t, l.count(429))
}
