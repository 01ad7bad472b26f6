package cache

// Cache: the levels as one, and what is done to all of it.

import (
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/internal/redisx"
)

// Cache is all that is known of answers. Make it with New.
type Cache struct {
	memory *Memory
	shared atomic.Pointer[Shared] // nil: no other replica's are found
	alone  atomic.Bool            // nor looked for, though they could be
	purges purges
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
	if a = s.Get(k, now); a == nil {
		return nil
	}
	a.heard.link = c.purges.linked()
	if c.purges.outdates(a) {
		return nil
	}
	c.memory.Put(a, now)
	if c.purges.outdates(a) { // by one that began meanwhile, and did not see it
		c.memory.Delete(func(b *Answer) bool { return a == b })
		return nil
	}
	return a
}

// Share has the cache find the answers of replicas, and give them its own; nil ends
// that. It closes what it shared through before.
func (c *Cache) Share(r *redisx.Client) {
	var next *Shared
	c.purges.relink()
	if r != nil {
		next = NewShared(r, c.memory.Largest(), c)
	}
	if old := c.shared.Swap(next); old != nil {
		old.Close()
	}
}

// Put keeps a, which must not change any more, unless it was asked for before a
// purge that is about it.
func (c *Cache) Put(a *Answer, now time.Time) {
	a.heard = c.purges.heardBy(a.Asked)
	if c.purges.concerns(a) {
		return
	}
	c.memory.Put(a, now)
	if s := c.shared.Load(); s != nil && !c.alone.Load() {
		s.Put(a, now)
	}
	if c.purges.concerns(a) { // one that began meanwhile did not see it
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

// SetShare says which part of the memory, from 0 to 1, a tenant may have where it is
// full and others have something too.
func (c *Cache) SetShare(part float64) { c.memory.holders.setShare(part) }

// Drop forgets all that is in memory. Other replicas do not hear of it.
func (c *Cache) Drop() {
	c.purges.add(purge{at: time.Now()})
	c.memory.Delete(func(*Answer) bool { return true })
}

// Close lets go of everything.
func (c *Cache) Close() {
	c.Share(nil)
	c.memory.Close()
}
