//go:build long && !race

package cache

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A million keys that are made to look alike are found in at most twice the time
// that others take: both lie in one memory, and are looked up in turn.
func TestTimeOfCraftedKeys(t *testing.T) {
	const n, batch = 1_000_000, 1000
	m := newMemory(t, 4<<30)
	now := time.Now()
	crafted := func(i uint64) Key { // equal but for the last bytes
		k := keyNumber(0)
		binary.BigEndian.PutUint64(k.Digest[24:], i)
		return k
	}
	other := func(i uint64) (k Key) {
		k = keyNumber(1)
		for at := 8; at < len(k.Digest); at += 8 {
			binary.LittleEndian.PutUint64(k.Digest[at:], (i+uint64(at))*0x9e3779b97f4a7c15)
		}
		return k
	}
	kinds := []func(uint64) Key{crafted, other}
	for i := range uint64(n) {
		for _, of := range kinds {
			m.Put(answerOf(of(i), 0, now, time.Hour), now)
		}
		if i%10_000 == 0 {
			m.main.Wait() // it takes in so many at once, and no more
		}
	}
	m.main.Wait()
	require.Greater(t, m.answers.Load(), int64(2*n*9/10))
	var took [2][]time.Duration
	for range 2000 {
		for kind, of := range kinds {
			keys := make([]Key, batch)
			for i := range keys {
				keys[i] = of(rand.Uint64N(n))
			}
			began, found := time.Now(), 0
			for i := range keys {
				if m.Get(&keys[i], now) != nil {
					found++
				}
			}
			took[kind] = append(took[kind], time.Since(began)/batch)
			assert.Greater(t, found, batch*8/10)
		}
	}
	for kind := range took {
		slices.Sort(took[kind])
	}
	a, b := took[0][len(took[0])/2], took[1][len(took[1])/2]
	t.Logf("crafted %v, others %v", a, b)
	assert.LessOrEqual(t, a, 2*b)
}
