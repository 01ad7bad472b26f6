package pressure

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestWatchKeepsUp: a container that fills from one moment to the next is seen to,
// however small it is, before it is full.
func TestWatchKeepsUp(t *testing.T) {
	const mib = 1 << 20
	f := func(limit, idle, perSecond uint64, level Level, wantBelow float64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex // guards the variables below
			var filling time.Time
			seen, looks := 0., 0
			use := func() Use {
				u := Use{memoryUse, idle, limit}
				if now := time.Now(); !filling.IsZero() && now.After(filling) {
					u.Used += uint64(now.Sub(filling).Seconds() * float64(perSecond))
				}
				return u
			}
			w := Start(func(uint64) []Use {
				mu.Lock()
				defer mu.Unlock()
				looks++
				return []Use{use()}
			}, func(_, now State) {
				mu.Lock()
				defer mu.Unlock()
				if now.Level >= level && seen == 0 {
					seen = now.Worst().Share()
				}
			})
			defer w.Close()
			time.Sleep(10*time.Second + time.Millisecond)
			mu.Lock()
			atRest := looks
			filling = time.Now()
			mu.Unlock()
			time.Sleep(time.Duration(float64(limit-idle) / float64(perSecond) * float64(time.Second)))
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			assert.Greater(t, seen, 0.9, "of %d MiB, %d MiB a second", limit/mib, perSecond/mib)
			assert.Less(t, seen, wantBelow, "of %d MiB, %d MiB a second", limit/mib, perSecond/mib)
			assert.LessOrEqual(t, atRest, 50*10, "looks while there is nothing to do")
		})
	}
	f(64*mib, 20*mib, 100*mib, Shed, 0.97)
	f(64*mib, 20*mib, 300*mib, Shed, 0.98)
	f(128*mib, 20*mib, 400*mib, Shed, 0.98)
	f(512*mib, 20*mib, 800*mib, Shed, 0.98)
	f(512*mib, 20*mib, 2000*mib, Shed, 1)
	f(4096*mib, 20*mib, 1000*mib, Shed, 0.96)
	f(1<<40, 20*mib, 1<<35, Shed, 0.96)
}

// TestTake: between two looks no more is given than was left, and a look is made at
// once where that is too little.
func TestTake(t *testing.T) {
	assert.True(t, (*Watch)(nil).Take(1<<60))
	synctest.Test(t, func(t *testing.T) {
		const most = 1 << 40
		var used atomic.Uint64
		used.Store(most / 2)
		w := Start(func(limit uint64) []Use {
			if limit == 0 {
				return []Use{{"descriptors", 1, 2}}
			}
			return []Use{{"descriptors", 1, 2}, {memoryUse, used.Load(), limit}}
		}, func(_, _ State) {})
		defer w.Close()
		assert.True(t, w.Take(most*1000), "before the first look")
		time.Sleep(every)
		synctest.Wait()
		assert.True(t, w.Take(most*1000), "without a limit")
		w.Limit(most, false)
		synctest.Wait()
		assert.True(t, w.Take(most/5))
		assert.True(t, w.Take(most/5))
		assert.False(t, w.Take(most/5), "0.92 and not 0.5 + 0.6")
		synctest.Wait()
		assert.True(t, w.Take(most/5*2), "it was looked, and was not so bad")
		time.Sleep(every)
		synctest.Wait()
		used.Store(most)
		time.Sleep(every)
		synctest.Wait()
		assert.False(t, w.Take(1))
		w.Limit(most, true)
		synctest.Wait()
		assert.True(t, w.Take(most))
	})
}
