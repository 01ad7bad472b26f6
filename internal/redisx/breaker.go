package redisx

import (
	"sync"
	"time"
)

// State is what a breaker does with operations.
type State uint8

// The states.
const (
	StateClosed   State = iota // they are tried
	StateHalfOpen              // one is, as a probe
	StateOpen                  // none is
)

var stateNames = [...]string{"closed", "half_open", "open"}

// String is the state as metrics write it.
func (s State) String() string { return stateNames[s] }

const (
	tolerated = 5                      // failures in a row that open it
	patience  = 250 * time.Millisecond // or as many as fit in here, two at least
	rest      = 500 * time.Millisecond // how long it is open the first time
	longest   = 2 * time.Second        // and at most, doubled from probe to probe
)

// breaker stops asking what does not answer. The zero value is closed.
type breaker struct {
	mu       sync.Mutex // guards the fields below; held for a few instructions, once for each network operation
	failures int        // in a row
	first    time.Time  // of them
	until    time.Time  // open; zero: closed
	rest     time.Duration
	probing  bool
	opened   uint64
}

// allow reports whether an operation may be tried; it has to end in succeed,
// fail or abandon.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return true
	case b.probing || now.Before(b.until):
		return false
	}
	b.probing = true
	return true
}

// succeed tells whether the breaker was not closed and now is.
func (b *breaker) succeed() (closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	closed = !b.until.IsZero() && b.probing
	if closed || b.until.IsZero() {
		b.failures, b.until, b.rest, b.probing = 0, time.Time{}, 0, false
	}
	return closed
}

// fail tells whether the breaker was closed and now is open.
func (b *breaker) fail(now time.Time) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 {
		b.first = now
	}
	b.failures++
	if !b.until.IsZero() {
		if b.probing {
			b.probing = false
			b.rest = min(2*b.rest, longest)
			b.until = now.Add(b.rest)
		}
		return false
	}
	if b.failures < tolerated && (b.failures < 2 || now.Sub(b.first) < patience) {
		return false
	}
	b.rest = rest
	b.until = now.Add(b.rest)
	b.opened++
	return true
}

// abandon ends an operation that says nothing of the other side.
func (b *breaker) abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

func (b *breaker) state(now time.Time) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return StateClosed
	case b.probing || !now.Before(b.until):
		return StateHalfOpen
	default:
		return StateOpen
	}
}
