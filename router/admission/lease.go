package admission

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lifetime is how long a replica uses a lease without an exchange. What keeps
	// the leases holds it for 800 ms before it counts it as used up.
	lifetime = int64(500 * time.Millisecond)
	// renewal is after how long one that is in use is exchanged.
	renewal = lifetime / 2
	// pause is the least time between two exchanges of what is scarce, after some
	// in a row that need none.
	pause = int64(125 * time.Millisecond)
	inRow = 10
	// retry is the time between a failure and the next exchange; twice that after the
	// second one, and so on up to lifetime.
	retry = int64(50 * time.Millisecond)
	// company is how long one that is not used is kept while others are exchanged.
	company = int64(time.Second)
	// foresight is how much is asked for: what was used of late in such a time.
	foresight = 200 * time.Millisecond
	// memory is how long what another replica may have changed is believed.
	memory = int64(time.Second)
	// spareSlots is the part of all slots that replicas hold together without using them.
	spareSlots = 64
	// untouched is more credit than there is.
	untouched = math.MaxInt64
	// graceShare is the part of a budget that a replica spends on its own account.
	graceShare = 100
)

// Lease is a replica's part of a limit that several share: a credit that was
// granted to it, from which it takes without asking. Whoever talks to where the
// limit is kept makes a Bid and answers it by Grant or Fail, one at a time; until
// one is granted after a failure the lease is alone, and takes from the replica's
// share of the limit.
type Lease struct {
	Exchanging sync.Mutex // held from a Bid to its answer

	commons *Commons
	scope   *Scope
	kind    Kind
	window  *window // of money
	name    string
	home    string
	serial  uint64

	credit  atomic.Int64 // what may be taken; of slots below zero while more are used than leased
	given   atomic.Int64 // all credit there ever was, less what was handed back
	owed    atomic.Int64 // used otherwise than from credit: debts, less what was handed back
	apart   atomic.Int64 // of it, what of a rate was taken from the share since the last grant
	waiting atomic.Int64 // what requests wait for
	until   atomic.Int64 // the credit counts, in ticks
	asked   atomic.Int64 // when the last bid that was granted was made
	again   atomic.Int64 // before which another one is of no use
	known   atomic.Int64 // what is used and leased by all, as of then; of rates it is in the scope's gcra
	grace   atomic.Int64 // money spent while alone
	alone   atomic.Bool
	stirred atomic.Bool
	lowest  atomic.Int64 // credit of slots that was there at every time since the last grant, about; untouched: none was taken

	// The fields below are guarded by Exchanging.
	charged int64 // as of the last grant
	taken   int64 // likewise
	held    int64 // likewise
	paced   int64 // the tick up to which pauses for the exchanges that were made reach
	failed  int64 // exchanges since the last grant
	lively  int64 // the tick of the last grant before which it was used
	born    int64 // of what keeps the limit; 0: it has granted nothing yet
}

func newLease(c *Commons, s *Scope, k Kind, w *window) *Lease {
	l := &Lease{commons: c, scope: s, kind: k, window: w, name: leaseName(s, k, w), serial: c.leases.Add(1)}
	l.home = l.name[:strings.IndexByte(l.name, '}')+1]
	l.asked.Store(-memory)
	l.lowest.Store(untouched)
	if w != nil {
		l.known.Store(w.used.Load())
	}
	return l
}

// verdict is how a try to take ends.
type verdict uint8

const (
	taken verdict = iota
	refused
	lacking // an exchange may help
)

// Name names the limit among those that replicas share. What a tenant has stands
// together: Redis keeps names with the same text in braces on one node.
func (l *Lease) Name() string { return l.name }

// Home is what the names of limits that stand together begin with, the braces
// included.
func (l *Lease) Home() string { return l.home }

// Serial tells the lease from others that this replica has or had, of the same
// limit too: what it has used in all counts from its beginning.
func (l *Lease) Serial() uint64 { return l.serial }

// spend takes amount from the credit.
func (l *Lease) spend(amount, now int64) bool {
	for {
		credit := l.credit.Load()
		if credit < amount || now >= l.until.Load() {
			return false
		}
		if l.credit.CompareAndSwap(credit, credit-amount) {
			return true
		}
	}
}

// takeRate takes amount of a rate.
func (l *Lease) takeRate(r *Rate, amount, now int64, alone bool) (wait time.Duration, v verdict) {
	if r.Limit <= 0 || amount > r.Burst {
		return never, refused
	}
	if l.spend(amount, now) {
		return 0, taken
	}
	if !alone && !l.alone.Load() {
		return l.awaitRate(r, amount, now)
	}
	if wait, ok := l.scope.rates[l.kind].takeShare(r, amount, l.commons.Replicas(), now); !ok {
		return wait, refused
	}
	l.owed.Add(amount) // it is to be told: others may have taken all of the rate meanwhile
	l.apart.Add(amount)
	l.stir()
	return 0, taken
}

// awaitRate says whether an exchange may bring an amount that is not there.
func (l *Lease) awaitRate(r *Rate, amount, now int64) (wait time.Duration, v verdict) {
	if now-l.asked.Load() >= memory {
		return 0, lacking
	}
	more := amount - max(l.credit.Load(), 0)
	if wait := max(l.scope.rates[l.kind].wait(r, more, now), l.again.Load()-now); wait > 0 {
		return time.Duration(wait), refused
	}
	return 0, lacking
}

// takeSlot takes one of limit slots.
func (l *Lease) takeSlot(limit, now int64, alone bool) (wait time.Duration, v verdict) {
	if limit <= 0 {
		return time.Second, refused
	}
	spent := l.spend(1, now)
	if credit := l.credit.Load(); credit < l.lowest.Load() {
		l.lowest.Store(credit)
	}
	if spent {
		return 0, taken
	}
	if alone || l.alone.Load() {
		for share := max(limit/l.commons.Replicas(), 1); ; {
			credit := l.credit.Load()
			if l.given.Load()-credit >= share {
				return time.Second, refused
			}
			if l.credit.CompareAndSwap(credit, credit-1) {
				l.stir()
				return 0, taken
			}
		}
	}
	return time.Second, l.awaitSlot(now)
}

// awaitSlot is awaitRate of slots.
func (l *Lease) awaitSlot(now int64) verdict {
	if now < l.again.Load() {
		return refused
	}
	return lacking
}

// takeMoney takes amount of a budget.
func (l *Lease) takeMoney(b *Budget, amount, now int64, alone bool) verdict {
	if amount > b.MicroUSD || b.MicroUSD == 0 {
		return refused
	}
	if l.spend(amount, now) {
		return taken
	}
	if alone || l.alone.Load() {
		for most := min(b.MicroUSD-l.known.Load(), b.MicroUSD/graceShare); ; {
			grace := l.grace.Load()
			if grace+amount > most {
				return refused
			}
			if l.grace.CompareAndSwap(grace, grace+amount) {
				l.owed.Add(amount)
				l.stir()
				return taken
			}
		}
	}
	return l.awaitMoney(b, amount, now)
}

// awaitMoney is awaitRate of money.
func (l *Lease) awaitMoney(b *Budget, amount, now int64) verdict {
	left := b.MicroUSD - l.known.Load() + max(l.credit.Load(), 0)
	if now-l.asked.Load() < memory && (now < l.again.Load() || left < amount) {
		return refused
	}
	return lacking
}

// has reports whether the credit holds amount, or nothing more is to be had by
// asking.
func (l *Lease) has(amount, now int64) bool {
	return l.alone.Load() || l.credit.Load() >= amount && now < l.until.Load()
}

// correct books that more or less was used than was taken at the tick began. What
// is handed back of a lease that was exchanged since is for all to use.
func (l *Lease) correct(r *Rate, diff, began, now int64) {
	switch {
	case diff == 0:
		return
	case diff < 0 && l.asked.Load() <= began && !l.alone.Load():
		l.credit.Add(-diff)
	case r != nil && l.alone.Load():
		l.scope.rates[l.kind].add(r, diff*l.commons.Replicas(), now)
		l.owed.Add(diff)
		l.apart.Add(diff)
	default:
		l.owed.Add(diff)
	}
	l.stir()
}

// leave gives a slot back.
func (l *Lease) leave() {
	l.credit.Add(1)
	l.stir()
}

// stir hands the lease to whoever makes exchanges, unless it is there.
func (l *Lease) stir() {
	if l.stirred.Load() || !l.stirred.CompareAndSwap(false, true) {
		return
	}
	select {
	case l.commons.stirred <- l:
	default: // it is busy; the next that stirs tries again
		l.stirred.Store(false)
	}
}

// left is how much of a rate may be taken, and how long until all of it may be.
func (l *Lease) left(r *Rate, now int64) (amount int64, full time.Duration) {
	amount, full = l.scope.rates[l.kind].left(r, now)
	if l.alone.Load() {
		amount /= l.commons.Replicas()
	}
	if now < l.until.Load() {
		amount += l.credit.Load()
	}
	return amount, full
}

// rest is how much of a sum may be taken.
func (l *Lease) rest(limit, now int64) int64 {
	left := limit - l.known.Load() - max(l.grace.Load(), 0)
	if now < l.until.Load() {
		left += max(l.credit.Load(), 0)
	}
	return left
}

// LeaseState is how a lease stands, for those who watch.
type LeaseState struct {
	Alone  bool  // what keeps the limit does not answer: a share of the limit counts
	Credit int64 // what may be taken without asking
}

// state is how the lease stands.
func (l *Lease) state(now int64) *LeaseState {
	s := &LeaseState{Alone: l.alone.Load()}
	if now < l.until.Load() {
		s.Credit = max(l.credit.Load(), 0)
	}
	return s
}
