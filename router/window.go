package router

import (
	"math"
	"time"
)

// This file is what lies between a flight and its followers: the answer, or as much
// of it as fits, in blocks of memory that count as the cache's.

const (
	flightWindow = 1 << 20 // bytes that wait for slower followers
	firstBlock   = 4 << 10
	largestBlock = 64 << 10

	// How long the faster followers wait for the others, once, when the window is
	// full: those who merely take turns on a processor stay together.
	graceOfWindow = 250 * time.Millisecond
)

// block is a piece of the answer. What was written does not change.
type block struct {
	bytes []byte
	held  int64 // of the cache's memory; 0 where there was none left
}

// write hands a piece of the answer to the followers, and waits only for the
// fastest of them; last says that nothing follows.
func (f *flight) write(p []byte, last bool) error {
	e := f.own
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.makeRoom(len(p), last) {
		return errClientLeft
	}
	if len(p) > 0 {
		b := &f.blocks[len(f.blocks)-1]
		b.bytes = append(b.bytes, p...)
		f.end += int64(len(p))
	}
	f.usage, f.sequence, f.spoken = e.usage, e.relay.sequence, !e.firstToken.IsZero()
	f.failed, f.midway = e.relay.failed, e.relay.opaque
	f.ended, f.cut = last || e.truncated, e.truncated // which what is written says
	f.wake()
	return nil
}

// makeRoom has the last block take n bytes more, whole. Where the window is full, it
// goes on with the fastest follower, and the others lose what it leaves behind.
// False: nobody is left. The lock is held.
func (f *flight) makeRoom(n int, last bool) bool {
	for waitsUntil := (time.Time{}); ; {
		size := f.blockFor(n, last)
		slowest, fastest := f.spread()
		switch {
		case f.abandoned:
			return false
		case size == 0:
			return true
		case f.held+size <= flightWindow && f.srv.known.Load().Hold(size):
			f.held += size
			f.blocks = append(f.blocks, block{make([]byte, 0, size), size})
		case len(f.blocks) == 0: // it has to lie somewhere
			f.blocks = append(f.blocks, block{make([]byte, 0, size), 0})
		case slowest >= f.begin+int64(len(f.blocks[0].bytes)):
			f.drop()
		case fastest < f.begin+int64(len(f.blocks[0].bytes)):
			f.wait()
		case waitsUntil.IsZero():
			waitsUntil = time.Now().Add(graceOfWindow)
			timer := time.AfterFunc(graceOfWindow, f.room.Broadcast)
			defer timer.Stop()
			f.wait()
		case time.Now().Before(waitsUntil):
			f.wait()
		default:
			f.drop()
		}
	}
}

// wait waits until a follower moves or leaves. The lock is held, and let go of
// meanwhile.
func (f *flight) wait() {
	f.waits = true
	f.room.Wait()
	f.waits = false
}

// blockFor is how large a block n more bytes need; 0: they fit into the last one.
func (f *flight) blockFor(n int, last bool) int64 {
	if i := len(f.blocks) - 1; n == 0 || i >= 0 && cap(f.blocks[i].bytes)-len(f.blocks[i].bytes) >= n {
		return 0
	}
	if last {
		return int64(n)
	}
	return max(int64(n), min(max(f.end-f.begin, firstBlock), largestBlock))
}

// spread is how far those who can still read on have read.
func (f *flight) spread() (slowest, fastest int64) {
	slowest = math.MaxInt64
	for _, st := range f.seats {
		if st.at >= f.begin {
			slowest, fastest = min(slowest, st.at), max(fastest, st.at)
		}
	}
	return slowest, fastest
}

// drop forgets the first block.
func (f *flight) drop() {
	b := f.blocks[0]
	f.begin += int64(len(b.bytes))
	f.held -= b.held
	f.srv.known.Load().Release(b.held)
	f.blocks[0] = block{}
	f.blocks = f.blocks[1:]
}

// wake rings for those who have read all there was. The lock is held.
func (f *flight) wake() {
	for _, st := range f.seats {
		if st.waits {
			st.waits = false
			st.ring()
		}
	}
}

// release frees what nobody will read. The lock is held.
func (f *flight) release() {
	if f.landed && len(f.seats) == 0 {
		for len(f.blocks) > 0 {
			f.drop()
		}
	}
}
