package idempotency

// Claim: the answer of the one request that does the work, gathered as it passes.

import (
	"bytes"
	"time"
)

const firstStep = 4 << 10

// Claim is the right to answer a key. It belongs to one goroutine, and is ended
// once, by Keep or by Drop; until then the key is taken. Memory for the answer is
// counted as it grows.
type Claim struct {
	store *Store
	entry *entry
	says  Answer // what the answer is, but for its body
	body  []byte
	lost  bool // too long, or no room: nothing is gathered any more
	ended bool
}

// Begin says what the answer is, but for its body.
func (c *Claim) Begin(a Answer) { c.says = a }

// Append gathers a piece of the answer's body, which is copied.
func (c *Claim) Append(p []byte) {
	if c.lost || c.ended {
		return
	}
	need := len(c.body) + len(p)
	if need <= cap(c.body) {
		c.body = append(c.body, p...)
		return
	}
	size := min(max(firstStep, 2*cap(c.body), need), MaxAnswer)
	if need > size || !c.room(size-cap(c.body)) {
		c.lose()
		return
	}
	c.body = append(append(make([]byte, 0, size), c.body...), p...)
}

func (c *Claim) room(n int) bool {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reserve(c.entry, int64(n))
}

// lose gives up on keeping the answer; the key stays taken.
func (c *Claim) lose() {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grow(c.entry, -int64(cap(c.body)))
	s.stats.Refused++
	c.body, c.lost = nil, true
}

// Keep ends the claim with what was gathered: until expires it is what the key was
// answered. An answer that was too long is not kept: the key is free again.
func (c *Claim) Keep(expires time.Time) {
	if c.ended {
		return
	}
	if c.lost {
		c.Drop()
		return
	}
	a := c.says
	a.Body = bytes.Clone(c.body)
	surplus := int64(cap(c.body) - len(a.Body))
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grow(c.entry, -surplus)
	s.keep(c.entry, &a, expires)
	c.ended, c.body = true, nil
}

// Drop ends the claim with nothing: the key is free again.
func (c *Claim) Drop() {
	if c.ended {
		return
	}
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(c.entry)
	c.ended, c.body = true, nil
}
