//go:build integration && linux

package replicas

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testredis"
)

// A cluster shares limits as one Redis does. When one of its nodes is away, those
// limits fall to shares that live there, and no others.
func TestRedisCluster(t *testing.T) {
	nodes := testredis.StartCluster(t, 3)
	w := newWorldOn(nodes[0], t, 2, "{requests_per_minute: 1, burst: {requests: 10}, tokens_per_day: 1M, concurrent: 5, budget: {usd: 1000}}",
		"cluster: true", fmt.Sprintf("nodes: [%q, %q]", nodes[1].Address, nodes[2].Address), patiently)
	passed := 0
	for i := range 30 {
		switch status := w.post(w.routers[i%2]); status {
		case http.StatusOK:
			passed++
		default:
			require.Equal(t, http.StatusTooManyRequests, status)
		}
	}
	assert.LessOrEqual(t, 10, passed)
	assert.LessOrEqual(t, passed, 11, "and what flowed off meanwhile")
	assert.Zero(t, w.sum("helixflow_redis_errors_total"))

	limits, replicas := owner(t, nodes, "helixflow:{tenant:all}:"), owner(t, nodes, "helixflow:replicas")
	require.NotEqual(t, limits, replicas)
	nodes[3-limits-replicas].Kill()
	for i := range 6 {
		assert.Equal(t, http.StatusTooManyRequests, w.post(w.routers[i%2]))
	}
	assert.Zero(t, w.sum("helixflow_redis_errors_total"), "nobody needs what is there")
	nodes[limits].Kill()
	require.Eventually(t, func() bool {
		w.post(w.routers[0])
		return w.routers[0].limits().Sharing.Alone > 0
	}, patience, 20*time.Millisecond, "shares count")
	require.Equal(t, int64(2), w.routers[0].limits().Sharing.Replicas, "the third node says how many there are")
}

// owner is the node that a key lives on.
func owner(t *testing.T, nodes []*testredis.Server, key string) int {
	t.Helper()
	var slot int
	_, err := fmt.Sscanf(nodes[0].Command(t, "CLUSTER", "KEYSLOT", key), ":%d", &slot)
	require.NoError(t, err)
	return slot * len(nodes) / testredis.Slots
}
