package balancer

// A backend's live book.

import "sync/atomic"

// FullShare is the share of a backend that is not held back.
const FullShare = 10

// linePad keeps what stands on its two sides off each other's cache lines. It
// is two lines of 64 bytes, because Intel prefetches lines in pairs and some
// ARM cores have lines of 128.
type linePad [128]byte

// Load is one backend's live book. The zero value is an idle backend; a Load
// must not be copied. All methods are safe for concurrent use.
//
// What every request writes stands between two pads, so that neither another
// backend's Load nor a neighbouring read-mostly field shares its cache line.
type Load struct {
	withheld atomic.Int32 // FullShare less the share; seldom written
	_        linePad
	inflight atomic.Int32
	_        linePad
}

// Acquire counts one more request in flight and reports true, unless limit of
// them are there already; a limit below 1 is no bound. Every true is paired
// with exactly one Release.
func (l *Load) Acquire(limit int32) bool {
	if limit < 1 {
		l.inflight.Add(1)
		return true
	}
	for {
		n := l.inflight.Load()
		if n >= limit {
			return false
		}
		if l.inflight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release undoes one Acquire. Releasing what was never acquired panics.
func (l *Load) Release() {
	if l.inflight.Add(-1) < 0 {
		panic("BUG: balancer: Release without Acquire")
	}
}

// InFlight returns how many requests the backend has now.
func (l *Load) InFlight() int32 { return l.inflight.Load() }

// SetShare says how much of its weight the backend is to get for now, in tenths
// from 1 to FullShare: less than all of it while it starts slowly. Other numbers
// count as the nearest of these.
func (l *Load) SetShare(tenths int) {
	l.withheld.Store(int32(FullShare - min(max(tenths, 1), FullShare)))
}

// Share returns what SetShare said, at first FullShare.
func (l *Load) Share() int { return FullShare - int(l.withheld.Load()) }
