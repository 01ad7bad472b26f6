package pressure

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPercentFor(t *testing.T) {
	const mib = 1 << 20
	f := func(live, held, want int64) {
		t.Helper()
		assert.InDelta(t, want, live*percentFor(live*mib, held*mib)/100, 2, "MiB of garbage beside %d MiB, %d of them held", live, held)
	}
	f(100, 0, 100)
	f(100, 50, 55)
	f(240, 224, 38)
	f(1040, 1024, 114)
	assert.EqualValues(t, 100, percentFor(0, 0))
	assert.Positive(t, percentFor(0, 1<<50), "what is said to be held may live no more")
}

// What is kept for long lowers GOGC, and is forgotten again when it is gone. What an
// operator set stays.
func TestGarbage(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	var g Garbage
	now := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	g.Beside(0)
	assert.Equal(t, 100, now())
	kept := make([]byte, 256<<20)
	runtime.GC()
	g.Beside(int64(len(kept)))
	assert.Less(t, now(), 30)
	debug.SetGCPercent(77)
	g.Beside(int64(len(kept)))
	assert.Equal(t, 77, now(), "while nothing changes it is let alone")
	runtime.KeepAlive(kept)
	kept = nil
	runtime.GC()
	g.Beside(0)
	assert.Equal(t, 100, now())
	t.Setenv("GOGC", "33")
	g.Beside(1 << 30)
	assert.Equal(t, 100, now())
}
