//go:build integration && linux

package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const rated = 4 // routers

// operations is how often the routers have asked Redis.
func (w *world) operations() (sum float64) {
	for _, r := range w.routers {
		sum += r.metric("helixflow_redis_operations_total")
	}
	return sum
}

// mostOperations is how often they may in a time: ten a second each, and a word
// each second that it is here; and ten in a row once.
func mostOperations(seconds float64) float64 { return rated * (11*seconds + 10) }

// Four routers that are asked for far more than a limit let all of it pass and no
// more, from the first moment on, and ask Redis no more than they may.
func TestFourRoutersOneLimit(t *testing.T) {
	const (
		rate, burst = 100.0, 200.0 // 6000 a minute
		leases      = 12.0         // N·L
	)
	w := newWorld(t, rated, "{requests_per_minute: 6000, burst: {requests: 200}}")
	asked, began := w.operations(), time.Now()
	l := w.offer(200)
	bound := func() (share float64) {
		passed, most := float64(w.served.Load()), burst+rate*time.Since(began).Seconds()
		require.LessOrEqual(t, passed, 1.005*most+leases)
		return passed / most
	}
	for time.Since(began) < 10*time.Second {
		bound()
		time.Sleep(20 * time.Millisecond)
	}
	require.Eventually(t, func() bool { return bound() >= 0.99 }, patience, 20*time.Millisecond, "all of it is used")
	took := time.Since(began).Seconds()
	perSecond := (w.operations() - asked) / took
	t.Logf("%d passed in %.2f s; %.1f operations a second", w.served.Load(), took, perSecond)
	assert.LessOrEqual(t, perSecond*took, mostOperations(took)+10*rated, "and once more ten in a row for the burst")
	l.stop()
	assert.Equal(t, l.all(), l.count(200)+l.count(429), "nothing but these")
	require.Positive(t, l.count(429))
}
