package balancer

// How many requests a backend can take at once, found out from its answers.

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The factors by which an answer may be slower than usual, as logarithms, and
// what follows.
const (
	fine = 0.405 // ×1.5: below it there is room for one more
	slow = 0.693 // ×2: above it there are too many
	gain = 0.288 // ×3/4: what halving the limit must bring, or it was not the cause
)

const (
	cutRefused  = 0.8 // of the requests in flight, for a 429 or 503
	cutSlowMost = 0.8
	cutSlowLess = 0.95
	windowLeast = 8 // answers that are looked at together: a quarter of what is in flight,
	windowMost  = 64
	learnedMost = 64              // answers that make the usual at first
	spreadMost  = 2.25            // variance of a logarithm
	forget      = 5 * time.Minute // the usual follows what an unpressed backend does
)

// Concurrency is one backend's limit of requests in flight, as its answers have
// shown it: one more per round trip while the limit is used up and answers come
// as soon as usual (additive increase), a part less when it refuses or when their
// first tokens come late (multiplicative decrease; Chiu and Jain 1989). At first
// it is as high as it may be: a backend is believed in until something speaks
// against it.
//
// Late is meant against what the prompt should take, and against what is usual
// there. The total time of an answer says nothing: it is as long as the answer.
//
// It is a pure state machine: time is passed in. Current is one atomic load, and
// Observe waits for no one, but for the few answers that are refusals. The zero
// value knows no bounds and is no limit. Safe for concurrent use.
type Concurrency struct {
	now atomic.Int32

	mu       sync.Mutex // guards the fields below
	min, max float64
	limit    float64
	usual    float64 // slowness, as a logarithm; of an unpressed backend
	lately   float64 // likewise; of the answers since the last cut
	seen     int     // so many of them
	learned  int     // answers that made usual at first
	spread   float64 // variance of single answers' slowness
	cutAt    time.Time
	grownAt  time.Time
	usualAt  time.Time
	trial    trial
}

// trial is a run of cuts for slowness, that are taken back if they do not help.
type trial struct {
	limit    float64 // before; 0: there is none
	inflight float64
	lately   float64
}

// Answer is what the beginning of one answer says about room.
type Answer struct {
	Sent     time.Time // to the backend
	InFlight int32     // on the backend with it, when it was sent
	Slowness float64   // time to the first token over what the prompt should take; 0: not known
	Refused  bool      // a 429 or 503, or no first token in time
}

// Bound sets between which bounds the limit may move, 1 ≤ low ≤ high; 0 and 0 end
// the search for one.
func (c *Concurrency) Bound(low, high int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	atTop := c.limit >= c.max // or new
	c.min, c.max = float64(low), float64(high)
	if atTop {
		c.limit = c.max
	}
	c.set(c.limit)
	if high == 0 {
		c.learned, c.spread, c.trial = 0, 0, trial{}
	}
}

// Current is the limit; 0 is none.
func (c *Concurrency) Current() int32 { return c.now.Load() }

// Found is the limit if answers have spoken for one below the upper bound, else 0.
func (c *Concurrency) Found() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit >= c.max {
		return 0
	}
	return int32(c.limit)
}

func (c *Concurrency) set(limit float64) {
	c.limit = math.Max(c.min, math.Min(limit, c.max))
	c.now.Store(int32(c.limit))
}

// Observe learns from one answer, and reports whether there is more room now.
func (c *Concurrency) Observe(a Answer, now time.Time) (grew bool) {
	switch {
	case a.Refused:
		c.mu.Lock()
	case !c.mu.TryLock():
		return false // one of many
	}
	defer c.mu.Unlock()
	if c.max == 0 || a.Sent.Before(c.cutAt) {
		return false // it speaks of the limit before
	}
	if a.Refused {
		c.cut(cutRefused, a.InFlight, now)
		c.trial = trial{}
		return false
	}
	if a.Slowness > 0 {
		c.learn(math.Log(a.Slowness), a.InFlight, now)
	}
	late, enough := c.lately-c.usual, c.seen >= windowFor(a.InFlight)
	if late < fine {
		if enough {
			c.trial = trial{} // the cuts have helped
		}
		return c.grow(a, now)
	}
	if late < slow+c.margin(a.InFlight) || !enough || a.Slowness == 0 {
		return false
	}
	if c.inVain() {
		c.usual = c.lately
		c.set(c.trial.limit)
		c.trial = trial{}
		return true
	}
	if c.trial.limit == 0 {
		c.trial = trial{limit: c.limit, inflight: float64(a.InFlight), lately: c.lately}
	}
	c.cut(math.Max(cutSlowMost, math.Min(math.Exp(slow-late), cutSlowLess)), a.InFlight, now)
	return false
}

// cut lowers the limit below what is in flight: that was too much, whatever the
// limit was.
func (c *Concurrency) cut(factor float64, inflight int32, now time.Time) {
	c.set(factor * math.Min(c.limit, float64(inflight)))
	c.seen, c.cutAt, c.grownAt = 0, now, now
}

// grow raises the limit by one if it is used up: once per round trip, for what
// was sent before it was raised last tells nothing of the last one.
func (c *Concurrency) grow(a Answer, now time.Time) bool {
	if float64(a.InFlight) < math.Floor(c.limit) || a.Sent.Before(c.grownAt) || c.limit >= c.max {
		return false
	}
	c.set(c.limit + 1)
	c.grownAt = now
	return true
}

// inVain reports whether half as many requests were as slow: then something else
// is the cause, and that is usual from now on.
func (c *Concurrency) inVain() bool {
	t := &c.trial
	return t.limit > 0 && c.limit <= math.Max(t.inflight/2, c.min) && c.lately > t.lately-gain
}

// learn takes in how slow an answer was. What is usual follows slowly, by the
// clock and not by the number of answers, and only while there are few of them:
// an overload must not become usual.
func (c *Concurrency) learn(slowness float64, inflight int32, now time.Time) {
	window := windowFor(inflight)
	c.seen++
	if off := slowness - c.lately; c.learned > 0 && c.seen > 1 {
		c.spread += (math.Min(off*off, 4*spreadMost) - c.spread) / 32
	}
	c.lately += (slowness - c.lately) / float64(min(c.seen, window))
	passed := now.Sub(c.usualAt)
	c.usualAt = now
	switch {
	case c.learned < windowLeast, c.learned < learnedMost && c.lately < c.usual+fine:
		c.learned++
		c.usual += (slowness - c.usual) / float64(c.learned)
	case c.seen >= window && c.lately < c.usual-fine:
		c.usual += (c.lately - c.usual) / 16
	case float64(inflight) < c.limit/2:
		c.usual += (slowness - c.usual) * math.Min(float64(passed)/float64(forget), 0.02)
	}
}

// margin is how far lately may be off the usual by chance, twice the standard
// deviation: where first tokens come as they please, it takes more to blame the
// crowd.
func (c *Concurrency) margin(inflight int32) float64 {
	n := 1/float64(2*windowFor(inflight)) + 1/float64(max(c.learned, 1))
	return 2 * math.Sqrt(math.Min(c.spread, spreadMost)*n)
}

func windowFor(inflight int32) int { return min(max(int(inflight)/4, windowLeast), windowMost) }
