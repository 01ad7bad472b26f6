package balancer

// A backend's live book.

import (
	"math"
	"sync/atomic"
	"time"
)

// FullShare is the share of a backend that is not held back.
const FullShare = 10

// linePad keeps what stands on its two sides off each other's cache lines. It
// is two lines of 64 bytes, because Intel prefetches lines in pairs and some
// ARM cores have lines of 128.
type linePad [128]byte

// Load is one backend's live book. The zero value is an idle backend of which
// nothing is known; a Load must not be copied. All methods are safe for
// concurrent use. Moments are nanoseconds on any one clock that does not step.
//
// What every request writes stands between two pads, so that neither another
// backend's Load nor a neighbouring read-mostly field shares its cache line.
type Load struct {
	withheld  atomic.Int32 // FullShare less the share; seldom written
	learned   learned
	_         linePad
	inflight  atomic.Int32
	started   atomic.Int32 // of those, streams whose first token was seen
	prefill   atomic.Int64 // prompt tokens that are not cached and not yet read
	kv        atomic.Int64 // tokens that the running requests hold, or will
	read      atomic.Int64 // prompt tokens read since the start, as far as first tokens show
	busyUntil atomic.Int64 // when the promised work drains that shows no first token
	_         linePad
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

// PrefillTokens returns how many prompt tokens were promised to the backend that
// it has not cached and, as far as one can see, not read yet. Of requests that
// show no first token nothing is counted here, but in Ahead.
func (l *Load) PrefillTokens() int64 { return l.prefill.Load() }

// KVTokens returns how many tokens the requests hold that run on the backend,
// those included that their answers are expected to have.
func (l *Load) KVTokens() int64 { return l.kv.Load() }

// Ahead returns how many seconds of prompts were promised to the backend and are
// not done yet.
func (l *Load) Ahead(now int64) float64 {
	return float64(l.prefill.Load())/l.PrefillRate() + seconds(max(l.busyUntil.Load()-now, 0))
}

// SetShare says how much of its weight the backend is to get for now, in tenths
// from 1 to FullShare: less than all of it while it starts slowly. Other numbers
// count as the nearest of these.
func (l *Load) SetShare(tenths int) {
	l.withheld.Store(int32(FullShare - min(max(tenths, 1), FullShare)))
}

// Share returns what SetShare said, at first FullShare.
func (l *Load) Share() int { return FullShare - int(l.withheld.Load()) }

// PrefillRate returns how many prompt tokens the backend is believed to read in
// a second.
func (l *Load) PrefillRate() float64 {
	if r := l.learned.rate.get(); r > 0 {
		return r
	}
	return l.configuredRate()
}

func (l *Load) configuredRate() float64 {
	if r := l.learned.configured.get(); r > 0 {
		return r
	}
	return PrefillRate
}

// drain promises work that shows no first token and is taken to be done one
// after the other: span nanoseconds of it. It returns when this part is done.
func (l *Load) drain(span, now int64) (until int64) {
	for {
		old := l.busyUntil.Load()
		until = max(old, now) + span
		if l.busyUntil.CompareAndSwap(old, until) {
			return until
		}
	}
}

// undrain takes back what is left of a promise of span that is done at until.
// Once all promises are taken back nothing is left of them: what is taken of a
// promise is at least as much as is left of it behind any later moment.
func (l *Load) undrain(span, until, now int64) {
	if left := min(until-now, span); left > 0 {
		l.busyUntil.Add(-left)
	}
}

// number is a float64 that many may read and change; zero at first.
type number struct{ bits atomic.Uint64 }

func (n *number) get() float64  { return math.Float64frombits(n.bits.Load()) }
func (n *number) set(v float64) { n.bits.Store(math.Float64bits(v)) }

// move goes a part of the way to v.
func (n *number) move(v, part float64) {
	for {
		old := n.bits.Load()
		was := math.Float64frombits(old)
		if n.bits.CompareAndSwap(old, math.Float64bits(was+part*(v-was))) {
			return
		}
	}
}

// begin is move, but the first value counts at once.
func (n *number) begin(v, part float64) {
	if n.bits.Load() == 0 && n.bits.CompareAndSwap(0, math.Float64bits(v)) {
		return
	}
	n.move(v, part)
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }
