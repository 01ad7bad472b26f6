package cache

// Memory: the answers of this process, within a bound that holds at every moment.

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

// How the bound is divided, in sixteenths: most is ristretto's, which takes in
// what it is given a moment later, and not all of that. What is newest lies in
// front of it besides, so that whoever has read an answer finds it. The rest is
// for what is under way: recordings, and answers that ristretto is to take in or
// has thrown out but not let go of.
const (
	mainShare  = 13
	frontShare = 1
	shares     = 16
)

const (
	frontSlots = 1 << 10
	typical    = 4 << 10 // bytes of an answer, to guess how many there will be
	minMemory  = 1 << 20
)

// Memory keeps answers in this process, the most asked for, in a bounded number of
// bytes. Make it with NewMemory.
type Memory struct {
	limit   atomic.Int64
	used    atomic.Int64 // bytes of all that is held or gathered; never above limit
	answers atomic.Int64
	evicted atomic.Uint64 // before their time
	refused atomic.Uint64 // for which there was no room
	seed    maphash.Seed
	place   func(*Digest) uint64 // tests put in another
	main    *ristretto.Cache[uint64, *Answer]
	front   [frontSlots]atomic.Pointer[Answer]
	holders holders

	mu         sync.Mutex // guards changes of front, and the fields below
	frontBytes int64
	hand       int // the next slot to be emptied
}

// refs counts the tables that hold an answer.
type refs struct{ n atomic.Int32 }

// NewMemory makes a memory of limit bytes, at least 1 MiB.
func NewMemory(limit int64) (*Memory, error) {
	limit = max(limit, minMemory)
	m := &Memory{seed: maphash.MakeSeed()}
	m.place = func(d *Digest) uint64 { return maphash.Bytes(m.seed, d[:]) }
	m.limit.Store(limit)
	m.holders.setCapacity(limit / shares * mainShare)
	m.holders.setShare(defaultShare)
	var err error
	m.main, err = ristretto.NewCache(&ristretto.Config[uint64, *Answer]{
		NumCounters:        min(max(10*limit/typical, 1<<12), 1<<24),
		MaxCost:            limit / shares * mainShare,
		BufferItems:        64,
		IgnoreInternalCost: true,
		KeyToHash:          func(k uint64) (uint64, uint64) { return k, 0 },
		Cost:               m.weigh,
		OnEvict:            func(*ristretto.Item[*Answer]) { m.evicted.Add(1) },
		OnExit:             m.letGo,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make a cache of %d bytes: %w", limit, err)
	}
	return m, nil
}

// Get returns the answer to k, nil if there is none that is fresh. It does not
// allocate. Tables are indexed by a hash that nobody outside knows; what counts is
// that the whole key is the same.
func (m *Memory) Get(k *Key, now time.Time) *Answer {
	at := m.place(&k.Digest)
	a := m.front[at%frontSlots].Load()
	if a == nil || a.Key != *k {
		a, _ = m.main.Get(at)
	}
	if a = a.answers(k, now); a != nil && !a.holding.asked.Load() {
		a.holding.asked.Store(true)
	}
	return a
}

// Newest is Get among what was put last.
func (m *Memory) Newest(k *Key, now time.Time) *Answer {
	return m.front[m.place(&k.Digest)%frontSlots].Load().answers(k, now)
}

// Put keeps a, which must not change any more. Whoever asks after it has returned
// finds it, unless there was no room.
func (m *Memory) Put(a *Answer, now time.Time) {
	size := a.size()
	left := a.Expires.Sub(now)
	if left <= 0 || size > m.Largest() || !m.reserve(size) {
		m.refused.Add(1)
		return
	}
	m.answers.Add(1)
	a.refs.n.Store(2)
	at := m.place(&a.Key.Digest)
	m.makeRoom(a.Tenant, size)
	m.holders.join(a)
	m.putFront(a, at)
	if !m.main.SetWithTTL(at, a, 0, left) { // 0: weigh says it
		m.letGo(a) // it has too much to take in
	}
}

// weigh is what ristretto is to count for a key that it takes a in under: the bytes of
// what it has there then. Of two that it was given before it took in the first one it
// keeps that one, but would count the bytes of the second, and have more than it counts.
func (m *Memory) weigh(a *Answer) int64 {
	if there, ok := m.main.Get(m.place(&a.Key.Digest)); ok {
		a = there
	}
	return a.size()
}

// makeRoom has who has too much make room for an answer of the tenant.
func (m *Memory) makeRoom(tenant string, size int64) {
	for v := m.holders.victim(tenant, size); v != nil; v = m.holders.victim(tenant, size) {
		m.main.Del(m.place(&v.Key.Digest))
		m.evicted.Add(1)
	}
}

// Largest is the size of the largest answer that there is room for, in bytes.
func (m *Memory) Largest() int64 { return m.limit.Load() / shares * frontShare }

// putFront makes a the answer in its slot, and empties slots that were filled
// earlier until there is room.
func (m *Memory) putFront(a *Answer, at uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.takeFront(int(at % frontSlots))
	for m.frontBytes+a.size() > m.Largest() && m.frontBytes > 0 {
		m.takeFront(m.hand)
		m.hand = (m.hand + 1) % frontSlots
	}
	m.front[at%frontSlots].Store(a)
	m.frontBytes += a.size()
}

func (m *Memory) takeFront(slot int) {
	if old := m.front[slot].Swap(nil); old != nil {
		m.frontBytes -= old.size()
		m.letGo(old)
	}
}

// letGo says that one of the tables holds a no more. ristretto says it of nil, too.
func (m *Memory) letGo(a *Answer) {
	if a != nil && a.refs.n.Add(-1) == 0 {
		m.holders.leave(a)
		m.used.Add(-a.size())
		m.answers.Add(-1)
	}
}

// reserve counts n bytes more, if there is room.
func (m *Memory) reserve(n int64) bool {
	if m.used.Add(n) <= m.limit.Load() {
		return true
	}
	m.used.Add(-n)
	return false
}

// Delete forgets every answer that which is true of.
func (m *Memory) Delete(which func(*Answer) bool) (deleted int) {
	m.main.Wait() // what it has been given is there to be found
	m.mu.Lock()
	for i := range m.front {
		if a := m.front[i].Load(); a != nil && which(a) {
			m.takeFront(i)
		}
	}
	m.mu.Unlock()
	var keys []uint64
	m.main.IterValues(func(a *Answer) bool {
		if a != nil && which(a) {
			keys = append(keys, m.place(&a.Key.Digest))
		}
		return false
	})
	for _, k := range keys {
		m.main.Del(k)
	}
	return len(keys)
}

// SetLimit changes the bound. What is above a lower one is thrown out at once.
func (m *Memory) SetLimit(limit int64) {
	limit = max(limit, minMemory)
	m.holders.setCapacity(limit / shares * mainShare)
	if m.limit.Swap(limit) <= limit {
		m.main.UpdateMaxCost(limit / shares * mainShare)
		return
	}
	m.main.UpdateMaxCost(limit / shares * mainShare)
	m.mu.Lock()
	for m.frontBytes > m.Largest() {
		m.takeFront(m.hand)
		m.hand = (m.hand + 1) % frontSlots
	}
	m.mu.Unlock()
	m.shrink()
}

// shrink has ristretto throw out what is above its bound, which it does only to
// make room: one that nobody can ask for, of no bytes, is what it makes room for.
func (m *Memory) shrink() {
	excess := func() int64 { return -m.main.RemainingCost() }
	var some []uint64
	for tries := 0; excess() > 0 && tries < 8; tries++ {
		m.main.Wait()
		above := excess()
		some = some[:0]
		m.main.IterValues(func(a *Answer) bool {
			if a != nil && above > 0 {
				some = append(some, m.place(&a.Key.Digest))
				above -= a.size()
			}
			return above <= 0
		})
		for _, k := range some {
			m.main.Del(k)
			m.evicted.Add(1)
		}
		m.main.Wait()
	}
}

// Close lets go of everything, and ends the goroutines.
func (m *Memory) Close() { m.main.Close() }
