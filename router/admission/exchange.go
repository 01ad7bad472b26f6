package admission

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Mode is what becomes of what was used.
type Mode uint8

// The modes.
const (
	Flow  Mode = iota // it flows off: a rate
	Sum               // it stays used: a budget
	Slots             // it comes back
)

var modeNames = [...]string{"flow", "sum", "slots"}

// String is the mode as it is sent.
func (m Mode) String() string { return modeNames[m] }

// Bid is what a replica says and asks in an exchange.
type Bid struct {
	Mode   Mode
	Size   int64         // of the limit: what may be used and leased together
	Unit   float64       // of a flow: microseconds in which one flows off; else 1
	Keep   int64         // the least to hold afterwards: it may be in use
	Need   int64         // what to hold if it can be had, from Keep on
	Want   int64         // what is welcome; negative: the lease is handed back
	Charge int64         // all that this replica has ever used
	Apart  int64         // what of it was taken from its share, since the last grant
	Acked  int64         // what of it was known at the last grant
	Held   int64         // what was granted then
	Born   int64         // and of what; 0: of nothing yet
	Seed   int64         // microseconds, or amount, that are used as far as this replica knows; for what knows nothing
	Last   time.Duration // how long a sum has to be remembered; 0: for good

	withdrawn, used, at int64
	busy                bool
}

// Grant is the answer to a bid.
type Grant struct {
	Total    int64 // what the replica holds now
	Level    int64 // microseconds until all that was used has flowed off, or the sum
	Leased   int64 // what all replicas hold together
	Replicas int64 // that hold something, the asking one included
	Born     int64 // names what keeps the limit: another one has forgotten everything
}

// Bid begins an exchange: for need more than there is at the moment, or to hand
// the lease back (quit), or else to renew it. ok is false where nothing has this
// limit any more.
func (l *Lease) Bid(t time.Time, need int64, quit bool) (b Bid, ok bool) {
	if !l.measure(&b, t) {
		l.drop()
		return b, false
	}
	b.at = ticks(t)
	credit := l.credit.Load()
	if need > 0 || quit || credit < 0 { // nobody may spend what is handed back
		b.withdrawn = l.credit.Swap(0)
		l.given.Add(-b.withdrawn)
		credit = 0
	}
	b.used = l.given.Load() - credit
	spare := b.used/4 + 1 + b.Size/spareSlots/l.commons.Replicas() + l.waiting.Load()
	if excess := min(credit, l.lowest.Load()) - spare; b.Mode == Slots && excess > 0 { // some of it, for what is used swings
		credit = l.withdraw(&b, (excess+3)/4)
		b.used = l.given.Load() - credit
	}
	fresh := b.used - l.taken
	b.Keep, b.Need = credit, credit+need
	b.Acked, b.Held, b.Born = l.charged, l.held, l.born
	b.busy = l.busy(b.used)
	if b.Mode == Slots {
		b.Keep, b.Need = b.Keep+b.used, b.Need+b.used
		b.Want = max(b.Keep, b.used+spare)
	} else {
		b.Apart = l.apart.Load()
		b.Charge = b.used + l.owed.Load()
		elapsed := max(b.at-l.asked.Load(), int64(foresight/20))
		b.Want = max(b.Need, l.waiting.Load(), int64(min(float64(fresh)*float64(foresight)/float64(elapsed), float64(b.Size))))
	}
	if quit {
		b.Need, b.Want = b.Keep, -1
	}
	return b, true
}

// withdraw takes up to amount of the credit away, and returns what is left of it.
func (l *Lease) withdraw(b *Bid, amount int64) (credit int64) {
	for {
		credit = l.credit.Load()
		n := max(min(amount, credit), 0)
		if l.credit.CompareAndSwap(credit, credit-n) {
			b.withdrawn += n
			l.given.Add(-n)
			return credit - n
		}
	}
}

// drop gives up a lease whose limit nothing has any more. What it holds counts as
// used where the limit was kept.
func (l *Lease) drop() {
	l.given.Add(-l.credit.Swap(0))
	l.taken = l.given.Load()
	l.charged, l.held = l.taken+l.owed.Load(), 0
	l.apart.Store(0)
	l.alone.Store(false)
}

// measure says how big the limit is, and what is known of it.
func (l *Lease) measure(b *Bid, t time.Time) bool {
	b.Unit = 1
	rules := l.scope.rules.Load()
	if rules == nil {
		return false
	}
	switch l.kind {
	case Concurrent:
		if rules.Concurrent == nil {
			return false
		}
		b.Mode, b.Size = Slots, *rules.Concurrent
	case Money:
		if rules.Budget == nil {
			return false
		}
		b.Mode, b.Size, b.Seed = Sum, rules.Budget.MicroUSD, l.known.Load()-l.held
		if end := l.window.untilEnd(t); end >= 0 {
			b.Last = end + 24*time.Hour
		}
	default:
		r := rules.rate(l.kind)
		if r == nil || r.Limit == 0 {
			return false
		}
		b.Mode, b.Size = Flow, r.Burst
		b.Unit = float64(r.Period.Microseconds()) / float64(r.Limit)
		b.Seed = (l.scope.rates[l.kind].tat.Load() - ticks(t) - r.span(l.held)) / 1000
	}
	b.Seed = max(b.Seed, 0)
	return true
}

// Grant ends an exchange that was answered. An answer that cannot be is not
// believed, and the exchange is yet to be ended by Fail.
func (l *Lease) Grant(b *Bid, g Grant) (believed bool) {
	if g.Total < b.Keep || g.Total > max(b.Size, b.Need, b.Keep) || g.Leased < g.Total || g.Leased > 1<<60 ||
		g.Level < 0 || g.Level > 1<<53 || g.Replicas < 1 || g.Replicas > 1<<20 || g.Born <= 0 {
		return false
	}
	if b.busy {
		l.lively = b.at
	}
	more := g.Total - b.Keep
	l.charged, l.taken, l.held, l.born, l.failed = b.Charge, b.used, g.Total, g.Born, 0
	l.apart.Add(-b.Apart)
	l.given.Add(more)
	l.credit.Add(more)
	l.lowest.Store(untouched)
	l.until.Store(b.at + lifetime)
	l.asked.Store(b.at)
	l.remember(b, &g)
	l.grace.Store(0)
	l.alone.Store(false)
	return true
}

// remember keeps what a grant tells of the limit.
func (l *Lease) remember(b *Bid, g *Grant) {
	free := float64(b.Size-g.Leased) - float64(g.Level)/b.Unit
	l.known.Store(g.Level + g.Leased)
	scarce := free < 1 || g.Total < b.Need
	wait := pause
	switch b.Mode {
	case Slots:
		l.known.Store(g.Leased)
	case Flow:
		r := l.rate()
		if r == nil {
			return
		}
		leased := min(r.span(g.Leased), math.MaxInt64/4)
		l.scope.rates[l.kind].tat.Store(b.at + min(g.Level, math.MaxInt64/4000)*1000 + leased)
		// Twice what all take in a pause: then nobody waits for the rest of it.
		scarce = scarce || free < 2*max(float64(g.Replicas), float64(pause)/1000/b.Unit)
		wait = min(pause, r.room)
	}
	l.paced = min(max(l.paced, b.at), b.at+inRow*wait) + wait
	switch {
	case g.Total < b.Need && b.Mode != Flow: // nobody knows when there will be more
		l.again.Store(b.at + wait)
	case scarce:
		l.again.Store(l.paced - inRow*wait)
	default:
		l.again.Store(b.at)
	}
}

// rate is the rule of the lease's kind; nil: there is none any more.
func (l *Lease) rate() *Rate {
	if rules := l.scope.rules.Load(); rules != nil {
		return rules.rate(l.kind)
	}
	return nil
}

// Fail ends an exchange that was not answered. Whether it was heard is unknown;
// the next one says all of it again, soon: one answer that is late is not yet a
// failure of what keeps the limit.
func (l *Lease) Fail(b *Bid) {
	l.given.Add(b.withdrawn)
	l.credit.Add(b.withdrawn)
	l.again.Store(b.at + min(retry<<min(l.failed, 8), lifetime))
	l.failed++
	l.alone.Store(true)
}

// Want counts what a request waits for, so that an exchange made meanwhile asks
// for it too; a negative amount ends it.
func (l *Lease) Want(amount int64) { l.waiting.Add(amount) }

// Asked tells one granted bid from the next.
func (l *Lease) Asked() int64 { return l.asked.Load() }

// Alone reports whether the lease takes from this replica's share of the limit.
func (l *Lease) Alone() bool { return l.alone.Load() }

// Task is what a lease wants of whoever makes exchanges.
type Task uint8

// The tasks.
const (
	Nothing Task = iota
	Renew
	Quit
	Forget // it holds and owes nothing
)

// Task says what the lease wants now; nothing while somebody has it in an exchange.
func (l *Lease) Task(t time.Time) Task {
	if !l.Exchanging.TryLock() {
		return Nothing
	}
	defer l.Exchanging.Unlock()
	return l.task(ticks(t), renewal, 0)
}

// Along says what a lease, whose Exchanging the caller holds, wants of an exchange
// that is made anyway: if it is renewed with others, all of them want the next at
// the same time, and the next request finds it.
func (l *Lease) Along(t time.Time) Task { return l.task(ticks(t), pause/2, company) }

// task is what the lease wants, if one that is in use, or was until so long ago, is
// renewed after a time.
func (l *Lease) task(now, renewed, kept int64) Task {
	since := now - l.asked.Load()
	credit := l.credit.Load()
	used := l.given.Load() - credit
	owing, busy, low := used+l.owed.Load() != l.charged, l.busy(used), l.held/2
	if l.kind == Concurrent {
		owing, low = false, 1
	}
	lively := busy || now-l.lively < kept
	switch {
	case l.alone.Load():
		if now >= l.again.Load() {
			return Renew
		}
	case l.held == 0 && !owing && !busy:
		return Forget
	case !lively && (since >= renewal || owing && since >= pause):
		return Quit
	case lively && since >= renewed, since >= pause && credit < low && now >= l.again.Load():
		return Renew
	}
	return Nothing
}

// busy reports whether it was used since the last grant, given what is used in all.
func (l *Lease) busy(used int64) bool {
	if l.kind == Concurrent {
		return used != 0 || l.lowest.Load() != untouched
	}
	return used != l.taken
}

// Rest takes the lease out of the hands of whoever makes exchanges, until it is
// stirred again. A lease that has stirred meanwhile comes back at once.
func (l *Lease) Rest(t time.Time) {
	l.stirred.Store(false)
	if l.Task(t) != Forget {
		l.stir()
	}
}

// Stir puts the lease into the hands of whoever makes exchanges.
func (l *Lease) Stir() { l.stir() }

// leaseName names a limit among those of all scopes.
func leaseName(s *Scope, k Kind, w *window) string {
	tag := "{router}"
	switch s.Level {
	case Key:
		tenant, _, _ := strings.Cut(s.Name, "/")
		tag = "{tenant:" + tenant + "}"
	case Tenant, TenantModel:
		tenant, _, _ := strings.Cut(s.Name, " ")
		tag = "{tenant:" + tenant + "}"
	case Model:
		tag = "{model:" + s.Name + "}"
	}
	name := tag + ":" + s.Level.String() + ":" + s.Name + ":" + k.String()
	if w != nil {
		name += ":" + strconv.FormatInt(w.from, 10) + "-" + strconv.Itoa(int(w.per))
	}
	return name
}
