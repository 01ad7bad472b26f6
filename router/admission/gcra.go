package admission

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// gcra is the generic cell rate algorithm over one number: the theoretical
// arrival time, in nanoseconds, before which what was taken has not flowed off
// (ITU-T I.371). The zero value is an empty one.
type gcra struct{ tat atomic.Int64 }

// Rate is an amount per period, of which burst may come at once. Make it with
// NewRate.
type Rate struct {
	Limit  int64 // 0: nothing passes
	Burst  int64
	Period time.Duration

	room int64 // how long the burst takes to flow off
	unit int64 // and one
}

// NewRate returns the rate of limit in each period.
func NewRate(limit, burst int64, period time.Duration) *Rate {
	r := &Rate{Limit: limit, Burst: burst, Period: period}
	r.room, r.unit = r.flow(burst), r.flow(1)
	return r
}

// never is the wait for what can never pass.
const never = time.Duration(math.MaxInt64)

// span is how long amount takes to flow off, rounded up; it saturates.
func (r *Rate) span(amount int64) int64 {
	if amount == 1 {
		return r.unit
	}
	return r.flow(amount)
}

func (r *Rate) flow(amount int64) int64 {
	if amount <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(amount), uint64(r.Period))
	if r.Limit <= 0 || hi >= uint64(r.Limit) {
		return math.MaxInt64 / 4
	}
	q, rem := bits.Div64(hi, lo, uint64(r.Limit))
	if rem > 0 {
		q++
	}
	return int64(min(q, math.MaxInt64/4))
}

// amount is how much flows off in span nanoseconds, rounded down.
func (r *Rate) amount(span int64) int64 {
	if span <= 0 || r.Limit <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(span), uint64(r.Limit))
	if hi >= uint64(r.Period) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(r.Period))
	return int64(min(q, math.MaxInt64))
}

// take takes amount at now. If that is too much, it takes nothing and returns
// how long to wait; never if waiting does not help.
func (g *gcra) take(r *Rate, amount, now int64) (wait time.Duration, ok bool) {
	if r.Limit <= 0 || amount > r.Burst {
		return never, false
	}
	return g.takeSpan(r.span(amount), r.room, now)
}

// takeShare takes amount of one n-th of the rate. What is more than the share's
// burst passes when nothing else is taken.
func (g *gcra) takeShare(r *Rate, amount, n, now int64) (wait time.Duration, ok bool) {
	if r.Limit <= 0 || amount > r.Burst {
		return never, false
	}
	need := r.span(amount * n)
	return g.takeSpan(need, max(r.room, need), now)
}

func (g *gcra) takeSpan(need, room, now int64) (wait time.Duration, ok bool) {
	for {
		old := g.tat.Load()
		next := max(old, now) + need
		if over := next - now - room; over > 0 {
			return time.Duration(over), false
		}
		if g.tat.CompareAndSwap(old, next) {
			return 0, true
		}
	}
}

// wait is how long it is until amount could be taken; not above zero: it could be.
func (g *gcra) wait(r *Rate, amount, now int64) int64 {
	return max(g.tat.Load()-now, 0) + r.span(amount) - r.room
}

// add takes amount whatever is left, into debt if need be; a negative amount
// gives back.
func (g *gcra) add(r *Rate, amount, now int64) {
	span := r.span(amount)
	if amount < 0 {
		span = -r.span(-amount)
	}
	if span == 0 || r.Limit <= 0 {
		return
	}
	for {
		old := g.tat.Load()
		next := old + span // what flowed off long ago cannot be given back: the past is as empty as empty
		if span > 0 {
			next = max(old, now) + span
		}
		if g.tat.CompareAndSwap(old, next) {
			return
		}
	}
}

// left is how much could be taken at now, and how long until all of the burst
// could.
func (g *gcra) left(r *Rate, now int64) (amount int64, full time.Duration) {
	used := max(g.tat.Load()-now, 0)
	return r.amount(r.room - used), time.Duration(used)
}
