//go:build integration && linux

package replicas

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testredis"
)

// The requests at once of all routers together are bounded, and those of one that
// is killed do not count for longer than its lease.
func TestSlots(t *testing.T) {
	w := newWorld(t, 2, "{concurrent: 4}")
	w.hold = make(chan struct{})
	a, b := w.routers[0], w.routers[1]
	ended := make(chan int, 4)
	for range 4 {
		go func() { ended <- w.post(a) }()
	}
	require.Eventually(t, func() bool { return w.served.Load() == 4 }, patience, 5*time.Millisecond)
	assert.Equal(t, http.StatusTooManyRequests, w.post(a))
	assert.Equal(t, http.StatusTooManyRequests, w.post(b))
	a.kill()
	for range 4 {
		assert.Zero(t, <-ended)
	}
	go func() {
		for status := http.StatusTooManyRequests; ; {
			if status = w.post(b); status != http.StatusTooManyRequests {
				ended <- status
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	killed := time.Now()
	require.Eventually(t, func() bool { return w.served.Load() == 5 }, patience, 5*time.Millisecond)
	t.Logf("slots of a killed router came back after %s", time.Since(killed))
	close(w.hold)
	assert.Equal(t, http.StatusOK, <-ended)
}

// A budget is one for all routers, to the last request, and Redis remembers it.
func TestBudget(t *testing.T) {
	w := newWorld(t, 3, "{budget: {usd: 0.55, per: month}}") // a request is 1 token and 10, at 0.001
	passed := 0
	for refused, i := 0, 0; refused < 3; i++ {
		switch status := w.post(w.routers[i%3]); status {
		case http.StatusOK:
			passed++
		case http.StatusTooManyRequests:
			if refused++; passed < 50 { // one of the others may hold the rest
				refused = 0
				time.Sleep(100 * time.Millisecond)
			}
		default:
			t.Fatal(status)
		}
	}
	assert.Equal(t, 50, passed)
	for _, r := range w.routers {
		require.NoError(t, r.cmd.Process.Signal(terminate))
		<-r.exited
	}
	assert.Equal(t, http.StatusTooManyRequests, w.post(w.start()))
}

// What is used goes along to another Redis, and into one that has forgotten all.
func TestAnotherRedis(t *testing.T) {
	w := newWorld(t, 2, "{requests_per_minute: 1, burst: {requests: 6}, budget: {usd: 1000}}")
	a := w.routers[0]
	refused := func() bool { return w.post(a) == http.StatusTooManyRequests }
	for range 6 {
		require.Equal(t, http.StatusOK, w.post(a))
	}
	require.True(t, refused())
	first := w.redis
	w.redis = testredis.Start(t)
	a.reload()
	assert.Equal(t, w.redis.Address, a.limits().Sharing.Redis)
	assert.True(t, refused(), "at once")
	require.Eventually(t, func() bool {
		return w.redis.Command(t, "EXISTS", "helixflow:{tenant:all}:tenant:all:requests_per_minute") == ":1"
	}, patience, 10*time.Millisecond)
	assert.True(t, refused(), "having asked")
	w.redis.Kill()
	w.redis.Run(t)
	require.Eventually(t, func() bool {
		return !refused() || w.redis.Command(t, "EXISTS", "helixflow:{tenant:all}:tenant:all:requests_per_minute") == ":1"
	}, patience, 100*time.Millisecond)

	w.section = "# %s"
	a.reload()
	assert.Nil(t, a.limits().Sharing)
	w.section, w.redis = `redis: {`+patiently+`, url: "%s"}`, first
	a.reload()
	require.Eventually(t, func() bool { return a.limits().Sharing.Replicas == 2 }, patience, 20*time.Millisecond)
}
