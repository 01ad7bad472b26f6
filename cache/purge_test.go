//go:build integration

package cache

// Purges over replicas with a real Redis, whose clocks stand where they like: no time
// passes in them, so whatever waited for some would wait for ever.

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/internal/testredis"
)

// clocked is a replica with a clock of its own.
type clocked struct {
	*Cache
	t   *testing.T
	now time.Time
}

func newClocked(t *testing.T, url string, ahead time.Duration) *clocked {
	t.Helper()
	c, err := New(64 << 20)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	r := &clocked{Cache: c, t: t, now: time.Now().Add(ahead)}
	c.purges.now = func() time.Time { return r.now }
	client, err := redisx.Open(redisx.Options{
		URL: secret.New(url), Timeout: SharedTimeout, ConnectTimeout: time.Second, Prefix: "test", Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	c.Share(client)
	return r
}

// gives puts a new answer to the n-th question, asked for a moment after all before.
func (r *clocked) gives(n int, body string) {
	r.now = r.now.Add(time.Nanosecond)
	a := answerOf(keyNumber(n), 0, r.now, time.Hour)
	a.Tenant, a.Model, a.Body = "acme", "m", []byte(body)
	r.Put(a, r.now)
}

// knows is the answer to the n-th question; "" for none.
func (r *clocked) knows(n int) string {
	k := keyNumber(n)
	if a := r.Get(&k, r.now); a != nil {
		return string(a.Body)
	}
	return ""
}

func (r *clocked) awaits(n int, body string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.knows(n) == body }, 20*time.Second, time.Millisecond, "%q, not %q", body, r.knows(n))
}

// heard waits until r has heard of as many purges.
func (r *clocked) heard(count int) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		r.purges.mu.Lock()
		defer r.purges.mu.Unlock()
		return len(r.purges.list) == count
	}, 20*time.Second, time.Millisecond)
}

func TestPurgeOverReplicas(t *testing.T) {
	t.Parallel()
	f := func(t *testing.T, ahead time.Duration) {
		url := testredis.Start(t).URL()
		a, b := newClocked(t, url, 0), newClocked(t, url, ahead)
		a.gives(1, "first")
		b.awaits(1, "first")
		for round := 1; round < 3; round++ {
			purger, other := a, b
			if round%2 == 0 {
				purger, other = b, a
			}
			_, err := purger.Purge(Selection{Model: "m"}, purger.now)
			require.NoError(t, err)
			assert.Empty(t, purger.knows(1), "neither in memory nor in Redis")
			purger.gives(1, fmt.Sprint("by the purger ", round)) // at once, whether the other one has heard or not
			purger.gives(2, fmt.Sprint("by the purger ", round))
			other.heard(round)
			other.awaits(1, fmt.Sprint("by the purger ", round))
			other.awaits(2, fmt.Sprint("by the purger ", round))
			other.gives(3, fmt.Sprint("by the other ", round))
			purger.awaits(3, fmt.Sprint("by the other ", round))
		}
		late := newClocked(t, url, 0)
		late.awaits(3, "by the other 2")
		late.heard(2)
		late.awaits(1, "by the purger 2")
	}
	for _, ahead := range []time.Duration{0, -4 * time.Second, 4 * time.Second} {
		t.Run(ahead.String(), func(t *testing.T) { t.Parallel(); f(t, ahead) })
	}
}

// What a replica asked for before it heard of a purge is found by nobody who has.
func TestPurgeNotHeard(t *testing.T) {
	redis := testredis.Start(t)
	a, b := newClocked(t, redis.URL(), 0), newClocked(t, redis.URL(), 0)
	_, err := a.Purge(Selection{}, a.now)
	require.NoError(t, err)
	b.heard(1)
	b.purges.relink() // as if it had not
	b.gives(1, "too old")
	b.gives(2, "too old")
	raw := a.shared.Load().redis
	require.Eventually(t, func() bool {
		k := keyNumber(2)
		value, err := raw.Get(context.Background(), a.shared.Load().name(&k.Digest))
		return err == nil && value != nil
	}, 20*time.Second, time.Millisecond)
	for range 50 {
		assert.Empty(t, a.knows(1))
		assert.Empty(t, a.knows(2))
	}
	a.gives(1, "new")
	assert.Equal(t, "new", a.knows(1))
}

// A purge that Redis was not there for is told when it is back; until then nothing that
// lies there is believed by whoever knows of it.
func TestPurgeToldLater(t *testing.T) {
	t.Parallel()
	redis := testredis.Start(t)
	a, b := newClocked(t, redis.URL(), 0), newClocked(t, redis.URL(), 0)
	a.gives(1, "old")
	b.awaits(1, "old")
	redis.Stop()
	_, err := a.Purge(Selection{Tenant: "acme"}, a.now)
	assert.Error(t, err)
	assert.Empty(t, a.knows(1))
	redis.Continue()
	require.Eventually(t, func() bool { return b.knows(1) == "" }, 20*time.Second, time.Millisecond)
	assert.Empty(t, a.knows(1))
	a.gives(1, "new")
	b.awaits(1, "new")
}

// Who was away for more purges than the log keeps takes those that are lost for such
// as are about everything.
func TestPurgesLost(t *testing.T) {
	redis := testredis.Start(t)
	a := newClocked(t, redis.URL(), 0)
	a.gives(1, "old")
	a.gives(2, "old")
	_, err := a.Purge(Selection{Digest: keyNumber(1).Digest}, a.now)
	require.NoError(t, err)
	for range purgesKept {
		_, err := a.shared.Load().Purge(Selection{Tenant: "none"})
		require.NoError(t, err)
	}
	late := newClocked(t, redis.URL(), 0)
	late.heard(purgesKept)
	for range 20 {
		assert.Empty(t, late.knows(1))
		assert.Empty(t, late.knows(2))
	}
}
