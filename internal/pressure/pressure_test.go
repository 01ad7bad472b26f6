package pressure

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLadder: each share is in use for a second; a level rises at once, and falls
// a step when there was slack for two seconds.
func TestLadder(t *testing.T) {
	f := func(want string, shares ...float64) {
		t.Helper()
		var l Ladder
		now := time.Now()
		got := ""
		for _, s := range shares {
			now = now.Add(time.Second)
			got += l.Step(s, now).String()[:1]
		}
		assert.Equal(t, want, got)
	}
	f("ccc", 0, 0.5, 0.849)
	f("tlsr", 0.85, 0.92, 0.95, 0.98)
	f("r", 5)
	f("r", 0.99)
	f("tttt", 0.86, 0.84, 0.81, 0.80)
	f("tttc", 0.86, 0.79, 0.79, 0.79)
	f("ttttttc", 0.86, 0.79, 0.79, 0.81, 0.79, 0.79, 0.79) // not for long enough at first
	f("rrrssllttcc", 0.99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	f("sss", 0.96, 0.93, 0.91)
	f("sssss"+"l", 0.96, 0.89, 0.91, 0.89, 0.89, 0.89)
	f("ssslr", 0.96, 0.89, 0.89, 0.89, 0.99)
}

func TestWatchTellsOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used, told atomic.Int64
		var last atomic.Pointer[State]
		w := Start(func(limit uint64) []Use {
			return []Use{{"descriptors", 1, 100}, {"memory", uint64(used.Load()), limit}}
		}, func(_, now State) { told.Add(1); last.Store(&now) })
		defer w.Close()
		w.Limit(100, false)
		synctest.Wait()
		assert.Zero(t, told.Load())
		used.Store(96)
		time.Sleep(time.Second)
		assert.Equal(t, Shed, w.State().Level)
		assert.EqualValues(t, 1, told.Load(), "once for a change")
		s := last.Load()
		assert.Equal(t, Use{"memory", 96, 100}, s.Worst())
		w.Limit(200, false)
		time.Sleep(10 * time.Second)
		assert.Equal(t, Calm, w.State().Level)
		assert.EqualValues(t, 4, told.Load(), "step by step")
		used.Store(1000)
		time.Sleep(time.Second)
		s = last.Load()
		assert.Equal(t, Refuse, s.Level)
		assert.EqualValues(t, 1000-0.92*200, s.Excess())
		before := told.Load()
		time.Sleep(time.Second)
		assert.Greater(t, told.Load(), before+10, "at each look while nothing is left")
		w.Limit(200, true)
		synctest.Wait()
		assert.Equal(t, State{}, w.State(), "off")
		assert.Equal(t, Calm, last.Load().Level)
	})
}

func TestSystem(t *testing.T) {
	uses := System(1 << 40)
	require.NotEmpty(t, uses)
	assert.Equal(t, "memory", uses[0].Resource)
	assert.Greater(t, uses[0].Used, uint64(1<<20))
	for _, u := range uses {
		assert.Positive(t, u.Share(), u.Resource)
		assert.Less(t, u.Share(), 1., u.Resource)
	}
	assert.Greater(t, System(1 << 20)[0].Share(), 1.)
}
