package router

import (
	"sync"
	"sync/atomic"
	"time"
)

// This file remembers which models fell back to a later priority, so that a
// primary which flaps does not thrash two sets of caches.

// Fallbacks is what every model remembers of that, whatever the plan. The zero
// value is ready; safe for concurrent use.
type Fallbacks struct {
	mu     sync.Mutex // guards models
	models map[string]*fallback
}

// fallback is until when a model stays with a later group, and with which.
type fallback struct {
	until atomic.Int64 // Unix nanoseconds
	group atomic.Int32
}

func (f *Fallbacks) of(model string) *fallback {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.models == nil {
		f.models = make(map[string]*fallback)
	}
	m := f.models[model]
	if m == nil {
		m = new(fallback)
		f.models[model] = m
	}
	return m
}

// first is the group to begin with, of n.
func (f *fallback) first(now time.Time, n int) int {
	if n == 1 || f.until.Load() <= now.UnixNano() {
		return 0
	}
	return min(int(f.group.Load()), n-1)
}

// fell notes that a request found only a later group's backends usable.
func (f *fallback) fell(group int, now time.Time, hold time.Duration) {
	f.group.Store(int32(group))
	f.until.Store(now.Add(hold).UnixNano())
}
