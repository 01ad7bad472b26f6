package cache

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMemory(t testing.TB, limit int64) *Memory {
	t.Helper()
	m, err := NewMemory(limit)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

func keyNumber(n int) Key {
	k := Key{Scope: NewScope(ByTenant, "acme", "")}
	binary.BigEndian.PutUint64(k.Digest[8:], uint64(n))
	return k
}

func answerOf(k Key, size int, now time.Time, lifetime time.Duration) *Answer {
	return &Answer{Key: k, Tenant: k.Scope.tenant, Body: make([]byte, size), Asked: now, Stored: now, Expires: now.Add(lifetime)}
}

func TestMemoryGetAfterPut(t *testing.T) {
	m := newMemory(t, 64<<20)
	now := time.Now()
	for n := range 5000 {
		k := keyNumber(n)
		require.Nil(t, m.Get(&k, now))
		a := answerOf(k, n%3000, now, time.Minute)
		m.Put(a, now)
		require.Same(t, a, m.Get(&k, now), "at once, %d", n)
	}
	m.main.Wait()
	for n := range 5000 {
		k := keyNumber(n)
		require.NotNil(t, m.Get(&k, now), "%d: there is room for all", n)
	}
	assert.EqualValues(t, 5000, m.answers.Load())
}

// With a hash that is the same for all keys, only the last one is there, and never
// in the place of another.
func TestMemoryCollisions(t *testing.T) {
	m := newMemory(t, 16<<20)
	m.place = func(*Digest) uint64 { return 42 }
	now := time.Now()
	for n := range 1000 {
		k := keyNumber(n)
		m.Put(answerOf(k, 100, now, time.Minute), now)
		if n%100 == 0 {
			m.main.Wait()
		}
		for _, other := range []int{n, n - 1, n + 1, 0} {
			k := keyNumber(other)
			if a := m.Get(&k, now); a != nil {
				require.Equal(t, k, a.Key)
			}
		}
	}
	// The same digest in another scope is another key.
	k := keyNumber(999)
	require.NotNil(t, m.Get(&k, now))
	k.Scope = NewScope(ByTenant, "other", "")
	require.Nil(t, m.Get(&k, now))
	k.Scope = NewScope(ByModel, "", "")
	require.Nil(t, m.Get(&k, now))
}

func TestMemoryExpires(t *testing.T) {
	m := newMemory(t, 16<<20)
	now := time.Now()
	k := keyNumber(1)
	m.Put(answerOf(k, 100, now, time.Minute), now)
	assert.NotNil(t, m.Get(&k, now.Add(time.Minute-1)))
	assert.Nil(t, m.Get(&k, now.Add(time.Minute)))
	assert.NotNil(t, m.Get(&k, now.Add(-time.Hour)), "a clock that was set back")
	old := keyNumber(2)
	m.Put(answerOf(old, 100, now, 0), now)
	assert.Nil(t, m.Get(&old, now))
	m.Put(answerOf(old, 100, now, -time.Minute), now)
	assert.Nil(t, m.Get(&old, now))
	a := answerOf(k, 1, now, time.Minute)
	assert.Zero(t, a.Age(now.Add(-time.Minute)))
}

// Whatever is put in, and by how many at once, the bytes counted stay within the
// bound; and after all of it the count is true.
func TestMemoryBound(t *testing.T) {
	const limit = 4 << 20
	m := newMemory(t, limit)
	stop := make(chan struct{})
	var watch, work sync.WaitGroup
	watch.Go(func() {
		for {
			if used := m.used.Load(); !assert.LessOrEqual(t, used, int64(limit+4*(256<<10))) { // a reserve under way
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Microsecond):
			}
		}
	})
	var kept [4]int
	for worker := range 4 {
		work.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 1))
			for range 5000 {
				now := time.Now()
				k := keyNumber(r.IntN(3000))
				if a := m.Get(&k, now); a != nil && a.Key == k {
					kept[worker]++
					continue
				}
				m.Put(answerOf(k, r.IntN(300<<10)>>r.IntN(12), now, time.Minute), now)
			}
		})
	}
	work.Wait()
	close(stop)
	watch.Wait()
	assert.Positive(t, kept[0]+kept[1]+kept[2]+kept[3])
	m.main.Wait()
	sum := int64(0)
	seen := map[*Answer]bool{}
	note := func(a *Answer) {
		if a != nil && !seen[a] {
			seen[a] = true
			sum += a.size()
		}
	}
	for i := range m.front {
		note(m.front[i].Load())
	}
	m.main.IterValues(func(a *Answer) bool { note(a); return false })
	assert.Equal(t, sum, m.used.Load())
	assert.EqualValues(t, len(seen), m.answers.Load())
	assert.LessOrEqual(t, sum, int64(limit))
	m.SetLimit(1 << 20)
	assert.LessOrEqual(t, m.used.Load(), int64(1<<20))
	assert.Positive(t, m.Delete(func(*Answer) bool { return true }))
	m.main.Wait()
	assert.Zero(t, m.used.Load())
	assert.Zero(t, m.answers.Load())
}

// Of answers put one behind the other under one key one stays, and ristretto counts
// what it has: else its bytes would creep away from the bound.
func TestMemoryPutTwice(t *testing.T) {
	m := newMemory(t, 64<<20)
	now := time.Now()
	const n = 500
	counted := func() {
		t.Helper()
		m.main.Wait()
		var sum int64
		m.main.IterValues(func(a *Answer) bool { sum += a.size(); return false })
		require.Equal(t, sum, m.limit.Load()/shares*mainShare-m.main.RemainingCost())
	}
	put := func(i, size int) *Answer {
		a := answerOf(keyNumber(i), size, now, time.Minute)
		m.Put(a, now)
		return a
	}
	for i := range n {
		put(i, 10_000)
		put(i, 100)
		last := put(i, 30_000)
		require.True(t, last == m.Get(&last.Key, now), "%d, at once", i)
		m.main.Wait()
		_, ok := m.main.Get(m.place(&last.Key.Digest))
		require.True(t, ok, "%d", i)
	}
	counted()
	for i := range n {
		last := put(i, 20_000)
		m.main.Wait()
		got, _ := m.main.Get(m.place(&last.Key.Digest))
		require.True(t, last == got, "%d, where the one before had been taken in", i)
	}
	counted()
}

func TestMemoryTooLarge(t *testing.T) {
	m := newMemory(t, 1<<20)
	now := time.Now()
	k := keyNumber(1)
	m.Put(answerOf(k, 64<<10, now, time.Minute), now)
	assert.Nil(t, m.Get(&k, now))
	assert.EqualValues(t, 1, m.refused.Load())
	assert.Zero(t, m.used.Load())
}

func TestMemoryGetAllocs(t *testing.T) {
	m := newMemory(t, 16<<20)
	now := time.Now()
	k, other := keyNumber(1), keyNumber(2)
	m.Put(answerOf(k, 100, now, time.Minute), now)
	m.main.Wait()
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		if m.Get(&k, now) == nil || m.Get(&other, now) != nil {
			t.Fatal("wrong")
		}
	}))
}

// Keys that share their first bytes, as many as one likes, are found as fast as
// others: the tables go by a hash that nobody outside knows.
func TestMemoryCraftedKeys(t *testing.T) {
	const n = 100_000
	now := time.Now()
	spread := func(of func(i int) Key) map[uint64]int {
		m := newMemory(t, 1<<20)
		places := make(map[uint64]int, n)
		for i := range n {
			k := of(i)
			places[m.place(&k.Digest)]++
		}
		return places
	}
	crafted := spread(func(i int) Key { // equal but for the last bytes
		k := keyNumber(0)
		binary.BigEndian.PutUint64(k.Digest[24:], uint64(i))
		return k
	})
	assert.Len(t, crafted, n, "no two in one place")
	slots := map[uint64]int{}
	for place := range crafted {
		slots[place%256]++
	}
	for slot, count := range slots {
		assert.InDelta(t, n/256, count, n/256/2, "shard %d", slot)
	}
	_ = now
}

func TestPurge(t *testing.T) {
	c, err := New(16 << 20)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	now := time.Now()
	fill := func() {
		for n := range 8 {
			a := answerOf(keyNumber(n), 100, now, time.Minute)
			a.Tenant, a.Model = fmt.Sprint("t", n%2), fmt.Sprint("m", n/4)
			c.Put(a, now)
		}
	}
	f := func(s Selection, deleted int) {
		t.Helper()
		now = now.Add(time.Second)
		fill()
		now = now.Add(time.Second)
		got, err := c.Purge(s, now)
		assert.NoError(t, err)
		assert.Equal(t, deleted, got)
		c.memory.main.Wait()
		assert.EqualValues(t, 8-deleted, c.Stats().Answers)
		fill() // asked for before the purge: those that it was about are not kept
		assert.EqualValues(t, 8-deleted, c.Stats().Answers)
	}
	f(Selection{Tenant: "t0"}, 4)
	f(Selection{Model: "m1"}, 4)
	f(Selection{Tenant: "t0", Model: "m1"}, 2)
	f(Selection{Digest: keyNumber(3).Digest}, 1)
	f(Selection{Tenant: "none"}, 0)
	f(Selection{}, 8)
	for range 1000 {
		_, _ = c.Purge(Selection{Tenant: "none"}, now)
	}
	assert.LessOrEqual(t, len(c.purges.list), maxPurges)
}

func TestRecording(t *testing.T) {
	c, err := New(16 << 20)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	now := time.Now()
	f := func(limit int64, pieces, size int, kept bool) {
		t.Helper()
		r := c.Record(limit, true, now)
		for range pieces {
			r.Append(make([]byte, size))
			r.Beat(now.Add(time.Second))
		}
		k := keyNumber(rand.Int())
		a := answerOf(k, 0, now, time.Minute)
		r.Keep(a, now)
		got := c.Get(&k, now)
		require.Equal(t, kept, got != nil)
		if kept {
			assert.Len(t, got.Body, pieces*size)
			assert.Len(t, got.Pace, min(pieces, maxBeats))
			assert.LessOrEqual(t, cap(got.Body), len(got.Body)+len(got.Body)/4+8)
		}
		r.Drop()
		_, _ = c.Purge(Selection{}, now)
		c.memory.main.Wait()
		require.Zero(t, c.Stats().Bytes)
		now = now.Add(time.Second)
	}
	f(1<<20, 0, 0, true)
	f(1<<20, 1, 100, true)
	f(1<<20, 10_000, 10, true)
	f(1000, 10, 100, true)
	f(1000, 11, 100, false)
	f(1000, 1, 1001, false)
	f(1<<30, 3, 400<<10, false) // larger than the largest that there is room for
	var none *Recording
	none.Append([]byte("x"))
	none.Beat(now)
	none.Keep(nil, now)
	none.Drop()
	assert.Zero(t, none.Len())

	// Recordings that nobody ends use up what there is, and no more.
	var open []*Recording
	for range 1000 {
		r := c.Record(1<<20, false, now)
		r.Append(make([]byte, 100<<10))
		open = append(open, r)
	}
	assert.LessOrEqual(t, c.Stats().Bytes, c.Stats().Limit)
	for _, r := range open {
		r.Drop()
	}
	assert.Zero(t, c.Stats().Bytes)
}

// An answer that somebody reads is whole to its end, whatever takes its place.
func TestMemoryEvictedWhileRead(t *testing.T) {
	m := newMemory(t, 1<<20)
	now := time.Now()
	k := keyNumber(0)
	a := answerOf(k, 10_000, now, time.Minute)
	for i := range a.Body {
		a.Body[i] = byte(i)
	}
	m.Put(a, now)
	held := m.Get(&k, now)
	require.NotNil(t, held)
	for n := range 1000 { // many times what there is room for
		m.Put(answerOf(keyNumber(n+1), 10_000, now, time.Minute), now)
	}
	m.Delete(func(*Answer) bool { return true })
	m.main.Wait()
	require.Nil(t, m.Get(&k, now))
	require.Zero(t, m.used.Load())
	for i, b := range held.Body {
		require.Equal(t, byte(i), b)
	}
}
