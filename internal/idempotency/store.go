package idempotency

// The store: who may do the work, and what stays in memory.

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// MaxAnswer is the longest body that is kept, in bytes.
	MaxAnswer = 1 << 20
	// overhead is what an entry costs beside its key and body; so the bound on
	// bytes bounds the entries too.
	overhead   = 512
	sweepEvery = time.Minute
)

// Digest stands for a request: a cryptographic hash of all that makes it the same
// one.
type Digest [32]byte

// Answer is what was answered, immutable.
type Answer struct {
	Status      int
	ContentType string
	Events      bool // the body is a stream of server-sent events
	Body        []byte
}

// Verdict is what a Store knows of a key.
type Verdict uint8

// The verdicts.
const (
	First   Verdict = iota // nobody asked before: the asker has the Claim
	Running                // the same request is under way
	Kept                   // the same request was answered
	Other                  // the key stands for another request
)

// Found is the answer to Ask.
type Found struct {
	Verdict Verdict
	Claim   *Claim        // of First
	Answer  *Answer       // of Kept
	Since   time.Duration // of Running: how long it has been under way
}

// Stats are figures of a Store.
type Stats struct {
	Answers int   // kept now
	Bytes   int64 // used now, answers that are being gathered included
	Evicted uint64
	Refused uint64 // answers that were not kept: too long, or no room
}

// Store remembers answers. Make it with New.
type Store struct {
	mu      sync.Mutex // guards the fields below, and all tenants and entries
	limit   int64
	used    int64
	tenants map[string]*tenant
	heavy   byBytes // the tenants that have something to evict
	sweeper *time.Timer
	closed  bool
	stats   Stats
}

// tenant is what one tenant holds.
type tenant struct {
	name           string
	entries        map[string]*entry
	bytes          int64
	oldest, newest *entry // those that are kept, in the order they were
	at             int    // in Store.heavy; -1 when it is not there
}

// entry is one key of a tenant.
type entry struct {
	tenant     *tenant
	key        string
	digest     Digest
	began      time.Time
	expires    time.Time // of a kept one
	answer     *Answer   // nil while it is under way
	size       int64
	prev, next *entry
}

// New returns an empty store that uses at most limit bytes.
func New(limit int64) *Store {
	return &Store{limit: limit, tenants: map[string]*tenant{}}
}

// SetLimit changes the bound on memory, and evicts what is above it.
func (s *Store) SetLimit(limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.shrink()
}

// shrink evicts what is above the limit.
func (s *Store) shrink() {
	for s.used > s.limit && len(s.heavy) > 0 {
		s.evict()
	}
}

// Stats returns the figures of now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Bytes = s.used
	return st
}

// Ask says what is known of a tenant's key for a request with this digest. key is
// copied.
func (s *Store) Ask(tenantName string, key []byte, d Digest, now time.Time) Found {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[tenantName]
	if t == nil {
		t = &tenant{name: tenantName, entries: map[string]*entry{}, at: -1}
		s.tenants[tenantName] = t
	}
	e := t.entries[string(key)]
	if e != nil && e.answer != nil && !now.Before(e.expires) {
		s.remove(e)
		e = nil
	}
	switch {
	case e == nil:
		e = &entry{tenant: t, key: string(key), digest: d, began: now}
		s.tenants[tenantName] = t // remove may have taken it out
		t.entries[e.key] = e
		if n := overhead + int64(len(key)); !s.reserve(e, n) {
			s.grow(e, n) // as many as there are requests: they cost more than this
		}
		return Found{Verdict: First, Claim: &Claim{store: s, entry: e}}
	case e.digest != d:
		return Found{Verdict: Other}
	case e.answer == nil:
		return Found{Verdict: Running, Since: now.Sub(e.began)}
	}
	return Found{Verdict: Kept, Answer: e.answer}
}

// grow counts n bytes more, or fewer, for e.
func (s *Store) grow(e *entry, n int64) {
	e.size += n
	e.tenant.bytes += n
	s.used += n
	if e.tenant.at >= 0 {
		heap.Fix(&s.heavy, e.tenant.at)
	}
}

// reserve counts n bytes more for e if there is room, or room can be made: from
// the tenant that holds most, and from none that would then hold less than this
// one.
func (s *Store) reserve(e *entry, n int64) bool {
	for s.used+n > s.limit {
		if len(s.heavy) == 0 {
			return false
		}
		if from := s.heavy[0]; from != e.tenant && from.bytes < e.tenant.bytes+n {
			return false
		}
		s.evict()
	}
	s.grow(e, n)
	return true
}

// evict takes out the oldest answer of the tenant that holds most.
func (s *Store) evict() {
	s.remove(s.heavy[0].oldest)
	s.stats.Evicted++
}

// keep makes e one that has been answered.
func (s *Store) keep(e *entry, a *Answer, expires time.Time) {
	t := e.tenant
	e.answer, e.expires = a, expires
	s.stats.Answers++
	if e.prev = t.newest; e.prev != nil {
		e.prev.next = e
	} else {
		t.oldest = e
	}
	t.newest = e
	if t.at < 0 {
		heap.Push(&s.heavy, t)
	}
	if s.sweeper == nil && !s.closed {
		s.sweeper = time.AfterFunc(sweepEvery, s.sweep)
	}
	s.shrink()
}

// remove forgets e, and its tenant with its last one.
func (s *Store) remove(e *entry) {
	t := e.tenant
	delete(t.entries, e.key)
	if e.answer != nil {
		s.stats.Answers--
		if e.prev != nil {
			e.prev.next = e.next
		} else {
			t.oldest = e.next
		}
		if e.next != nil {
			e.next.prev = e.prev
		} else {
			t.newest = e.prev
		}
	}
	s.grow(e, -e.size)
	if t.oldest == nil && t.at >= 0 {
		heap.Remove(&s.heavy, t.at)
	}
	if len(t.entries) == 0 {
		delete(s.tenants, t.name)
	}
}

// sweep takes out what has expired. A tenant's answers expire in the order they
// were kept, but after a reload that shortened its lifetime: then some stay until
// those before them go, and are found to have expired when they are asked for.
func (s *Store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := time.Now()
	for _, t := range s.tenants {
		for t.oldest != nil && !now.Before(t.oldest.expires) {
			s.remove(t.oldest)
		}
	}
	s.sweeper = nil
	if len(s.heavy) > 0 {
		s.sweeper = time.AfterFunc(sweepEvery, s.sweep)
	}
}

// Close ends the sweeping.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.sweeper != nil {
		s.sweeper.Stop()
	}
}

// byBytes is a heap of tenants, the one that holds most first.
type byBytes []*tenant

func (h byBytes) Len() int           { return len(h) }
func (h byBytes) Less(i, j int) bool { return h[i].bytes > h[j].bytes }
func (h byBytes) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

// Push and Pop are container/heap's.
func (h *byBytes) Push(x any) {
	t := x.(*tenant)
	t.at = len(*h)
	*h = append(*h, t)
}

func (h *byBytes) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.at = -1
	return t
}
