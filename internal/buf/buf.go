// Package buf lends byte buffers by size class, powers of two, so that a request holds memory
// only while it needs it. It is the one pool of buffers in the program.
package buf

import (
	"math/bits"
	"sync"
)

const (
	minBits = 10 // 1 KiB
	maxBits = 18 // 256 KiB: nothing larger goes back
	classes = maxBits - minBits + 1
)

// MaxPooled is the largest capacity a pool keeps, in bytes.
const MaxPooled = 1 << maxBits

var pools [classes]sync.Pool

// Buffer is a byte buffer with one owner at a time. B may be appended to and
// replaced freely; Free takes whatever B is then.
type Buffer struct{ B []byte }

// Get lends a buffer with length 0 and room for at least size bytes.
func Get(size int) *Buffer {
	c := classFor(size)
	if c >= classes {
		return &Buffer{B: make([]byte, 0, size)}
	}
	if b, ok := pools[c].Get().(*Buffer); ok {
		return b
	}
	return &Buffer{B: make([]byte, 0, 1<<(minBits+c))}
}

// Free gives the buffer back. The caller must hold no slice of it any more:
// in race builds the bytes are overwritten. Freeing nil does nothing.
func (b *Buffer) Free() {
	if b == nil {
		return
	}
	poison(b.B[:cap(b.B)])
	c := classOf(cap(b.B))
	if c < 0 || cap(b.B) > MaxPooled {
		b.B = nil
		return
	}
	b.B = b.B[:0]
	pools[c].Put(b)
}

// Grow returns a buffer with room for at least extra more bytes than b holds,
// b's bytes first; b itself is freed if another one takes its place.
func (b *Buffer) Grow(extra int) *Buffer {
	if cap(b.B)-len(b.B) >= extra {
		return b
	}
	g := Get(max(len(b.B)+extra, 2*cap(b.B)))
	g.B = append(g.B, b.B...)
	b.Free()
	return g
}

// classFor is the smallest class whose buffers hold size bytes.
func classFor(size int) int {
	if size <= 1<<minBits {
		return 0
	}
	return bits.Len(uint(size-1)) - minBits
}

// classOf is the largest class whose buffers are no larger than capacity, or -1.
func classOf(capacity int) int {
	if capacity < 1<<minBits {
		return -1
	}
	return min(bits.Len(uint(capacity))-1-minBits, classes-1)
}
