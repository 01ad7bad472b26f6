package balancer

// One bucket of the prefix index: eight entries side by side, so that a look for
// one that is not there costs one line of a cache.

import (
	"math/bits"
	"sync/atomic"
)

const (
	ways = 8 // entries of a bucket

	vacant   = 0 // the header of an entry that holds nothing
	changing = 1 // of one that is being replaced: nobody's tag is 0

	// halfLife is how long, in nanoseconds, until a popularity counts half: as an
	// exponential decay over 60 s does.
	halfLife = 41_588_830_834
)

// bucket is its cells; see Index for what they hold.
type bucket []atomic.Uint64

func (b bucket) header(way int) *atomic.Uint64   { return &b[way] }
func (b bucket) valid(w, way int) *atomic.Uint64 { return &b[ways+w*3*ways+way] }
func (b bucket) low(w, way int) *atomic.Uint64   { return &b[2*ways+w*3*ways+way] }
func (b bucket) high(w, way int) *atomic.Uint64  { return &b[3*ways+w*3*ways+way] }

// tag is what a header holds of a hash: its 48 low bits, on top. The place of the
// bucket tells the high ones.
func tag(hash uint64) uint64 {
	if t := hash << 16; t != 0 {
		return t
	}
	return 1 << 16
}

// at returns the bucket with that number.
func (x *Index) at(number uint64) bucket {
	return bucket(x.cells[number*uint64(x.stride):][:x.stride])
}

// find returns the bucket of a hash, and the entry that has it or -1.
func (x *Index) find(hash uint64) (bucket, int) {
	number, _ := bits.Mul64(hash, x.buckets)
	b := x.at(number)
	want := tag(hash)
	for way := range b[:ways] {
		if b[way].Load()^want < 1<<16 {
			return b, way
		}
	}
	return b, -1
}

// mark notes that a backend has the entry's block, and returns what the generation
// at hand gains by it.
func (b bucket) mark(way int, t *touch) news {
	low, high, valid := b.low(t.word, way), b.high(t.word, way), b.valid(t.word, way)
	had := valid.Load()&t.bit != 0
	if had && low.Load()&t.bit == t.low && high.Load()&t.bit == t.high {
		return nothing
	}
	put(low, t.bit, t.low)
	put(high, t.bit, t.high)
	if had {
		return older
	}
	valid.Or(t.bit)
	return fresh
}

// put makes the bits of mask in cell those of value.
func put(cell *atomic.Uint64, mask, value uint64) {
	if value != 0 {
		cell.Or(mask)
	} else {
		cell.And(^mask)
	}
}

// popular counts one more who asks for an entry. That it may be lost to another
// does no harm.
func (b bucket) popular(way int, stamp uint8) {
	old := b.header(way).Load()
	count := uint64(min(int(popularity(old, stamp))+1, 255))
	if h := old&^0xffff | uint64(stamp)<<8 | count; h != old && old > changing {
		b.header(way).CompareAndSwap(old, h)
	}
}

// popularity returns the count of a header as it is now.
func popularity(header uint64, stamp uint8) uint8 {
	return uint8(header) >> (stamp - uint8(header>>8))
}

// victim returns the entry that is to make room: a free one, else the one whose
// youngest holder is oldest. Among equals the hash decides.
func (x *Index) victim(b bucket, hash uint64) int {
	oldest, way := -1, 0
	for i := range ways {
		w := int((hash + uint64(i)) % ways)
		switch b.header(w).Load() {
		case vacant:
			return w
		case changing:
			continue
		}
		if a := x.age(b, w); a > oldest {
			oldest, way = a, w
		}
	}
	return way
}

// age returns how many generations ago the youngest holder of an entry was given
// it, and one more than there are when nobody holds it.
func (x *Index) age(b bucket, way int) int {
	youngest := generations
	for w := range x.words {
		valid := b.valid(w, way).Load() &^ x.stale[w].Load()
		d0, d1 := x.since(w, b.low(w, way).Load(), b.high(w, way).Load())
		switch {
		case valid&^d0&^d1 != 0:
			return 0
		case valid&d0&^d1 != 0:
			youngest = min(youngest, 1)
		case valid&^d0&d1 != 0:
			youngest = min(youngest, 2)
		case valid != 0:
			youngest = min(youngest, 3)
		}
	}
	return youngest
}

// since returns, bit-sliced, how many generations ago each backend was in the one
// given: the difference modulo four, with a borrow.
func (x *Index) since(w int, low, high uint64) (d0, d1 uint64) {
	nowLow, nowHigh := x.low[w].Load(), x.high[w].Load()
	return nowLow ^ low, nowHigh ^ high ^ (^nowLow & low)
}

// tick returns the number of the half-life at hand. A clock that steps back begins a
// half-life; one that leaps ahead ends many, which ages what is popular.
func (x *Index) tick(now int64) uint8 {
	began := x.clock.Load()
	switch gone := now - began; {
	case gone < 0:
		x.clock.CompareAndSwap(began, now)
	case gone >= halfLife:
		if n := gone / halfLife; x.clock.CompareAndSwap(began, began+n*halfLife) {
			x.stamp.Add(uint32(min(n, 100))) // beyond 8 there is nothing left; 256 would be none
		}
	}
	return uint8(x.stamp.Load())
}

// Now returns a moment that ages nothing, for an Insert whose own is on another
// machine's clock.
func (x *Index) Now() int64 { return x.clock.Load() }
