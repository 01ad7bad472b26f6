package cache

// Cache: the levels as one, and what is done to all of it.

import (
	"sync"
	"time"
)

// Cache is all that is known of answers. Make it with New.
type Cache struct {
	memory *Memory

	mu     sync.Mutex // guards the fields below
	purges []purge
}

// Stats are figures of a Cache.
type Stats struct {
	Limit   int64  `json:"limit_bytes"`
	Bytes   int64  `json:"bytes"`   // used now, answers that are being gathered included
	Answers int64  `json:"answers"` // kept now
	Evicted uint64 `json:"evicted"` // answers that made room for others, or had ended
	Refused uint64 `json:"refused"` // answers that were not kept: too long, or no room
}

// New returns an empty cache that uses at most limit bytes.
func New(limit int64) (*Cache, error) {
	m, err := NewMemory(limit)
	if err != nil {
		return nil, err
	}
	return &Cache{memory: m}, nil
}

// Get returns the answer to k, nil if none is known that is fresh.
func (c *Cache) Get(k *Key, now time.Time) *Answer { return c.memory.Get(k, now) }

// Put keeps a, which must not change any more, unless it was asked for before a
// purge that is about it.
func (c *Cache) Put(a *Answer, now time.Time) {
	if c.purged(a) {
		return
	}
	c.memory.Put(a, now)
	if c.purged(a) { // one that began meanwhile did not see it
		c.memory.Delete(func(b *Answer) bool { return a == b })
	}
}

// Stats returns the figures of now.
func (c *Cache) Stats() Stats {
	m := c.memory
	return Stats{
		Limit: m.limit.Load(), Bytes: m.used.Load(), Answers: m.answers.Load(),
		Evicted: m.evicted.Load(), Refused: m.refused.Load(),
	}
}

// SetLimit changes the bound on memory. What is above a lower one is thrown out.
func (c *Cache) SetLimit(limit int64) { c.memory.SetLimit(limit) }

// Close lets go of everything.
func (c *Cache) Close() { c.memory.Close() }

// Selection says which answers a purge is about: those that fit all fields that
// are not zero.
type Selection struct {
	Tenant string
	Model  string
	Digest Digest
}

// fits reports whether the purge is about a.
func (s *Selection) fits(a *Answer) bool {
	return (s.Tenant == "" || s.Tenant == a.Tenant) && (s.Model == "" || s.Model == a.Model) &&
		(s.Digest == Digest{} || s.Digest == a.Key.Digest)
}

// purge is a Selection, and when it was purged.
type purge struct {
	Selection
	at time.Time
}

const (
	maxPurges = 256            // that are remembered one by one
	pastAsked = 25 * time.Hour // nothing that was asked before is still under way
)

// Purge forgets the answers that fit, and will not keep those that are under way.
// It returns how many were in memory.
func (c *Cache) Purge(s Selection, now time.Time) (deleted int) {
	c.mu.Lock()
	recent := c.purges[:0]
	for _, p := range c.purges {
		if now.Sub(p.at) < pastAsked {
			recent = append(recent, p)
		}
	}
	if c.purges = append(recent, purge{s, now}); len(c.purges) > maxPurges {
		c.purges = append(c.purges[:0], purge{at: now}) // one for all: what is under way is not kept
	}
	c.mu.Unlock()
	return c.memory.Delete(s.fits)
}

// purged reports whether a was asked for before a purge that is about it.
func (c *Cache) purged(a *Answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.purges {
		if p := &c.purges[i]; !a.Asked.After(p.at) && p.fits(a) {
			return true
		}
	}
	return false
}
