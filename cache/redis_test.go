//go:build integration

package cache_test

// With a real Redis: it is found at, and everything that can be wrong with it is a
// miss.

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/cache/cachetest"
	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/internal/testredis"
)

func open(t testing.TB, url string) *redisx.Client {
	t.Helper()
	c, err := redisx.Open(redisx.Options{
		URL: secret.New(url), Timeout: cache.SharedTimeout, ConnectTimeout: time.Second, Prefix: "test", Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return c
}

func share(t *testing.T, url string) *cache.Shared {
	t.Helper()
	s := cache.NewShared(open(t, url), 4<<20, nil)
	t.Cleanup(s.Close)
	return s
}

// replica is a cache of its own that shares.
func replica(t *testing.T, url string) *cache.Cache {
	t.Helper()
	c, err := cache.New(64 << 20)
	require.NoError(t, err)
	c.Share(open(t, url))
	t.Cleanup(c.Close)
	return c
}

func TestSharedConforms(t *testing.T) {
	r := testredis.Start(t)
	n := 0
	cachetest.Run(t, func(t *testing.T) cachetest.Store {
		n++
		return share(t, fmt.Sprintf("%s/%d", r.URL(), n))
	})
}

func TestReplicas(t *testing.T) {
	r := testredis.Start(t)
	a, b := replica(t, r.URL()), replica(t, r.URL())
	find := func(c *cache.Cache, k cache.Key) bool { return c.Get(&k, time.Now()) != nil }
	now := time.Now().Add(-time.Minute)
	for n := range 4 {
		answer := cachetest.Answer(cachetest.Key([]string{"acme", "other"}[n%2], n), []byte("x"), now, time.Hour)
		answer.Tenant = []string{"acme", "other"}[n%2]
		a.Put(answer, time.Now())
		k := answer.Key
		require.Eventually(t, func() bool { return find(b, k) }, 20*time.Second, time.Millisecond)
	}
	_, err := a.Purge(cache.Selection{Tenant: "acme"}, time.Now())
	require.NoError(t, err)
	acme, other := cachetest.Key("acme", 0), cachetest.Key("other", 1)
	require.False(t, find(a, acme), "neither in memory nor in Redis")
	require.Eventually(t, func() bool { return !find(b, acme) }, 20*time.Second, 10*time.Millisecond)
	assert.True(t, find(a, other))
	assert.True(t, find(b, other))
	late := replica(t, r.URL()) // one that starts later hears of it, too
	require.Eventually(t, func() bool { return !find(late, acme) && find(late, other) }, 20*time.Second, 10*time.Millisecond)
}

// Values that are not what this router wrote for this key.
func TestForeignValues(t *testing.T) {
	r := testredis.Start(t)
	s, raw := share(t, r.URL()), open(t, r.URL())
	t.Cleanup(raw.Close)
	now := time.Now()
	k := cachetest.Key("acme", 1)
	name := raw.Key("answer:" + hex.EncodeToString(k.Digest[:]))
	good := cache.Encode(nil, cachetest.Answer(k, bytes.Repeat([]byte("x"), 5000), now, time.Hour))
	f := func(value []byte, found bool) {
		t.Helper()
		require.NoError(t, raw.Set(context.Background(), name, value, time.Minute))
		a := s.Get(&k, now)
		if a == nil && found { // a machine that is busy for 5 ms
			require.Eventually(t, func() bool { a = s.Get(&k, now); return a != nil }, 10*time.Second, time.Millisecond)
		}
		assert.Equal(t, found, a != nil)
	}
	f(good, true)
	f(good[:len(good)-1], false)
	f([]byte{}, false)
	f([]byte("hello"), false)
	f(append([]byte("hfc0"), good[4:]...), false)
	f(cache.Encode(nil, cachetest.Answer(cachetest.Key("other", 1), []byte("x"), now, time.Hour)), false)
	f(cache.Encode(nil, cachetest.Answer(cachetest.Key("acme", 2), []byte("x"), now, time.Hour)), false)
	f(cache.Encode(nil, cachetest.Answer(k, []byte("x"), now.Add(-2*time.Hour), time.Hour)), false)
	f(cache.Encode(nil, cachetest.Answer(k, []byte("x"), now.Add(time.Hour), time.Hour)), false)
	f(good, true)
	require.NoError(t, raw.Del(context.Background(), name))
	_, err := raw.Append(context.Background(), name, "no value", 1, time.Minute)
	require.NoError(t, err)
	assert.Nil(t, s.Get(&k, now))
}

// One that is away, or never answers, costs a request no more than 5 ms, and soon
// nothing.
func TestSharedWithoutRedis(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	gone := testredis.Start(t)
	gone.Kill()
	full := testredis.Start(t, "--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
	for _, url := range []string{"redis://" + silent.Addr().String(), gone.URL(), full.URL()} {
		s := share(t, url)
		now := time.Now()
		fast := 0
		for n := range 200 {
			k := cachetest.Key("acme", n)
			began := time.Now()
			assert.Nil(t, s.Get(&k, now))
			took := time.Since(began)
			assert.Less(t, took, 10*time.Second, url) // generous: the machine may be busy
			if took < 7*time.Millisecond {
				fast++
			}
			s.Put(cachetest.Answer(k, make([]byte, 100<<10), now, time.Hour), now)
		}
		assert.Greater(t, fast, 50, url)
	}
}

// BenchmarkShared is what a hit at another replica's answer takes, of 4 KiB.
func BenchmarkShared(b *testing.B) {
	s := cache.NewShared(open(b, testredis.Start(b).URL()), 4<<20, nil)
	b.Cleanup(s.Close)
	k := cachetest.Key("acme", 1)
	s.Put(cachetest.Answer(k, bytes.Repeat([]byte("words of an answer, "), 200), time.Now(), time.Hour), time.Now())
	require.Eventually(b, func() bool { return s.Get(&k, time.Now()) != nil }, 20*time.Second, time.Millisecond)
	var took []time.Duration
	late := 0
	for b.Loop() {
		began := time.Now()
		if s.Get(&k, began) == nil {
			late++ // than 5 ms: the machine is busy
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(late)/float64(len(took)), "late/op")
}
