// Package ring hands records from many goroutines to one without waiting: a
// bounded queue of fixed records, copied in and read in place. What finds it full
// is dropped and counted.
//
// # Concurrency
//
// Push and Dropped are for any number of goroutines; Next and Done are for one at
// a time. Nothing takes a lock or starts a goroutine. A producer that is stopped
// by the scheduler in the middle of a Push holds back what was pushed behind it
// until it runs again, but never another producer.
//
// # Ownership
//
// Push copies the record, so it keeps nothing of its argument but what that
// points to. The record that Next lends belongs to the ring again with Done, which
// clears it.
package ring

import (
	"math/bits"
	"sync/atomic"
)

// MaxRecords is the largest capacity of a Ring.
const MaxRecords = 1 << 20

// Ring is a bounded queue of records, after D. Vyukov's bounded MPMC queue with
// its consumer side cut down to one. New makes one.
type Ring[T any] struct {
	slots []slot[T]
	mask  uint64

	_       cacheLine
	tail    atomic.Uint64 // where the next record goes
	_       cacheLine
	dropped atomic.Uint64
	_       cacheLine
	head    uint64 // the oldest record; the consumer's own
}

// slot is free for the record number turn when turn is a multiple of the capacity
// away from its index, and holds record number turn-1 when it is one more.
type slot[T any] struct {
	turn   atomic.Uint64
	record T
}

// cacheLine keeps what producers and the consumer write apart.
type cacheLine [64]byte

// New makes a ring that holds at least capacity records: the next power of two,
// within 2 and MaxRecords.
func New[T any](capacity int) *Ring[T] {
	capacity = min(max(capacity, 2), MaxRecords)
	size := 1 << bits.Len(uint(capacity-1))
	r := &Ring[T]{slots: make([]slot[T], size), mask: uint64(size - 1)}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	return r
}

// Push copies *record into the ring, or drops and counts it when the ring is
// full. It never waits and does not allocate.
func (r *Ring[T]) Push(record *T) (ok bool) {
	at := r.tail.Load()
	for {
		s := &r.slots[at&r.mask]
		switch ahead := int64(s.turn.Load() - at); {
		case ahead == 0:
			if r.tail.CompareAndSwap(at, at+1) {
				s.record = *record
				s.turn.Store(at + 1)
				return true
			}
		case ahead < 0: // still holds the record of the last round
			r.dropped.Add(1)
			return false
		}
		at = r.tail.Load()
	}
}

// Next lends the oldest record, nil when there is none; the same one until Done.
func (r *Ring[T]) Next() *T {
	s := &r.slots[r.head&r.mask]
	if s.turn.Load() != r.head+1 {
		return nil
	}
	return &s.record
}

// Done gives back what Next lent, and makes room for another record.
func (r *Ring[T]) Done() {
	s := &r.slots[r.head&r.mask]
	if s.turn.Load() != r.head+1 {
		panic("BUG: gave back a record that was not lent")
	}
	s.record = *new(T) // holds on to nothing
	s.turn.Store(r.head + uint64(len(r.slots)))
	r.head++
}

// Dropped returns how many records found the ring full since New.
func (r *Ring[T]) Dropped() uint64 { return r.dropped.Load() }
