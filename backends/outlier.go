package backends

// What the tries of requests and the checks of a probe say about one endpoint,
// and the state that follows: a machine without a clock, a lock or a network.

import (
	"sync/atomic"
	"time"
)

// State is how an endpoint stands with the requests of its pool.
type State uint8

// The states. Healthy is the zero value: an endpoint is believed in until
// something speaks against it, so that a router may start before its backends.
const (
	Healthy   State = iota // takes its share
	SlowStart              // back, or new beside others: takes a growing share
	HalfOpen               // on trial: one request at a time
	Ejected                // out, because requests failed there or because it failed again too soon
	Unhealthy              // out, because it cannot be reached or its checks fail
	Draining               // out by an operator, or no longer in the configuration
	numStates
)

var stateNames = [numStates]string{"healthy", "slow_start", "half_open", "ejected", "unhealthy", "draining"}

// String returns the state's name as logs, metrics and the admin API write it.
func (s State) String() string { return stateNames[s] }

// MarshalText is String, for encoders.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// serves reports whether requests go there without more ado.
func (s State) serves() bool { return s == Healthy || s == SlowStart }

// tick is a moment in nanoseconds since the fleet began, by the monotonic
// clock, so that a step of the wall clock moves nothing.
type tick int64

const (
	trialWins       = 2 // requests in a row that end a trial
	unreachableLeft = 2 // Unreachable in a row that speak as loudly as Consecutive failures
	holdDecay       = 10 * time.Minute
)

// outlier is one endpoint's health. report, answered and the getters may be
// called by many at once and take no lock; whoever calls anything else holds
// the pool's.
type outlier struct {
	word atomic.Uint64 // life<<8 | State; every request reads it

	_       [120]byte // keeps what follows, which requests write, off the line of word
	window  window
	streak  atomic.Int32  // failures in a row, in halves
	refused atomic.Int32  // Unreachable in a row
	pressed atomic.Int32  // times in a row it had no room and did not say for how long
	rest    atomic.Int64  // the tick until which others are to be asked first
	told    atomic.Int64  // the tick until which it asked, itself, to be left alone
	trial   atomic.Uint64 // the life in which a request is on trial; any other is none
	wins    atomic.Int32  // trials won in a row
	_       [64]byte

	since     tick     // of the state
	reason    string   // why it is not Healthy
	cause     Evidence // what put it out
	backAt    tick     // when it last came back
	held      int      // times it failed again too soon, less those that were made good
	holdUntil tick     // no coming back before
	good, bad int      // checks in a row
	ejections uint64
}

// Pass is a request's leave to try an endpoint. It remembers in which of the
// endpoint's lives it was given: of what happened to a request that began before
// the endpoint went out, nothing is held against its next life.
type Pass struct {
	life  uint64
	trial bool
}

func (o *outlier) state() State { return State(o.word.Load() & 0xff) }

func (o *outlier) life() uint64 { return o.word.Load() >> 8 }

// set moves to a state within the present life.
func (o *outlier) set(s State, reason string, now tick) {
	o.word.Store(o.life()<<8 | uint64(s))
	o.since, o.reason = now, reason
}

// begin moves to a state in a new life, in which nothing has happened yet.
func (o *outlier) begin(s State, reason string, now tick) {
	o.word.Store((o.life()+1)<<8 | uint64(s))
	o.since, o.reason = now, reason
	o.streak.Store(0)
	o.wins.Store(0)
	o.window.reset()
}

// pass lets a request try the endpoint. With onTrial there is one at a time,
// until its pass comes back by answered or report.
func (o *outlier) pass(onTrial bool) (Pass, bool) {
	word := o.word.Load()
	p := Pass{life: word >> 8}
	if !onTrial || State(word&0xff) != HalfOpen {
		return p, true
	}
	holder := o.trial.Load()
	p.trial = holder != p.life && o.trial.CompareAndSwap(holder, p.life)
	return p, p.trial
}

// wish is what a report asks the holder of the lock for.
type wish uint8

const (
	wishNothing wish = iota
	wishOut          // enough has failed: take it out
	wishIn           // the trials are won: take it in
)

// answered ends a trial well when the answer has begun: a stream may run for
// minutes, and its end is not what the trial asks for.
func (o *outlier) answered(p *Pass) wish {
	if !p.trial || p.life != o.life() {
		return wishNothing
	}
	won := o.wins.Add(1) >= trialWins
	o.release(p)
	if won {
		return wishIn
	}
	return wishNothing
}

// report books how a try ended.
func (o *outlier) report(p Pass, e Evidence, r *Ejection, now tick) wish {
	if p.life != o.life() {
		return wishNothing
	}
	state := o.state()
	w := wishNothing
	switch e {
	case Well:
		o.calm()
		o.window.add(now, 0)
		return o.answered(&p)
	case Neutral, Pressed:
	default:
		w = o.failed(e, r, now, state)
	}
	o.release(&p)
	return w
}

// release ends the trial of p, if it is one.
func (o *outlier) release(p *Pass) {
	if p.trial {
		p.trial = false
		o.trial.CompareAndSwap(p.life, 0)
	}
}

// calm forgets failures in a row. Zeros are not written again: many requests
// share the line.
func (o *outlier) calm() {
	if o.streak.Load() != 0 {
		o.streak.Store(0)
	}
	if o.refused.Load() != 0 {
		o.refused.Store(0)
	}
	if o.pressed.Load() != 0 {
		o.pressed.Store(0)
	}
}

func (o *outlier) failed(e Evidence, r *Ejection, now tick, state State) wish {
	halves := int32(2)
	if e == Slow {
		halves = 1
	}
	o.window.add(now, uint64(halves))
	streak, refused := o.streak.Add(halves), int32(0)
	if e == Unreachable {
		refused = o.refused.Add(1)
	} else {
		o.refused.Store(0)
	}
	switch {
	case state == HalfOpen:
		return wishOut
	case !state.serves():
		return wishNothing
	case refused >= unreachableLeft, streak >= 2*int32(r.Consecutive):
		return wishOut
	}
	samples, failed := o.window.sum(now)
	if samples >= uint64(r.Samples) && float64(failed)/2 > r.Rate*float64(samples) {
		return wishOut
	}
	return wishNothing
}

// press notes that the endpoint has no room, for as long as it told (at most
// maxRest) or, if it told nothing, for 1 s, 2 s, 4 s and so on. What it told is
// kept to; what we make up only lets others go first: an engine that refuses
// whatever is above its limit (TGI) works on at full load meanwhile. It reports
// whether that changes until when the endpoint is to be left alone.
func (o *outlier) press(told time.Duration, now tick) bool {
	rest := o.rest.Load()
	if told <= 0 {
		if rest > int64(now) {
			return false // many requests met the one lack of room
		}
		told = Backoff(int(o.pressed.Add(1)) - 1)
	} else {
		raise(&o.told, int64(now)+int64(min(told, maxRest)))
	}
	until := int64(now) + int64(min(told, maxRest))
	return raise(&o.rest, until)
}

// raise sets v to what is larger, and reports whether that is to.
func raise(v *atomic.Int64, to int64) bool {
	for old := v.Load(); old < to; old = v.Load() {
		if v.CompareAndSwap(old, to) {
			return true
		}
	}
	return false
}

// leave takes the endpoint out: to Ejected or, if it cannot be reached, to
// Unhealthy. random are fresh bits.
func (o *outlier) leave(to State, cause Evidence, reason string, r *Ejection, now tick, random uint64) {
	if state := o.state(); state.serves() || state == HalfOpen {
		if state == Healthy {
			o.held = max(o.held-int(time.Duration(now-o.backAt)/holdDecay), 0)
		} else {
			o.held++ // it had just come back
		}
		o.holdUntil = now + tick(holdFor(o.held, r, random))
		o.ejections++
	}
	o.cause, o.good = cause, 0
	o.begin(to, reason, now)
}

// holdFor is how long an endpoint stays out at least that failed again so many
// times: Base times that, a fifth more or less so that several do not come back
// together, at most Max.
func holdFor(times int, r *Ejection, random uint64) time.Duration {
	if times == 0 {
		return 0
	}
	jitter := 0.8 + 0.4*float64(random>>11)/(1<<53)
	return time.Duration(min(min(float64(times)*float64(r.Base), float64(r.Max))*jitter, float64(r.Max)))
}

// come takes the endpoint in: on trial, or slowly at once.
func (o *outlier) come(to State, now tick) {
	o.good, o.bad = 0, 0
	o.refused.Store(0)
	o.backAt, o.holdUntil = now, 0
	o.begin(to, "", now)
}

// win ends the trial.
func (o *outlier) win(now tick) { o.set(SlowStart, "", now) }

// probed books a check; reason is why it failed, empty if it did not. mayEject
// says whether the pool allows one more Ejected. It may be called in any state.
//
// What a check found out can only be made good by checks, and what requests
// found out only by a request: so the two never pull an endpoint to and fro.
func (o *outlier) probed(reason string, r *Rules, mayEject bool, now tick, random uint64) {
	state := o.state()
	if reason != "" {
		o.good, o.bad = 0, o.bad+1
		switch {
		case state == Unhealthy:
			o.reason = reason
		case state == HalfOpen && mayEject:
			o.leave(Ejected, Unreachable, reason, &r.Ejection, now, random)
		case o.bad+min(int(o.refused.Load()), unreachableLeft) >= r.Checks.Unhealthy:
			o.leave(Unhealthy, Unreachable, reason, &r.Ejection, now, random)
		}
		return
	}
	o.good, o.bad = o.good+1, 0
	switch {
	case state != Ejected && state != Unhealthy:
		if o.refused.Load() != 0 {
			o.refused.Store(0)
		}
	case o.good < r.Checks.Healthy:
	case now < o.holdUntil && mayEject:
		if state == Unhealthy {
			o.begin(Ejected, "failed again soon after it had come back", now)
		}
	case o.cause == Unreachable:
		o.come(SlowStart, now)
	default:
		o.come(HalfOpen, now)
	}
}

// advance lets time pass in a slow start of the given length, and returns the
// share of its weight the endpoint is to get, in tenths.
func (o *outlier) advance(slowStart time.Duration, now tick) (tenths int) {
	if o.state() != SlowStart {
		return 10
	}
	passed := time.Duration(now - o.since)
	if passed >= slowStart {
		o.set(Healthy, "", o.since+tick(slowStart))
		return 10
	}
	return max(int(10*passed/slowStart), 1)
}
