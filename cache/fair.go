package cache

// Fair: a tenant that has much in memory makes room itself where others have
// something too, so that a flood of things that nobody asks again throws out its own.

import (
	"sync"
	"sync/atomic"
)

const (
	wholeShare   = 1.0
	defaultShare = 0.25
	mostSpared   = 64 // answers that are passed over in a search, for they were asked again
)

// holding is an answer's place among those of its tenant.
type holding struct {
	asked        atomic.Bool // again, since it was last passed over
	by           *holder     // nil: of nobody any more; this and the others with the lock of holders held
	older, newer *Answer
}

// holder is what a tenant has in memory.
type holder struct {
	tenant         string
	bytes          int64
	oldest, newest *Answer
}

// holders are all tenants that have something. Safe for concurrent use.
type holders struct {
	mu       sync.Mutex // guards the fields below
	of       map[string]*holder
	large    []*holder // those that have more than their share: a few at most
	bytes    int64     // of all
	capacity int64
	part     float64 // of capacity, is a tenant's share
}

// setCapacity says how much all may have together.
func (hs *holders) setCapacity(bytes int64) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.capacity = bytes
	hs.sort()
}

// setShare says which part of that a tenant may have where others have something.
func (hs *holders) setShare(part float64) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.part = part
	hs.sort()
}

// sort finds anew who has more than its share.
func (hs *holders) sort() {
	hs.large = hs.large[:0]
	for _, h := range hs.of {
		if hs.isLarge(h) {
			hs.large = append(hs.large, h)
		}
	}
}

func (hs *holders) isLarge(h *holder) bool {
	return hs.part < wholeShare && float64(h.bytes) > hs.part*float64(hs.capacity)
}

// add notes that h has so many bytes more.
func (hs *holders) add(h *holder, bytes int64) {
	before := hs.isLarge(h)
	h.bytes += bytes
	hs.bytes += bytes
	switch now := hs.isLarge(h); {
	case now && !before:
		hs.large = append(hs.large, h)
	case before && !now:
		for i, other := range hs.large {
			if other == h {
				hs.large = append(hs.large[:i], hs.large[i+1:]...)
				break
			}
		}
	}
}

// join makes a its tenant's newest.
func (hs *holders) join(a *Answer) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.of[a.Tenant]
	if h == nil {
		if hs.of == nil {
			hs.of = make(map[string]*holder)
		}
		h = &holder{tenant: a.Tenant}
		hs.of[a.Tenant] = h
	}
	hs.add(h, a.size())
	h.push(a)
}

// leave is join's end; further calls do nothing.
func (hs *holders) leave(a *Answer) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if a.holding.by != nil {
		hs.remove(a)
	}
}

// remove is leave with the lock held.
func (hs *holders) remove(a *Answer) {
	h := a.holding.by
	h.take(a)
	hs.add(h, -a.size())
	if h.oldest == nil {
		delete(hs.of, h.tenant)
	}
}

func (h *holder) push(a *Answer) {
	a.holding.by, a.holding.older, a.holding.newer = h, h.newest, nil
	if h.newest != nil {
		h.newest.holding.newer = a
	} else {
		h.oldest = a
	}
	h.newest = a
}

func (h *holder) take(a *Answer) {
	older, newer := a.holding.older, a.holding.newer
	if older != nil {
		older.holding.newer = newer
	} else {
		h.oldest = newer
	}
	if newer != nil {
		newer.holding.older = older
	} else {
		h.newest = older
	}
	a.holding.by, a.holding.older, a.holding.newer = nil, nil, nil
}

// victim takes out what is to make room for an answer of the tenant, of so many
// bytes: the oldest of who has most, but for what was asked again. nil: there is room,
// or nobody has more than its share, or nobody else has anything; then ristretto
// decides.
func (hs *holders) victim(tenant string, bytes int64) *Answer {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.bytes+bytes <= hs.capacity || len(hs.large) == 0 {
		return nil
	}
	most := hs.large[0]
	for _, h := range hs.large[1:] {
		if h.bytes > most.bytes {
			most = h
		}
	}
	if most.tenant == tenant && most.bytes == hs.bytes {
		return nil
	}
	for range mostSpared {
		a := most.oldest
		if !a.holding.asked.Swap(false) {
			break
		}
		most.take(a)
		most.push(a)
	}
	a := most.oldest
	hs.remove(a)
	return a
}
