package cache

// Cache: the levels as one, and what is done to all of it.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/internal/redisx"
)

// Cache is all that is known of answers. Make it with New.
type Cache struct {
	memory *Memory
	shared atomic.Pointer[Shared] // nil: no other replica's are found
	alone  atomic.Bool            // nor looked for, though they could be

	mu     sync.Mutex // guards the fields below
	purges []purge
}

// Stats are figures of a Cache.
type Stats struct {
	Limit   int64        `json:"limit_bytes"`
	Bytes   int64        `json:"bytes"`            // used now, answers that are being gathered included
	Answers int64        `json:"answers"`          // kept now
	Evicted uint64       `json:"evicted"`          // answers that made room for others, or had ended
	Refused uint64       `json:"refused"`          // answers that were not kept: too long, or no room
	Shared  *SharedStats `json:"shared,omitempty"` // nil where replicas do not share
}

// New returns an empty cache that uses at most limit bytes.
func New(limit int64) (*Cache, error) {
	m, err := NewMemory(limit)
	if err != nil {
		return nil, err
	}
	return &Cache{memory: m}, nil
}

// Get returns the answer to k, nil if none is known that is fresh. Where replicas
// share, it waits for at most 5 ms.
func (c *Cache) Get(k *Key, now time.Time) *Answer {
	a := c.memory.Get(k, now)
	if a != nil {
		return a
	}
	s := c.shared.Load()
	if s == nil || c.alone.Load() {
		return nil
	}
	if a = s.Get(k, now); a == nil || c.purged(a, skew) {
		return nil
	}
	c.memory.Put(a, now)
	return a
}

// Share has the cache find the answers of replicas, and give them its own; nil ends
// that. It closes what it shared through before.
func (c *Cache) Share(r *redisx.Client) {
	var next *Shared
	if r != nil {
		next = NewShared(r, c.memory.Largest(), c.learn)
	}
	if old := c.shared.Swap(next); old != nil {
		old.Close()
	}
}

// Put keeps a, which must not change any more, unless it was asked for before a
// purge that is about it.
func (c *Cache) Put(a *Answer, now time.Time) {
	if c.purged(a, 0) {
		return
	}
	c.memory.Put(a, now)
	if s := c.shared.Load(); s != nil && !c.alone.Load() {
		s.Put(a, now)
	}
	if c.purged(a, 0) { // one that began meanwhile did not see it
		c.memory.Delete(func(b *Answer) bool { return a == b })
	}
}

// Stats returns the figures of now.
func (c *Cache) Stats() Stats {
	m := c.memory
	stats := Stats{
		Limit: m.limit.Load(), Bytes: m.used.Load(), Answers: m.answers.Load(),
		Evicted: m.evicted.Load(), Refused: m.refused.Load(),
	}
	if s := c.shared.Load(); s != nil {
		shared := s.Stats()
		stats.Shared = &shared
	}
	return stats
}

// SetAlone says whether answers are to be shared at all; purges are told and heard
// in any case.
func (c *Cache) SetAlone(alone bool) { c.alone.Store(alone) }

// SetLimit changes the bound on memory. What is above a lower one is thrown out.
func (c *Cache) SetLimit(limit int64) { c.memory.SetLimit(limit) }

// Drop forgets all that is in memory. Other replicas do not hear of it.
func (c *Cache) Drop() {
	c.remember(purge{at: time.Now()})
	c.memory.Delete(func(*Answer) bool { return true })
}

// Close lets go of everything.
func (c *Cache) Close() {
	c.Share(nil)
	c.memory.Close()
}

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

// Purge forgets the answers that fit, and will not keep those that are under way;
// other replicas that share hear of it within a second or two. It returns how many
// were in memory, and whether the others could not be told.
func (c *Cache) Purge(which Selection, now time.Time) (deleted int, err error) {
	c.remember(purge{which, now})
	deleted = c.memory.Delete(which.fits)
	if s := c.shared.Load(); s != nil {
		err = s.Purge(which, now)
	}
	return deleted, err
}

// learn is Purge by another replica, whose clock may be another one. Those of this
// one come back, too.
func (c *Cache) learn(which Selection, at time.Time) {
	if time.Since(at) > pastAsked || c.remembers(which, at) {
		return
	}
	until := at.Add(skew)
	c.remember(purge{which, until})
	c.memory.Delete(func(a *Answer) bool { return which.fits(a) && !a.Asked.After(until) })
}

func (c *Cache) remember(p purge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	recent := c.purges[:0]
	for _, old := range c.purges {
		if p.at.Sub(old.at) < pastAsked {
			recent = append(recent, old)
		}
	}
	if c.purges = append(recent, p); len(c.purges) > maxPurges {
		c.purges = append(c.purges[:0], purge{at: p.at}) // one for all: what is under way is not kept
	}
}

func (c *Cache) remembers(which Selection, at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.purges {
		if p := &c.purges[i]; p.Selection == which && p.at.UnixMilli() == at.UnixMilli() {
			return true
		}
	}
	return false
}

// purged reports whether a was asked for before a purge that is about it. margin is
// by how much the clock that timed it may be ahead.
func (c *Cache) purged(a *Answer, margin time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.purges {
		if p := &c.purges[i]; !a.Asked.Add(-margin).After(p.at) && p.fits(a) {
			return true
		}
	}
	return false
}
