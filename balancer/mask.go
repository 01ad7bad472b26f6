package balancer

// Sets of backends.

import "math/bits"

// MaxBackends is how many backends a pool can have.
const MaxBackends = 256

// Mask is a set of backends of one pool, by index. A plain value: assignment
// copies it. Indexes run from 0 to MaxBackends-1; others panic, as with any array.
type Mask [MaxBackends / 64]uint64

// FirstN returns the set of the indexes below n; n above MaxBackends counts as
// MaxBackends.
func FirstN(n int) Mask {
	var m Mask
	for w := range m {
		switch {
		case n >= 64:
			m[w] = ^uint64(0)
		case n > 0:
			m[w] = 1<<uint(n) - 1
		}
		n -= 64
	}
	return m
}

// Set adds i.
func (m *Mask) Set(i int) { m[i/64] |= 1 << (uint(i) % 64) }

// Clear removes i.
func (m *Mask) Clear(i int) { m[i/64] &^= 1 << (uint(i) % 64) }

// Has reports whether i is in the set.
func (m Mask) Has(i int) bool { return m[i/64]&(1<<(uint(i)%64)) != 0 }

// Empty reports whether nothing is in the set.
func (m Mask) Empty() bool { return m == Mask{} }

// Count returns how many indexes are in the set.
func (m Mask) Count() int {
	n := 0
	for _, word := range m {
		n += bits.OnesCount64(word)
	}
	return n
}

// And returns what is in both sets.
func (m Mask) And(o Mask) Mask {
	for w := range m {
		m[w] &= o[w]
	}
	return m
}

// nth returns the index that has k others of the set below it; k is less than
// Count.
func (m Mask) nth(k int) int {
	for w, word := range m {
		n := bits.OnesCount64(word)
		if k >= n {
			k -= n
			continue
		}
		for ; k > 0; k-- {
			word &= word - 1
		}
		return w*64 + bits.TrailingZeros64(word)
	}
	panic("BUG: balancer: nth beyond Count")
}

// hash mixes the set into 64 bits. Not against an adversary: masks are ours.
func (m Mask) hash() uint64 {
	var h uint64
	for _, word := range m {
		h = mix(h ^ word)
	}
	return h
}
