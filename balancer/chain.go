package balancer

// The hash chain of a prompt: what the prefix index knows it by.

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Blocks grow with their distance from the beginning, so that the cost of a huge
// prompt stays flat: 256 bytes up to 4 KiB, 1 KiB up to 64 KiB, 4 KiB up to
// MaxChainBytes, where the chain ends.
const (
	MaxChainBytes = 512 << 10

	smallBlock, smallEnd   = 256, 4 << 10
	mediumBlock, mediumEnd = 1 << 10, 64 << 10
	largeBlock             = 4 << 10

	smallBlocks  = smallEnd / smallBlock
	mediumBlocks = smallBlocks + (mediumEnd-smallEnd)/mediumBlock
	maxBlocks    = mediumBlocks + (MaxChainBytes-mediumEnd)/largeBlock
)

// Chain is a prompt cut into blocks, each with a hash of itself and all before
// it: two prompts share their first blocks exactly when they share these hashes.
// It is filled by Reset, then Write and EndSpan for each part of the prompt; what
// does not fill a block at the end is not in it. A Chain takes 1.7 KB, allocates
// nothing and keeps nothing of what it was given. Not for concurrent use.
type Chain struct {
	state  uint64 // the last block's hash; before the first, the seed
	key    uint64 // secret as the seed is
	blocks int
	filled int   // bytes of the block that is open
	span   int64 // bytes of the span that is open
	bytes  int64
	open   xxhash.Digest // the open block, of a block that comes in pieces
	hashes [maxBlocks]uint64
}

// Reset makes the chain that of an empty prompt. Chains of different seeds share
// nothing: whoever is not to profit from another's prompts gets a seed of its own
// (see Salt). The seed is secret, so that hashes tell nothing of prompts and
// nobody can choose prompts that collide.
func (c *Chain) Reset(seed uint64) {
	c.state, c.key = seed, mix(^seed)
	c.blocks, c.filled, c.span, c.bytes = 0, 0, 0, 0
}

// Salt returns the seed of what differs from others of that seed in name: the
// model, its adapter, the tenant.
func Salt(seed uint64, name []byte) uint64 { return link(seed, mix(^seed), xxhash.Sum64(name)) }

// Write adds bytes to the open span. A block that lies in p is hashed in place.
func (c *Chain) Write(p []byte) {
	c.bytes += int64(len(p))
	c.span += int64(len(p))
	for len(p) > 0 && c.blocks < maxBlocks {
		size := blockSize(c.blocks)
		if c.filled == 0 && len(p) >= size {
			c.add(xxhash.Sum64(p[:size]))
			p = p[size:]
			continue
		}
		if c.filled == 0 {
			c.open.Reset()
		}
		n := min(size-c.filled, len(p))
		c.open.Write(p[:n]) // never fails
		c.filled += n
		p = p[n:]
		if c.filled == size {
			c.filled = 0
			c.add(c.open.Sum64())
		}
	}
}

// EndSpan ends a part of the prompt. Its length goes into the chain, in bytes that
// no JSON has: the same bytes, parted otherwise, are another prompt.
func (c *Chain) EndSpan() {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(c.span))
	c.Write(length[:])
	c.span = 0
}

// Skip counts n bytes that are of the prompt and not of its prefix.
func (c *Chain) Skip(n int64) { c.bytes += n }

// Follow adds a block of which only the hash is known, as Hash of another chain
// returned it. A full chain stays as it is.
func (c *Chain) Follow(hash uint64) {
	if c.blocks == maxBlocks {
		return
	}
	c.bytes = blockEnd(c.blocks)
	c.hashes[c.blocks] = hash
	c.blocks++
}

// Len returns how many blocks there are.
func (c *Chain) Len() int { return c.blocks }

// Hash returns the hash of the blocks up to i, which is one of them.
func (c *Chain) Hash(i int) uint64 { return c.hashes[:c.blocks][i] }

// End returns how many bytes the blocks up to i cover.
func (c *Chain) End(i int) int64 { return blockEnd(i) }

// Bytes returns how long the whole prompt is, its end included.
func (c *Chain) Bytes() int64 { return c.bytes }

// Root returns the hash of the first block, 0 when there is none.
func (c *Chain) Root() uint64 {
	if c.blocks == 0 {
		return 0
	}
	return c.hashes[0]
}

// homeBlocks is how many of a prompt's first blocks say whose it is: 5 KiB, some
// 1,300 tokens. That is more than most system prompts, and less than most
// documents.
const homeBlocks = smallBlocks + 1

// Home returns the hash of the prompt's beginning, by which routers that have told
// each other nothing agree where it belongs; 0 when it has no block. Their chains
// need the same seed.
func (c *Chain) Home() uint64 {
	if c.blocks == 0 {
		return 0
	}
	return c.hashes[min(homeBlocks, c.blocks)-1]
}

func (c *Chain) add(block uint64) {
	c.state = link(c.state, c.key, block)
	c.hashes[c.blocks] = c.state
	c.blocks++
}

// link is the step from one hash to the next. The folded product cannot be turned
// back as mix can, so a hash does not give away the seed.
func link(state, key, block uint64) uint64 {
	hi, lo := bits.Mul64(state^0x9e3779b97f4a7c15, block^key)
	return mix(hi ^ lo)
}

// blockSize returns the size of block i.
func blockSize(i int) int {
	switch {
	case i < smallBlocks:
		return smallBlock
	case i < mediumBlocks:
		return mediumBlock
	}
	return largeBlock
}

// blockEnd returns how many bytes the blocks up to i cover.
func blockEnd(i int) int64 {
	switch {
	case i < smallBlocks:
		return int64(i+1) * smallBlock
	case i < mediumBlocks:
		return smallEnd + int64(i+1-smallBlocks)*mediumBlock
	}
	return mediumEnd + int64(i+1-mediumBlocks)*largeBlock
}
