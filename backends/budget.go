package backends

// How many retries a pool may make, so that an outage is not made worse by
// asking again.

import (
	"math"
	"sync/atomic"
	"time"
)

// The limits of a pool that says nothing.
const (
	DefaultBudget   = 0.2 // of the requests
	BudgetPerSecond = 10
)

const (
	budgetSeconds = 10 // the window
	minPerSecond  = 3
)

// Budget bounds the retries of a pool: in any ten seconds they are at most a
// share of its requests or, where that is more, some a second (Finagle's
// RetryBudget, with a floor that is not added on top). It outlives plans. Safe
// for concurrent use, without locks.
type Budget struct {
	share     atomic.Uint64 // in millionths
	perSecond atomic.Uint64
	base      time.Time
	// A ring of seconds. As in window: the era, retries and requests, in 16,
	// 24 and 24 bits.
	seconds [budgetSeconds]atomic.Uint64
}

// NewBudget makes a budget: share of the requests, from 0 to 1, and perSecond
// retries whatever the share comes to; below 3 that counts as 3. now is any
// moment not after the first one used.
func NewBudget(share float64, perSecond int, now time.Time) *Budget {
	b := &Budget{base: now}
	b.Set(share, perSecond)
	return b
}

// Set changes the limits; what was counted stays counted.
func (b *Budget) Set(share float64, perSecond int) {
	b.share.Store(uint64(math.Round(min(max(share, 0), 1) * 1e6)))
	b.perSecond.Store(uint64(max(perSecond, minPerSecond)))
}

// Request counts a request's first try.
func (b *Budget) Request(now time.Time) {
	second := b.at(now)
	slot, era := &b.seconds[second%budgetSeconds], second/budgetSeconds&0xffff
	for {
		v := slot.Load()
		if v>>eraShift == era {
			slot.Add(1)
			return
		}
		if slot.CompareAndSwap(v, era<<eraShift|1) {
			return
		}
	}
}

// Retry reports whether one more retry is within the budget, and counts it if
// so. A request that was refused one is not to be tried again.
func (b *Budget) Retry(now time.Time) bool {
	second := b.at(now)
	slot, era := &b.seconds[second%budgetSeconds], second/budgetSeconds&0xffff
	for {
		v := slot.Load()
		if v>>eraShift != era {
			if !slot.CompareAndSwap(v, era<<eraShift) {
				continue
			}
			v = era << eraShift
		}
		requests, retries := b.sum(second)
		perSecond := b.perSecond.Load()
		byShare := (retries+1)*1e6 <= b.share.Load()*requests
		byFloor := v>>24&low24 < perSecond && retries < budgetSeconds*perSecond
		if !byShare && !byFloor {
			return false
		}
		// Fails when anything was counted meanwhile: then look again.
		if slot.CompareAndSwap(v, v+halfUnit) {
			return true
		}
	}
}

func (b *Budget) at(now time.Time) uint64 { return uint64(max(now.Sub(b.base), 0) / time.Second) }

func (b *Budget) sum(second uint64) (requests, retries uint64) {
	for back := range min(second+1, budgetSeconds) {
		s := second - back
		if v := b.seconds[s%budgetSeconds].Load(); v>>eraShift == s/budgetSeconds&0xffff {
			requests += v & low24
			retries += v >> 24 & low24
		}
	}
	return requests, retries
}
