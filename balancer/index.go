package balancer

// The prefix index: which backend has lately read the beginning of a prompt.

import (
	"math/bits"
	"sync/atomic"
)

const (
	// DefaultHorizon is how much a backend is taken to remember until more is known
	// of it: twice the 400k tokens of a common engine, at four bytes each.
	DefaultHorizon = 2 * 400_000 * 4

	meanBlock = 512 // bytes of prompt that an entry stands for, of common prompts
)

// Index remembers for each block of a prompt which backends have read it, in a
// table whose memory is taken once and never grows. It forgets what a backend has
// not been given again while it was given its horizon of other prompts, as the
// engine's own cache does.
//
// It is a set-associative table. A bucket has eight entries:
//
//	header[8]                          48 bits of the hash, 8 of the time, 8 popularity
//	for each 64 backends: valid[8]     bit j: backend j has the block
//	                      low[8]       bit j: the low bit of the generation in which
//	                      high[8]      bit j: the high one      j was last given it
//
// One walk over a chain thus answers for all backends: their set is intersected
// with valid, block by block. All methods may be called at once by any number of
// goroutines; there is no lock. Two that meet in one entry may lose what one of
// them wrote, or see for a moment what is no longer so: entries are hints.
type Index struct {
	cells   []atomic.Uint64 // the buckets, one after another
	buckets uint64
	stride  int // cells of a bucket
	words   int // of 64 backends
	slots   []slot

	// The backends' current generations, bit-sliced, and who is being forgotten.
	low, high, stale [MaxBackends / 64]atomic.Uint64

	clock atomic.Int64  // when a period began
	stamp atomic.Uint32 // number of the period
	used  atomic.Int64  // backends in use
	_     linePad

	cursor             atomic.Uint64 // buckets swept, ever
	entries, evictions atomic.Int64
	_                  linePad
}

// NewIndex returns an empty index of at most maxBytes for backends 0 to
// backends-1, each with DefaultHorizon. Its memory is touched, and so taken from
// the machine, only as it fills. One with no room for eight entries remembers
// nothing. Backends from MaxBackends on are never remembered.
func NewIndex(maxBytes int64, backends int) *Index {
	backends = min(max(backends, 0), MaxBackends)
	x := &Index{words: max((backends+63)/64, 1), slots: make([]slot, backends)}
	x.stride = ways * (1 + 3*x.words)
	x.buckets = uint64(max(maxBytes, 0)) / uint64(x.stride*8)
	x.cells = make([]atomic.Uint64, x.buckets*uint64(x.stride))
	for i := range x.slots {
		x.slots[i].begin()
	}
	return x
}

// IndexBytes returns how large an index is to be for backends whose horizons add
// up to horizons bytes: twice what they fill, so that buckets seldom overflow.
func IndexBytes(horizons int64, backends int) int64 {
	words := int64(max((min(backends, MaxBackends)+63)/64, 1))
	return 2 * max(horizons, 0) / meanBlock * 8 * (1 + 3*words)
}

// Matches is how much of a prompt each backend has read. The zero value is ready
// for Match; the caller owns it and may use it again.
type Matches struct {
	best       int
	blocks     [MaxBackends]uint8
	popularity [maxBlocks]uint8
}

// Blocks returns how many of the prompt's first blocks the backend has read.
func (m *Matches) Blocks(backend int) int { return int(m.blocks[backend]) }

// Best returns the largest of all Blocks.
func (m *Matches) Best() int { return m.best }

// Popularity returns how often a block below Best was asked for again of late,
// from any backend: each period of 42 seconds halves the count, and it stops at 255.
func (m *Matches) Popularity(block int) uint8 { return m.popularity[:m.best][block] }

// Match finds how many of the chain's first blocks each open backend has read.
func (x *Index) Match(c *Chain, open Mask, m *Matches) {
	*m = Matches{}
	if x.buckets == 0 {
		return
	}
	left, stamp := x.known(open), uint8(x.stamp.Load())
	for i := range c.blocks {
		b, way := x.find(c.hashes[i])
		if way < 0 {
			break
		}
		var any uint64
		for w := range x.words {
			has := left[w] & b.valid(w, way).Load()
			for gone := left[w] &^ has; gone != 0; gone &= gone - 1 {
				m.blocks[w*64+bits.TrailingZeros64(gone)] = uint8(i)
			}
			left[w] = has
			any |= has
		}
		if any == 0 {
			return
		}
		m.popularity[i] = popularity(b.header(way).Load(), stamp)
		m.best = i + 1
	}
	for w := range x.words {
		for ; left[w] != 0; left[w] &= left[w] - 1 {
			m.blocks[w*64+bits.TrailingZeros64(left[w])] = uint8(m.best)
		}
	}
}

// known is those of open that the index answers for.
func (x *Index) known(open Mask) Mask {
	open = open.And(FirstN(len(x.slots)))
	for w := range x.words {
		open[w] &^= x.stale[w].Load()
	}
	return open
}

// Insert notes that the backend is given the chain's prompt, at a time in
// nanoseconds of a monotonic clock. Called right after the pick, it lets the next
// of a burst of siblings follow. It also does its share of the sweeping.
func (x *Index) Insert(c *Chain, backend int, now int64) {
	if uint(backend) >= uint(len(x.slots)) || x.buckets == 0 {
		return
	}
	t := touch{word: backend / 64, bit: 1 << (backend % 64), stamp: x.tick(now)}
	t.low = x.low[t.word].Load() & t.bit
	t.high = x.high[t.word].Load() & t.bit
	if x.stale[t.word].Load()&t.bit == 0 {
		for i := range c.blocks {
			if i%ahead == 0 {
				x.fetch(c.hashes[i:min(i+ahead, c.blocks)])
			}
			g := x.place(c.hashes[i], &t)
			t.thirds += int64(g)
			t.bytes += int64(g) * int64(blockSize(i))
		}
		if t.filled+t.evicted > 0 {
			x.entries.Add(t.filled)
			x.evictions.Add(t.evicted)
		}
	}
	x.grow(&x.slots[backend], &t)
	x.sweepAfter(&x.slots[backend], &t)
}

// ahead is how many buckets are asked for at once.
const ahead = 16

// fetch loads the buckets of hashes, so that they come from memory side by side:
// an atomic write, of which each entry takes a few, lets no later load begin.
func (x *Index) fetch(hashes []uint64) {
	for _, h := range hashes {
		number, _ := bits.Mul64(h, x.buckets)
		x.cells[number*uint64(x.stride)].Load()
	}
}

// touch is one Insert: what it writes, and what came of it.
type touch struct {
	word           int
	bit, low, high uint64 // the backend, and its generation in its place
	stamp          uint8

	bytes, thirds   int64   // what the generation gained, in thirds of a byte and of a block
	filled, evicted int64   // entries
	share           float64 // of the generation that is full
}

// news is how much a block is news to a generation, in thirds of it. One that moves over
// from an older generation counts a third: then a generation with new blocks n
// and old ones h is full at 3n+h = horizon, and three of them, through which the
// same h goes on, hold h+3n: the horizon.
type news int64

const (
	nothing news = 0
	older   news = 1
	fresh   news = 3
)

// place notes one block.
func (x *Index) place(hash uint64, t *touch) news {
	for range 2 { // again when another was faster
		b, way := x.find(hash)
		if way >= 0 {
			b.popular(way, t.stamp)
			return b.mark(way, t)
		}
		way = x.victim(b, hash)
		old := b.header(way).Load()
		if old == changing || !b.header(way).CompareAndSwap(old, changing) {
			continue
		}
		x.take(b, way, t)
		b.header(way).Store(tag(hash) | uint64(t.stamp)<<8)
		if old == 0 {
			t.filled++
		} else {
			t.evicted++
		}
		return fresh
	}
	return nothing
}

// take makes an entry that is changing the backend's alone.
func (x *Index) take(b bucket, way int, t *touch) {
	for w := range x.words {
		if w != t.word && b.valid(w, way).Load() != 0 {
			b.valid(w, way).Store(0)
		}
	}
	b.low(t.word, way).Store(t.low)
	b.high(t.word, way).Store(t.high)
	b.valid(t.word, way).Store(t.bit)
}

// IndexStats is what an index holds.
type IndexStats struct {
	Entries   int64 // blocks that some backend has
	Capacity  int64 // entries there is room for
	Bytes     int64 // memory taken, whatever the number of entries
	Evictions int64 // entries that made room for others before their time, ever
}

// Stats returns what the index holds now.
func (x *Index) Stats() IndexStats {
	return IndexStats{
		Entries:   x.entries.Load(),
		Capacity:  int64(x.buckets) * ways,
		Bytes:     int64(len(x.cells)) * 8,
		Evictions: x.evictions.Load(),
	}
}
