package balancer

// What is known of a backend besides our own book: what its engine tells of
// itself, and what a hosted API says is left of a quota.

import (
	"math"
	"sync/atomic"
	"time"
)

// Never is the age of what nobody has told.
const Never = time.Duration(math.MaxInt64)

// What an engine told counts whole for staleFrom, and nothing from staleAt on.
const (
	staleFrom = 2 * time.Second
	staleAt   = 10 * time.Second
)

// Freshness is how much of what was told so long ago still counts: 1 at first,
// 0 from 10 s on, and Never.
func Freshness(age time.Duration) float64 {
	switch {
	case age <= staleFrom:
		return 1
	case age >= staleAt:
		return 0
	default:
		return float64(staleAt-age) / float64(staleAt-staleFrom)
	}
}

// Signals are what one backend tells of itself. The zero value and nil know
// nothing: then every age is Never and every value 0. Must not be copied.
// Getters are safe for concurrent use; whoever sets a value is its only setter
// at that moment. Values that make no sense are not taken, and what was known is
// forgotten: a feature is off rather than wrong.
//
// now is nanoseconds of a monotonic clock, the same one in every call; ages are
// told by it.
type Signals struct {
	kv, waiting, running reading
	quota, prefixHits    reading

	slots       atomic.Int32
	kvTokens    atomic.Int64
	loadTime    atomic.Int64
	preemptions atomic.Uint64
	restarts    atomic.Uint32
}

// reading is a value and when it was told. A reader that comes between the two
// stores takes the new value for as old as the last one.
type reading struct {
	value atomic.Uint64 // bits of a float64
	at    atomic.Int64  // 0: never
}

func (r *reading) set(v float64, now int64) {
	r.value.Store(math.Float64bits(v))
	r.at.Store(max(now, 1))
}

func (r *reading) forget() { r.at.Store(0) }

func (r *reading) get(now int64) (float64, time.Duration) {
	at := r.at.Load()
	if at == 0 {
		return 0, Never
	}
	return math.Float64frombits(r.value.Load()), time.Duration(max(now-at, 0))
}

// setWithin takes v if it is a number from 0 to most, and forgets what was known
// if it is not.
func (r *reading) setWithin(v, most float64, now int64) bool {
	if !(v >= 0 && v <= most) { // NaN is neither
		r.forget()
		return false
	}
	r.set(v, now)
	return true
}

// mostRequests is more than any engine runs or holds in its queue.
const mostRequests = 1e7

// SetKV notes the share of the KV cache that is in use, from 0 to 1. Engines
// round, so a hair above 1 counts as 1. It reports whether v makes sense.
func (s *Signals) SetKV(v float64, now int64) bool {
	if v > 1 && v <= 1.01 {
		v = 1
	}
	return s.kv.setWithin(v, 1, now)
}

// KV returns the share of the KV cache that is in use.
func (s *Signals) KV(now int64) (use float64, age time.Duration) {
	if s == nil {
		return 0, Never
	}
	return s.kv.get(now)
}

// SetWaiting notes how many requests wait in the engine's own queue, whoever
// sent them. It reports whether v makes sense.
func (s *Signals) SetWaiting(v float64, now int64) bool {
	return s.waiting.setWithin(v, mostRequests, now)
}

// Waiting returns how many requests wait in the engine's own queue.
func (s *Signals) Waiting(now int64) (requests float64, age time.Duration) {
	if s == nil {
		return 0, Never
	}
	return s.waiting.get(now)
}

// SetRunning notes how many requests the engine works on, whoever sent them. It
// reports whether v makes sense.
func (s *Signals) SetRunning(v float64, now int64) bool {
	return s.running.setWithin(v, mostRequests, now)
}

// Running returns how many requests the engine works on.
func (s *Signals) Running(now int64) (requests float64, age time.Duration) {
	if s == nil {
		return 0, Never
	}
	return s.running.get(now)
}

// SetQuota notes the share of a hosted API's quota that is used up, from 0 to 1.
// It reports whether v makes sense.
func (s *Signals) SetQuota(v float64, now int64) bool { return s.quota.setWithin(v, 1, now) }

// Quota returns the share of a hosted API's quota that is used up. It is told
// with answers, so an idle backend's is old: quotas fill up again.
func (s *Signals) Quota(now int64) (used float64, age time.Duration) {
	if s == nil {
		return 0, Never
	}
	return s.quota.get(now)
}

// SetPrefixHits notes the share of prompt tokens that the engine found in its
// prefix cache of late, from 0 to 1. It reports whether v makes sense.
func (s *Signals) SetPrefixHits(v float64, now int64) bool {
	return s.prefixHits.setWithin(v, 1, now)
}

// PrefixHits returns the share of prompt tokens that the engine found in its
// prefix cache of late, all callers together.
func (s *Signals) PrefixHits(now int64) (share float64, age time.Duration) {
	if s == nil {
		return 0, Never
	}
	return s.prefixHits.get(now)
}

// SetSlots notes how many requests the engine can work on at once; below 1 is
// not known.
func (s *Signals) SetSlots(n int32) { s.slots.Store(max(n, 0)) }

// Slots returns how many requests the engine can work on at once; 0 is not known.
func (s *Signals) Slots() int32 {
	if s == nil {
		return 0
	}
	return s.slots.Load()
}

// SetKVTokens notes how many tokens the engine's KV cache holds; below 1 is not
// known.
func (s *Signals) SetKVTokens(n int64) { s.kvTokens.Store(max(n, 0)) }

// KVTokens returns how many tokens the engine's KV cache holds; 0 is not known.
func (s *Signals) KVTokens() int64 {
	if s == nil {
		return 0
	}
	return s.kvTokens.Load()
}

// loadTimeUnmeasured is what loading a model is taken to cost .
const loadTimeUnmeasured = 15 * time.Second

// SetLoadTime notes how long the backend took to load a model; below 1 is not
// known.
func (s *Signals) SetLoadTime(d time.Duration) { s.loadTime.Store(int64(max(d, 0))) }

// LoadTime returns how long the backend takes to load a model that it has not in
// memory, 15 s until that was measured. Which model a request is for decides
// whether it has to: see Request.Cold.
func (s *Signals) LoadTime() time.Duration {
	if s == nil || s.loadTime.Load() == 0 {
		return loadTimeUnmeasured
	}
	return time.Duration(s.loadTime.Load())
}

// AddPreemptions counts requests that the engine threw out to make room.
func (s *Signals) AddPreemptions(n uint64) { s.preemptions.Add(n) }

// Preemptions returns how many requests the engine has thrown out to make room
// since it is watched.
func (s *Signals) Preemptions() uint64 {
	if s == nil {
		return 0
	}
	return s.preemptions.Load()
}

// Restarted notes that the engine began a new life, with an empty cache. What
// it told before is forgotten.
func (s *Signals) Restarted() {
	s.Forget()
	s.restarts.Add(1)
}

// Restarts returns how often the engine began a new life: whatever was believed
// to lie in its cache in another one is gone.
func (s *Signals) Restarts() uint32 {
	if s == nil {
		return 0
	}
	return s.restarts.Load()
}

// Forget forgets what the engine told of its present state and of its size. A
// quota, a load time and the counts stay.
func (s *Signals) Forget() {
	s.kv.forget()
	s.waiting.forget()
	s.running.forget()
	s.prefixHits.forget()
	s.slots.Store(0)
	s.kvTokens.Store(0)
}
