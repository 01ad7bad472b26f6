package balancer

// How the prefix index forgets: generations of each backend, and the sweep that
// makes their numbers free again.

import "sync/atomic"

// generations is how many numbers there are. Three of them are of what a backend
// remembers, each a third of its horizon; what has the fourth is swept away, so
// that the number can be used again.
const generations = 4

const (
	sweepPerBlock = 16   // buckets that one new block sweeps at most
	hurriedSweep  = 1024 // buckets that one Insert sweeps while a backend is being forgotten

	minHorizon = 64 << 10
	maxHorizon = 1 << 50
)

// slot is the state of one backend.
type slot struct {
	horizon atomic.Int64 // as SetHorizon said
	trust   trust
	used    atomic.Bool // it was given something
	_       linePad

	bytes, thirds atomic.Int64  // what the generation at hand has gained, as in touch
	swept         atomic.Uint64 // the cursor when it began
	forgotten     atomic.Uint64 // the cursor when nothing from before Forget is left
	_             linePad
}

func (s *slot) begin() {
	s.horizon.Store(DefaultHorizon)
	s.trust.begin()
}

// SetHorizon says after how many other bytes of prompts the backend no longer has
// one: twice what its cache holds, because an index that forgets too early costs
// far more than one that forgets too late. What Calibrate learned stays.
func (x *Index) SetHorizon(backend int, bytes int64) {
	if uint(backend) < uint(len(x.slots)) {
		x.slots[backend].horizon.Store(min(max(bytes, minHorizon), maxHorizon))
	}
}

// Horizon returns what SetHorizon said, by the factor that Calibrate has found.
func (x *Index) Horizon(backend int) int64 {
	return x.slots[backend].reach()
}

// Forget drops all that the backend has read, at once and whatever there is of it:
// it was restarted, lost its cache, or its place goes to another. Until the sweep
// has been round once nothing new is remembered of it either; a few hundred
// requests to the pool do that.
func (x *Index) Forget(backend int) {
	if uint(backend) >= uint(len(x.slots)) {
		return
	}
	s := &x.slots[backend]
	if s.used.CompareAndSwap(true, false) {
		x.used.Add(-1)
	}
	s.forgotten.Store(x.cursor.Load() + x.buckets)
	x.stale[backend/64].Or(1 << (backend % 64))
	s.trust.begin()
}

// grow adds to the generation at hand what it gained, and begins the next when it
// is full: after a third of the horizon, or of the backend's part of the table.
// The number of the next must be free: a sweep has been round since this began.
func (x *Index) grow(s *slot, t *touch) {
	if t.thirds > 0 && !s.used.Load() && s.used.CompareAndSwap(false, true) {
		x.used.Add(1)
	}
	bytes, thirds := float64(s.bytes.Add(t.bytes)), float64(s.thirds.Add(t.thirds))
	t.share = max(bytes/float64(s.reach()), thirds/x.room())
	began := s.swept.Load()
	if t.share < 1 || x.cursor.Load()-began < x.buckets || !s.swept.CompareAndSwap(began, x.cursor.Load()) {
		return
	}
	s.bytes.Store(0)
	s.thirds.Store(0)
	t.share = 0
	if low := x.low[t.word].Load(); low&t.bit != 0 { // 1 is followed by 2, 3 by 0
		put(&x.high[t.word], t.bit, ^x.high[t.word].Load()&t.bit)
	}
	put(&x.low[t.word], t.bit, ^x.low[t.word].Load()&t.bit)
}

func (s *slot) reach() int64 { return int64(float64(s.horizon.Load()) * s.trust.factor()) }

// room is how many blocks of the table one backend may take, when the horizons are
// more than it has place for: all that are in use together three quarters.
func (x *Index) room() float64 {
	return max(float64(x.buckets)*ways*3/4/float64(max(x.used.Load(), 1)), 1)
}

// sweepAfter sweeps so far that the sweep comes round when the generation is full,
// and further while a backend is being forgotten.
func (x *Index) sweepAfter(s *slot, t *touch) {
	due := float64(x.buckets)*min(t.share, 1) - float64(x.cursor.Load()-s.swept.Load())
	n := uint64(min(max(due, 0), float64(t.thirds*sweepPerBlock/3)))
	hurried := false
	for w := range x.words {
		hurried = hurried || x.stale[w].Load() != 0
	}
	if hurried {
		n = max(n, hurriedSweep)
	}
	if n > 0 {
		x.sweep(min(n, x.buckets), t.stamp)
	}
	if hurried {
		x.welcome()
	}
}

// broom is what a sweep takes: the backends being forgotten, and of the others what
// has the number that comes next, bit-sliced.
type broom struct {
	low, high, stale [MaxBackends / 64]uint64
	stamp            uint8
}

// sweep goes over the next n buckets.
func (x *Index) sweep(n uint64, stamp uint8) {
	s := broom{stamp: stamp}
	for w := range x.words { // before the cursor says that it is done
		low, high := x.low[w].Load(), x.high[w].Load()
		s.low[w], s.high[w], s.stale[w] = ^low, high^low, x.stale[w].Load()
	}
	end := x.cursor.Add(n)
	emptied := int64(0)
	for i := end - n; i != end; i++ {
		b := x.at(i % x.buckets)
		for way := range ways {
			if h := b.header(way).Load(); h > changing && x.sweepEntry(b, way, h, &s) {
				emptied++
			}
		}
	}
	if emptied > 0 {
		x.entries.Add(-emptied)
	}
}

// sweepEntry sweeps an entry with header h, and reports whether nobody is left in
// it.
func (x *Index) sweepEntry(b bucket, way int, h uint64, s *broom) bool {
	var left uint64
	for w := range x.words {
		valid := b.valid(w, way).Load()
		over := ^(b.low(w, way).Load() ^ s.low[w]) & ^(b.high(w, way).Load() ^ s.high[w])
		gone := valid & (over | s.stale[w])
		if gone != 0 {
			b.valid(w, way).And(^gone)
		}
		left |= valid &^ gone
	}
	if left == 0 {
		return b.header(way).CompareAndSwap(h, vacant)
	}
	if h&0xff != 0 && popularity(h, s.stamp) == 0 { // before the period's number comes round
		b.header(way).CompareAndSwap(h, h&^0xffff|uint64(s.stamp)<<8)
	}
	return false
}

// welcome ends the forgetting of those of whom nothing is left.
func (x *Index) welcome() {
	for i := range x.slots {
		s, stale, bit := &x.slots[i], &x.stale[i/64], uint64(1)<<(i%64)
		if stale.Load()&bit == 0 {
			continue
		}
		until := s.forgotten.Load()
		if int64(x.cursor.Load()-until) < 0 {
			continue
		}
		s.bytes.Store(0)
		s.thirds.Store(0)
		stale.And(^bit)
		if s.forgotten.Load() != until { // forgotten anew in between
			stale.Or(bit)
		}
	}
}
