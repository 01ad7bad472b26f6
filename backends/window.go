package backends

// Tries and failures of the last 40 s, counted without a lock.

import (
	"sync/atomic"
	"time"
)

const (
	bucketWidth = 5 * time.Second
	numBuckets  = 8
)

// window is a ring of buckets, each an era (which time round the ring it was
// filled, modulo 2^16), failures in halves and tries, in 16, 24 and 24 bits of
// one word. 24 bits hold 1.6 million failures a second.
type window [numBuckets]atomic.Uint64

const (
	eraShift = 48
	halfUnit = 1 << 24
	low24    = halfUnit - 1
)

// add counts a try that failed by so many halves.
func (w *window) add(now tick, halves uint64) {
	slot := uint64(max(now, 0)) / uint64(bucketWidth)
	era := slot / numBuckets & 0xffff
	b := &w[slot%numBuckets]
	for {
		v := b.Load()
		if v>>eraShift == era {
			b.Add(halves*halfUnit + 1)
			return
		}
		if b.CompareAndSwap(v, era<<eraShift|halves*halfUnit|1) {
			return
		}
	}
}

// sum returns the tries of the last 35 to 40 s, and their failures in halves.
func (w *window) sum(now tick) (tries, halves uint64) {
	slot := uint64(max(now, 0)) / uint64(bucketWidth)
	for back := range min(slot+1, numBuckets) {
		s := slot - back
		if v := w[s%numBuckets].Load(); v>>eraShift == s/numBuckets&0xffff {
			tries += v & low24
			halves += v >> 24 & low24
		}
	}
	return tries, halves
}

func (w *window) reset() {
	for i := range w {
		w[i].Store(0)
	}
}
