package router

import (
	"sync"
	"time"
)

// quiet lets through one event a second and counts the others.
type quiet struct {
	mu      sync.Mutex // guards the fields below
	next    time.Time
	dropped int
}

// allow reports whether this event may pass, and how many did not before it.
func (q *quiet) allow(now time.Time) (dropped int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Before(q.next) {
		q.dropped++
		return 0, false
	}
	dropped, q.dropped = q.dropped, 0
	q.next = now.Add(time.Second)
	return dropped, true
}
