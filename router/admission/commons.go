package admission

import "sync/atomic"

// Commons is what the scopes of a Book have in common with those of other
// replicas, whose limits are the same ones. It tells the leases that want an
// exchange; making it is the owner's. Safe for concurrent use.
type Commons struct {
	stirred  chan *Lease
	replicas atomic.Int64
	leases   atomic.Uint64 // that there ever were
}

const (
	// guessedReplicas is how many there may be while nobody knows.
	guessedReplicas = 4
	// mostReplicas keeps shares calculable.
	mostReplicas = 1000
)

// NewCommons returns a commons of which nothing is known.
func NewCommons() *Commons { return &Commons{stirred: make(chan *Lease, 1024)} }

// Stirred are leases that have begun to hold or owe something. Each comes once
// and is the receiver's to look after until Lease.Rest.
func (c *Commons) Stirred() <-chan *Lease { return c.stirred }

// SetReplicas says how many replicas there are, this one included.
func (c *Commons) SetReplicas(n int64) { c.replicas.Store(min(max(n, 1), mostReplicas)) }

// Replicas is how many there are, as far as anybody knows.
func (c *Commons) Replicas() int64 {
	if n := c.replicas.Load(); n > 0 {
		return n
	}
	return guessedReplicas
}

// Owns reports whether a lease is of this commons.
func (c *Commons) Owns(l *Lease) bool { return l.commons == c }

// Share makes the book's limits those of a commons; nil makes them this
// process's own. What is used stays used.
func (b *Book) Share(c *Commons) { b.commons.Store(c) }

// lease returns the scope's lease of a kind; nil where it is not shared.
func (s *Scope) lease(k Kind) *Lease {
	c := s.book.commons.Load()
	if c == nil {
		return nil
	}
	return c.lease(&s.leases[k], s, k, nil)
}

// lease returns the window's lease of the money of a scope; nil where it is not shared.
func (w *window) leaseOf(s *Scope) *Lease {
	c := s.book.commons.Load()
	if c == nil {
		return nil
	}
	return c.lease(&w.lease, s, Money, w)
}

// lease returns what is at a place, or puts a new one there: the one of another
// commons is of no use any more.
func (c *Commons) lease(at *atomic.Pointer[Lease], s *Scope, k Kind, w *window) *Lease {
	l := at.Load()
	if l != nil && l.commons == c {
		return l
	}
	next := newLease(c, s, k, w)
	if l != nil {
		next.known.Store(l.known.Load())
	}
	at.CompareAndSwap(l, next)
	return at.Load()
}
