package redisx

import (
	"sync/atomic"
	"time"
)

type counts struct {
	operations atomic.Uint64
	failed     [numKinds]atomic.Uint64
}

// Stats are what a client has done since it was opened.
type Stats struct {
	Operations uint64            // that were tried
	Failed     map[string]uint64 // of all, by the name of the kind; every kind is there
	State      State             // of the breaker, now; of several the worst
	Opened     uint64            // times one opened
}

// Stats returns what the client has done. The caller owns the answer.
func (c *Client) Stats() Stats {
	s := Stats{Operations: c.counts.operations.Load(), Failed: make(map[string]uint64, numKinds)}
	for k := range numKinds {
		s.Failed[k.String()] = c.counts.failed[k].Load()
	}
	now := time.Now()
	for i := range c.breakers {
		b := &c.breakers[i]
		s.State = max(s.State, b.state(now))
		b.mu.Lock()
		s.Opened += b.opened
		b.mu.Unlock()
	}
	return s
}
