package backends

// When a pool's answers are late, and how many requests may ask a second backend
// for that.

import (
	"math"
	"sync/atomic"
	"time"
)

// What no second try is made for, or at: others do not help, or it costs too much.
const (
	HedgeTokens = 4096 // of a prompt that is not cached, at most
	HedgeBytes  = 256 << 10
	HedgeIdle   = 0.5 // seconds of prompts that the second backend has ahead, below
	LeastLate   = 2   // times what was expected, whatever others took: what is less is not late
)

const (
	lateSteps  = 64   // of the scale of lateness, a quarter of a doubling each
	lateOrigin = 8    // the step of what took as long as was expected
	lateKnown  = 100  // answers without which nothing is said of their lateness
	lateMemory = 1000 // and so many at which half of them is forgotten
	mostSaved  = 10   // second tries that can be saved up
	wholeTry   = 1_000_000
)

// Hedges is what a pool's rule about second tries goes by. It outlives plans. Safe
// for concurrent use, without locks.
type Hedges struct {
	Unary, Streams Lateness

	share atomic.Int64 // in millionths of a request
	saved atomic.Int64 // second tries, in millionths
}

// Set says which share of the requests, from 0 to 1, may be tried a second time.
func (h *Hedges) Set(share float64) {
	h.share.Store(int64(math.Round(min(max(share, 0), 1) * wholeTry)))
}

// Request counts a request, which saves up its share of a second try.
func (h *Hedges) Request() {
	share := h.share.Load()
	for {
		v := h.saved.Load()
		if v >= mostSaved*wholeTry || h.saved.CompareAndSwap(v, v+share) {
			return
		}
	}
}

// Spend takes a second try out of what is saved, if there is one.
func (h *Hedges) Spend() bool {
	for {
		v := h.saved.Load()
		if v < wholeTry {
			return false
		}
		if h.saved.CompareAndSwap(v, v-wholeTry) {
			return true
		}
	}
}

// Refund gives back what was spent on a try that was not made.
func (h *Hedges) Refund() { h.saved.Add(wholeTry) }

// Lateness is how much longer than expected the latest answers took to begin, as
// a histogram that forgets. The zero value knows nothing; safe for concurrent use.
type Lateness struct {
	total  atomic.Int32
	counts [lateSteps]atomic.Int32
}

// Observe counts an answer that took times as long as was expected.
func (l *Lateness) Observe(times float64) {
	step := 0
	if times > 0 { // and a number
		step = int(min(max(4*math.Log2(times)+lateOrigin, 0), lateSteps-1))
	}
	l.counts[step].Add(1)
	if l.total.Add(1) == lateMemory { // others may count meanwhile: of a few it is not known then when they came
		left := int32(0)
		for i := range l.counts {
			n := l.counts[i].Load() / 2
			l.counts[i].Add(-n)
			left += n
		}
		l.total.Add(left - lateMemory)
	}
}

// Late is how long after its sending an answer is late that was expected to begin
// after so long: later than this share of the latest ones, beside what was expected.
// 0: too few are known.
func (l *Lateness) Late(share float64, expected time.Duration) time.Duration {
	times := l.Percentile(share)
	if times == 0 {
		return 0
	}
	return time.Duration(max(times, LeastLate) * float64(expected))
}

// Percentile is how many times longer than expected this share of the answers took
// at most; 0 while too few are known.
func (l *Lateness) Percentile(share float64) (times float64) {
	var counts [lateSteps]int32
	total := int32(0)
	for i := range counts {
		counts[i] = l.counts[i].Load()
		total += counts[i]
	}
	if total < lateKnown {
		return 0
	}
	seen, step := int32(0), 0
	for ; step < lateSteps-1; step++ {
		if seen += counts[step]; float64(seen) >= share*float64(total) {
			break
		}
	}
	return math.Exp2(float64(step+1-lateOrigin) / 4)
}
