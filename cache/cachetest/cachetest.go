// Package cachetest is what every store of answers must do, as a test that any of
// them can be put through.
package cachetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/openai"
)

// Store is what keeps answers.
type Store interface {
	Get(k *cache.Key, now time.Time) *cache.Answer
	Put(a *cache.Answer, now time.Time)
}

// Run puts the stores that fresh makes through all of it.
func Run(t *testing.T, fresh func(t *testing.T) Store) {
	t.Run("whole", func(t *testing.T) { whole(t, fresh(t)) })
	t.Run("scopes", func(t *testing.T) { scopes(t, fresh(t)) })
	t.Run("one digest", func(t *testing.T) { oneDigest(t, fresh(t)) })
	t.Run("time", func(t *testing.T) { lifetimes(t, fresh(t)) })
	t.Run("many", func(t *testing.T) { many(t, fresh(t)) })
}

// Key is the n-th key of a tenant.
func Key(tenant string, n int) cache.Key {
	k := cache.Key{Scope: cache.NewScope(cache.ByTenant, tenant, "")}
	binary.BigEndian.PutUint64(k.Digest[20:], uint64(n))
	return k
}

// Answer is a good answer to k, with this body, asked for now.
func Answer(k cache.Key, body []byte, now time.Time, lifetime time.Duration) *cache.Answer {
	return &cache.Answer{
		Key: k, Op: helixflow.OpChatCompletions, Model: "m", Tenant: "acme", ContentType: "application/json", Body: body,
		Usage: helixflow.Usage{InputTokens: 7, CachedTokens: 2, OutputTokens: 3, ReasoningTokens: 1, Reported: true},
		Asked: now, Stored: now, Expires: now.Add(lifetime),
	}
}

// await gets what was put a moment ago.
func await(t *testing.T, s Store, k cache.Key) (a *cache.Answer) {
	t.Helper()
	require.Eventually(t, func() bool { a = s.Get(&k, time.Now()); return a != nil }, 10*time.Second, time.Millisecond)
	return a
}

func whole(t *testing.T, s Store) {
	for n, size := range []int{0, 1, 500, 5000, 300_000} {
		now := time.Now()
		body := bytes.Repeat([]byte("words "), size/6+1)[:size]
		put := Answer(Key("acme", n), body, now, time.Minute)
		if size == 5000 {
			put.Stream, put.ContentType = true, "text/event-stream"
			put.UsageChunk = openai.Span{Start: 100, End: 200}
			put.Pace = []cache.Beat{{Size: 50, After: time.Millisecond}, {Size: 5000, After: time.Second}}
		}
		k := put.Key
		require.Nil(t, s.Get(&k, now))
		s.Put(put, now)
		got := await(t, s, k)
		assert.Equal(t, put.Key, got.Key)
		assert.True(t, bytes.Equal(put.Body, got.Body), "size %d", size)
		assert.Equal(t, []any{put.Op, put.Model, put.Tenant, put.Stream, put.ContentType, put.UsageChunk, put.Pace, put.Usage},
			[]any{got.Op, got.Model, got.Tenant, got.Stream, got.ContentType, got.UsageChunk, got.Pace, got.Usage})
		assert.WithinDuration(t, put.Stored, got.Stored, 10*time.Millisecond)
		assert.WithinDuration(t, put.Expires, got.Expires, 10*time.Millisecond)
		assert.WithinDuration(t, put.Asked, got.Asked, 10*time.Millisecond)
	}
}

func scopes(t *testing.T, s Store) {
	now := time.Now()
	acme := Key("acme", 1)
	s.Put(Answer(acme, []byte("secret"), now, time.Minute), now)
	await(t, s, acme)
	other := Key("other", 1) // the same digest
	assert.Nil(t, s.Get(&other, now))
	for _, scope := range []cache.Scope{
		cache.NewScope(cache.ByKey, "acme", ""), cache.NewScope(cache.ByKey, "acme", "k"),
		cache.NewScope(cache.ByModel, "acme", ""), cache.NewScope(cache.ByAll, "acme", ""),
	} {
		k := cache.Key{Scope: scope, Digest: acme.Digest}
		assert.Nil(t, s.Get(&k, now), "%v", scope)
	}
	s.Put(Answer(other, []byte("other"), now, time.Minute), now)
	assert.Equal(t, "other", string(await(t, s, other).Body))
	if a := s.Get(&acme, now); a != nil {
		assert.Equal(t, "secret", string(a.Body))
	}
}

// oneDigest puts answers to questions that are the same but for what their keys have
// beside the digest.
func oneDigest(t *testing.T, s Store) {
	now := time.Now()
	keys := make([]cache.Key, 3)
	for n := range keys {
		keys[n] = Key("acme", 1)
		keys[n].Check = uint64(n)
		assert.Nil(t, s.Get(&keys[n], now))
		s.Put(Answer(keys[n], fmt.Append(nil, n), now, time.Minute), now)
		assert.Equal(t, fmt.Sprint(n), string(await(t, s, keys[n]).Body))
	}
	for n := range keys {
		if a := s.Get(&keys[n], now); a != nil {
			assert.Equal(t, fmt.Sprint(n), string(a.Body))
		}
	}
}

func lifetimes(t *testing.T, s Store) {
	now := time.Now()
	k := Key("acme", 1)
	s.Put(Answer(k, []byte("x"), now, time.Hour), now)
	await(t, s, k)
	assert.NotNil(t, s.Get(&k, now.Add(59*time.Minute)))
	assert.Nil(t, s.Get(&k, now.Add(time.Hour+time.Second)))
	over := Key("acme", 2)
	s.Put(Answer(over, []byte("x"), now.Add(-time.Hour), time.Minute), now)
	last := Key("acme", 3) // what was put before it is done with
	s.Put(Answer(last, []byte("x"), now, time.Hour), now)
	await(t, s, last)
	assert.Nil(t, s.Get(&over, now))
	assert.Nil(t, s.Get(&over, now.Add(-time.Hour-time.Minute)), "a clock that was set back finds nothing old")
}

func many(t *testing.T, s Store) {
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for n := range 200 {
				now := time.Now()
				k := Key(fmt.Sprint("t", worker%4), n)
				if a := s.Get(&k, now); a != nil {
					assert.Equal(t, fmt.Sprint(k), string(a.Body))
					continue
				}
				s.Put(Answer(k, fmt.Append(nil, k), now, time.Minute), now)
			}
		})
	}
	wait.Wait()
}
