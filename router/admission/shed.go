package admission

import (
	"math"
	"time"
)

// This file says who is refused early, before there is no room for anybody.

// shedFrom is the saturation from which on sheddable requests are refused, a few
// at first and all of them at 1.
const shedFrom = 0.6

// String is the class as an operator writes it.
func (c Class) String() string {
	return [NumClasses]string{"system", "interactive", "default", "batch"}[c]
}

// Sheds reports whether a request of this class is refused where so much of the
// room is used up, from 0 to 1, that it may use: a batch's by chance, which is
// drawn from 0 to 1 once for a request, any other when there is none left.
func (c Class) Sheds(saturation, chance float64) bool {
	if saturation >= 1 {
		return true
	}
	if c != Batch || saturation <= shedFrom {
		return false
	}
	p := (saturation - shedFrom) / (1 - shedFrom)
	return chance < p*p
}

// Fullness is how much of a queue for size requests and for so long a wait is used
// up, from 0 to 1, by n of them that will take the time ahead; no wait is no bound.
func Fullness(n, size int, ahead, wait time.Duration) float64 {
	full := float64(n) / float64(max(size, 1))
	if wait > 0 {
		full = math.Max(full, float64(ahead)/float64(wait))
	}
	return math.Min(full, 1)
}

// Pace is how fast places are given to those that wait. The zero value knows
// nothing. Not safe for concurrent use.
type Pace struct {
	last time.Time
	gap  float64 // seconds between two
	seen int
}

const paceWindow = 8

// Given notes that a place was given.
func (p *Pace) Given(now time.Time) {
	if !p.last.IsZero() {
		p.seen = min(p.seen+1, paceWindow)
		p.gap += (now.Sub(p.last).Seconds() - p.gap) / float64(p.seen)
	}
	p.last = now
}

// Wait is for how long n requests will have to wait; 0 while too little is known.
func (p *Pace) Wait(n int) time.Duration {
	if p.seen < paceWindow/2 {
		return 0
	}
	return time.Duration(math.Min(float64(n)*p.gap, 24*3600) * float64(time.Second))
}

// Reset forgets: nobody waits any more, so what comes next has another pace.
func (p *Pace) Reset() { *p = Pace{} }
