package buf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGetHasRoom(t *testing.T) {
	for _, size := range []int{0, 1, 1023, 1024, 1025, 4096, 4097, 16384, 65536, 65537, 262144, 262145, 1 << 20} {
		b := Get(size)
		assert.Empty(t, b.B, "size %d", size)
		assert.GreaterOrEqual(t, cap(b.B), size)
		b.Free()
	}
}

func TestClassesAgree(t *testing.T) {
	for size := 1; size <= MaxPooled; size += 97 {
		c := classFor(size)
		require.Less(t, c, classes, "size %d", size)
		room := 1 << (minBits + c)
		require.GreaterOrEqual(t, room, size)
		require.Equal(t, c, classOf(room), "a class's own buffer goes back to it")
		if c > 0 {
			require.Greater(t, size, 1<<(minBits+c-1), "size %d fits a smaller class", size)
		}
	}
}

func TestOddCapacitiesGoToAClassThatFits(t *testing.T) {
	f := func(capacity, want int) {
		t.Helper()
		assert.Equal(t, want, classOf(capacity), "capacity %d", capacity)
	}
	f(0, -1)
	f(1023, -1)
	f(1024, 0)
	f(4095, 1)
	f(4096, 2)
	f(300_000, classes-1)
}

func TestGrowKeepsBytes(t *testing.T) {
	b := Get(10)
	b.B = append(b.B, "hello"...)
	require.Same(t, b, b.Grow(8), "there is room already")
	g := b.Grow(100_000)
	assert.Equal(t, "hello", string(g.B))
	assert.GreaterOrEqual(t, cap(g.B)-len(g.B), 100_000)
	g.Free()
	(*Buffer)(nil).Free()
}

func TestGetFreeDoesNotAllocate(t *testing.T) {
	if raceBuild {
		t.Log("sync.Pool drops at random in race builds: counted without -race")
		return
	}
	Get(5000).Free()
	assert.Zero(t, testing.AllocsPerRun(1000, func() { Get(5000).Free() }))
}
