package authn

// Failures per client address: who fails too often is told to wait.

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	throttleShards = 256
	throttleSlots  = 32 // of a shard

	v6Bits = 64 // of an IPv6 address that tell clients apart: one has all the rest to itself
)

// Throttle counts failed authentications by client address, in memory of a fixed
// size, 132 KiB: when more addresses fail than it has room for, those forgotten
// are the ones nearest to their full allowance. It is asked of failures only, so
// that a good credential costs nothing and is never refused for its neighbours.
// Make it with NewThrottle; safe for concurrent use.
type Throttle struct {
	seed   maphash.Seed
	shards [throttleShards]throttleShard
}

type throttleShard struct {
	mu    sync.Mutex // guards slots
	slots [throttleSlots]throttled
}

// throttled is what an address has used of its allowance, as GCRA has it: a bucket
// that is empty at this moment (ITU-T I.371, the virtual scheduling algorithm).
type throttled struct {
	who     [8]byte
	emptyAt int64 // Unix nanoseconds
}

// NewThrottle returns a throttle that knows of no failure.
func NewThrottle() *Throttle { return &Throttle{seed: maphash.MakeSeed()} }

// Failed counts a failure from the address at now. It returns how long to wait
// before the next one is within the allowance of so many a minute, which may all
// come at once; 0 while this one is within it. An allowance of 0 is no bound. It
// does not allocate.
func (t *Throttle) Failed(a netip.Addr, perMinute int, now time.Time) time.Duration {
	if perMinute <= 0 {
		return 0
	}
	who := throttleKey(a)
	s := &t.shards[maphash.Bytes(t.seed, who[:])%throttleShards]
	step, at := int64(time.Minute)/int64(perMinute), now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.find(who)
	next := max(slot.emptyAt, at) + step
	if over := next - at - int64(time.Minute); over > 0 {
		return time.Duration(over)
	}
	slot.emptyAt = next
	return 0
}

// throttleKey is what stands for an address: an IPv4 address, or the network of an
// IPv6 one. They are equal in ::/32 at most, where no client is.
func throttleKey(a netip.Addr) (key [8]byte) {
	a = a.Unmap()
	if a.Is4() {
		four := a.As4()
		copy(key[4:], four[:])
		return key
	}
	sixteen := a.As16()
	copy(key[:], sixteen[:v6Bits/8])
	return key
}

// find returns the address's slot, or that of whom it takes the place.
func (s *throttleShard) find(who [8]byte) *throttled {
	least := &s.slots[0]
	for i := range s.slots {
		slot := &s.slots[i]
		if slot.who == who {
			return slot
		}
		if slot.emptyAt < least.emptyAt {
			least = slot
		}
	}
	*least = throttled{who: who}
	return least
}
