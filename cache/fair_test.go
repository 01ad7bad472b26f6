package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keyOf is one of a tenant's keys.
func keyOf(tenant string, n int) Key {
	k := Key{Scope: NewScope(ByTenant, tenant, "")}
	copy(k.Digest[:], tenant)
	binary.BigEndian.PutUint64(k.Digest[8:], uint64(n))
	return k
}

// TestFloodLeavesOthers: tenants that ask for ever new things, each of them twice,
// do not take from another one what that has in the cache, nor keep it from having
// more.
func TestFloodLeavesOthers(t *testing.T) {
	f := func(polite, more int, flooders ...string) {
		t.Helper()
		m := newMemory(t, 8<<20)
		const size = 10 << 10
		now := time.Now()
		keep := func(tenant string, from, to int) {
			for i := from; i < to; i++ {
				k := keyOf(tenant, i)
				m.Put(answerOf(k, size, now, time.Hour), now)
				m.Get(&k, now)
				if i%50 == 0 {
					m.main.Wait()
				}
			}
		}
		flood := func(from, to int) {
			for i := from; i < to; i += 100 {
				for _, tenant := range flooders {
					keep(tenant, i, i+100)
				}
			}
		}
		keep("polite", 0, polite)
		flood(0, 5_000)
		keep("polite", polite, polite+more)
		flood(5_000, 10_000)
		m.main.Wait()
		found := 0
		for i := range polite + more {
			if k := keyOf("polite", i); m.Get(&k, now) != nil {
				found++
			}
		}
		assert.Equal(t, polite+more, found)
	}
	f(100, 0, "flooder")
	f(100, 50, "flooder")
	f(50, 50, "one", "two", "three")
}

// TestHoldersAgree: whatever happens, what tenants are said to have is what is there,
// and who has more than its share is known.
func TestHoldersAgree(t *testing.T) {
	m := newMemory(t, 4<<20)
	now := time.Now()
	tenants := []string{"a", "b", "c", "d", "e"}
	agree := func() {
		t.Helper()
		hs := &m.holders
		hs.mu.Lock()
		defer hs.mu.Unlock()
		all, large := int64(0), 0
		for name, h := range hs.of {
			sum := int64(0)
			for a := h.oldest; a != nil; a = a.holding.newer {
				require.Equal(t, name, a.Tenant)
				sum += a.size()
			}
			require.Equal(t, sum, h.bytes)
			all += sum
			if hs.isLarge(h) {
				large++
				require.Contains(t, hs.large, h)
			}
		}
		require.Equal(t, all, hs.bytes)
		require.Len(t, hs.large, large)
	}
	for i := range 3000 {
		tenant := tenants[min(rand.IntN(8), len(tenants)-1)]
		k := keyOf(tenant, rand.IntN(400))
		switch rand.IntN(20) {
		case 0:
			m.SetLimit(int64(1+rand.IntN(8)) << 20)
		case 1:
			m.holders.setShare(rand.Float64())
		case 2:
			m.Delete(func(a *Answer) bool { return a.Tenant == tenant && a.Key.Digest[15]%4 == 0 })
		case 3, 4, 5, 6:
			m.Get(&k, now)
		default:
			m.Put(answerOf(k, rand.IntN(20<<10), now, time.Hour), now)
		}
		if i%20 == 0 {
			agree()
		}
	}
	m.Delete(func(*Answer) bool { return true })
	m.main.Wait()
	agree()
	assert.Eventually(t, func() bool { return m.used.Load() == 0 }, 10*time.Second, time.Millisecond)
	assert.Zero(t, m.holders.bytes)
	assert.Empty(t, m.holders.of)
}
