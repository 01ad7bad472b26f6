package admission

import "time"

// maxScopes is how many scopes one request can fall under: one of each level.
const maxScopes = int(NumLevels)

// Demand is what a request is expected to use.
type Demand struct {
	Tokens   int64
	MicroUSD int64
}

// Refusal is why a request may not start.
type Refusal struct {
	Scope *Scope
	Kind  Kind
	Limit int64         // of the rule, in its unit
	Asked int64         // what was asked for
	Wait  time.Duration // until it may be asked again; negative: that will never help

	Lacks *Lease // not refused yet: the lease has to be asked for Asked, perhaps with other Shortages, then the same call made again
}

// Ticket is what one request holds. The zero Ticket holds nothing.
type Ticket struct {
	holds    [maxScopes]hold
	n        int
	reserved Demand
	began    int64 // the tick of the first arrival
	alone    bool  // no lease is asked any more
	settled  bool  // what was held is only remembered, for what it left
}

// hold is what is held of one scope, by the rules of the time it was taken.
type hold struct {
	scope  *Scope
	rules  *Rules
	window *window
	slot   *Lease // what a slot was taken from; nil: this process's own
	taken  kinds
	passed kinds // taken, or let pass
	shared kinds // taken from a lease
}

// kinds is a set of them.
type kinds uint8

func (s kinds) has(k Kind) bool { return s&(1<<k) != 0 }

func (s *kinds) add(k Kind) { *s |= 1 << k }

// Arrive takes the request rate of scopes, all or none; it may be called again,
// when more of them are known. A nil scope has no limits. If it refuses, what an
// earlier call took is given back too; if it lacks a lease, all is kept.
func (t *Ticket) Arrive(now time.Time, scopes ...*Scope) (no Refusal, ok bool) {
	if t.settled {
		*t = Ticket{}
	}
	if t.n == 0 {
		t.began = ticks(now)
	}
	for _, s := range scopes {
		t.hold(s)
	}
	for i := range t.holds[:t.n] {
		h := &t.holds[i]
		if !h.take(Requests, 1, now, t.alone, &no) {
			t.refuse(&no, now)
			return no, false
		}
	}
	return no, true
}

// refuse gives everything back, unless a lease is lacking.
func (t *Ticket) refuse(no *Refusal, now time.Time) {
	if no.Lacks == nil {
		t.giveBack(now)
	}
}

// GoAlone has the ticket take from this replica's shares where leases are
// lacking.
func (t *Ticket) GoAlone() { t.alone = true }

// Admit takes everything else of the scopes that have arrived, all or none. If it
// refuses, what Arrive took is given back too; if it lacks a lease, all is kept.
func (t *Ticket) Admit(now time.Time, d Demand) (no Refusal, ok bool) {
	t.reserved = d
	for i := range t.holds[:t.n] {
		h := &t.holds[i]
		if !h.take(Concurrent, 1, now, t.alone, &no) || !h.take(Tokens, d.Tokens, now, t.alone, &no) ||
			!h.take(DailyTokens, d.Tokens, now, t.alone, &no) || !h.take(Money, d.MicroUSD, now, t.alone, &no) {
			t.refuse(&no, now)
			return no, false
		}
	}
	return no, true
}

// hold makes room for what is held of a scope, if it has limits.
func (t *Ticket) hold(s *Scope) {
	if s == nil {
		return
	}
	for i := range t.holds[:t.n] {
		if t.holds[i].scope == s {
			return
		}
	}
	if r := s.rules.Load(); r != nil {
		t.holds[t.n] = hold{scope: s, rules: r}
		t.n++
	}
}

// Shortage is a lease that lacks something.
type Shortage struct {
	Lease  *Lease
	Amount int64
}

// Shortages appends all that lacks, where one was found that does: they are asked
// for together. With arrived it is what Admit lacks for d, else what Arrive does.
func (t *Ticket) Shortages(dst []Shortage, now time.Time, arrived bool, d Demand) []Shortage {
	for i := range t.holds[:t.n] {
		h := &t.holds[i]
		if !arrived {
			dst = h.shortage(dst, Requests, 1, now)
			continue
		}
		dst = h.shortage(dst, Concurrent, 1, now)
		dst = h.shortage(dst, Tokens, d.Tokens, now)
		dst = h.shortage(dst, DailyTokens, d.Tokens, now)
		dst = h.shortage(dst, Money, d.MicroUSD, now)
	}
	return dst
}

func (h *hold) shortage(dst []Shortage, k Kind, amount int64, now time.Time) []Shortage {
	if h.passed.has(k) {
		return dst
	}
	var l *Lease
	var v verdict
	switch k {
	case Concurrent:
		if h.rules.Concurrent != nil {
			if l = h.scope.lease(k); l != nil {
				v = l.awaitSlot(ticks(now))
			}
		}
	case Money:
		if b := h.rules.Budget; b != nil {
			if l = h.scope.purse.now(b.Per, now).leaseOf(h.scope); l != nil {
				v = l.awaitMoney(b, amount, ticks(now))
			}
		}
	default:
		if r := h.rules.rate(k); r != nil && amount <= r.Burst {
			if l = h.scope.lease(k); l != nil {
				_, v = l.awaitRate(r, amount, ticks(now))
			}
		}
	}
	if v != lacking || l.has(amount, ticks(now)) {
		return dst
	}
	return append(dst, Shortage{l, amount})
}

// take takes amount of one limit, if there is one and it has not been taken; or
// says in no why not.
func (h *hold) take(k Kind, amount int64, now time.Time, alone bool, no *Refusal) bool {
	if h.passed.has(k) {
		return true
	}
	var limit int64
	var wait time.Duration
	var v verdict
	switch k {
	case Concurrent:
		if h.rules.Concurrent == nil {
			return true
		}
		limit = *h.rules.Concurrent
		wait, v = h.takeSlot(limit, now, alone)
	case Money:
		if h.rules.Budget == nil {
			return true
		}
		limit = h.rules.Budget.MicroUSD
		wait, v = h.takeMoney(amount, now, alone)
	default:
		r := h.rules.rate(k)
		if r == nil {
			return true
		}
		limit = r.Limit
		wait, v = h.takeRate(k, r, amount, now, alone)
	}
	switch {
	case v == lacking:
		*no = Refusal{Scope: h.scope, Kind: k, Limit: limit, Asked: amount, Lacks: h.lease(k)}
		return false
	case v == taken:
		h.taken.add(k)
	case h.rules.Shadow:
		h.scope.refused[k][1].Add(1)
	default:
		h.scope.refused[k][0].Add(1)
		if wait == never {
			wait = -1
		}
		*no = Refusal{Scope: h.scope, Kind: k, Limit: limit, Asked: amount, Wait: wait}
		return false
	}
	h.passed.add(k)
	return true
}

func (h *hold) takeRate(k Kind, r *Rate, amount int64, now time.Time, alone bool) (wait time.Duration, v verdict) {
	if l := h.scope.lease(k); l != nil {
		h.shared.add(k)
		return l.takeRate(r, amount, ticks(now), alone)
	}
	wait, ok := h.scope.rates[k].take(r, amount, ticks(now))
	return wait, verdictOf(ok)
}

func (h *hold) takeSlot(limit int64, now time.Time, alone bool) (wait time.Duration, v verdict) {
	if l := h.scope.lease(Concurrent); l != nil {
		h.slot = l
		return l.takeSlot(limit, ticks(now), alone)
	}
	return time.Second, verdictOf(h.scope.enter(limit))
}

func (h *hold) takeMoney(amount int64, now time.Time, alone bool) (wait time.Duration, v verdict) {
	b := h.rules.Budget
	h.window = h.scope.purse.now(b.Per, now)
	wait = h.window.untilEnd(now)
	if l := h.window.leaseOf(h.scope); l != nil {
		h.shared.add(Money)
		return wait, l.takeMoney(b, amount, ticks(now), alone)
	}
	return wait, verdictOf(h.window.take(b, amount))
}

// lease is what a kind was taken from; nil: this process's own.
func (h *hold) lease(k Kind) *Lease {
	switch {
	case k == Concurrent:
		return h.slot
	case !h.shared.has(k):
		return nil
	case k == Money:
		return h.window.lease.Load()
	default:
		return h.scope.leases[k].Load()
	}
}

func verdictOf(ok bool) verdict {
	if ok {
		return taken
	}
	return refused
}

// enter counts one request in, if there is room.
func (s *Scope) enter(limit int64) bool {
	for {
		n := s.inflight.Load()
		if n >= limit {
			return false
		}
		if s.inflight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// giveBack gives everything back: the request does not start.
func (t *Ticket) giveBack(now time.Time) {
	for i := range t.holds[:t.n] {
		h := &t.holds[i]
		if h.taken.has(Requests) {
			h.correct(Requests, -1, t.began, ticks(now))
		}
		h.settle(t.reserved, Demand{}, t.began, ticks(now))
	}
	*t = Ticket{}
}

// Settle ends the ticket: what was used takes the place of what was reserved,
// into debt if need be. Further calls do nothing. It can still be asked what its
// limits leave, until it is used again.
func (t *Ticket) Settle(now time.Time, used Demand) {
	if t.settled {
		return
	}
	for i := range t.holds[:t.n] {
		t.holds[i].settle(t.reserved, used, t.began, ticks(now))
	}
	t.settled = t.n > 0
}

// Raise has the ticket hold as much as a request has used by now, into debt if need
// be; what it holds more of it keeps.
func (t *Ticket) Raise(now time.Time, used Demand) {
	if !t.Held() {
		return
	}
	used = Demand{Tokens: max(used.Tokens, t.reserved.Tokens), MicroUSD: max(used.MicroUSD, t.reserved.MicroUSD)}
	for i := range t.holds[:t.n] {
		t.holds[i].replace(t.reserved, used, t.began, ticks(now))
	}
	t.reserved = used
}

func (h *hold) settle(reserved, used Demand, began, now int64) {
	h.replace(reserved, used, began, now)
	if h.taken.has(Concurrent) {
		if h.slot != nil {
			h.slot.leave()
		} else {
			h.scope.inflight.Add(-1)
		}
	}
}

// replace books what was used in the place of what was reserved.
func (h *hold) replace(reserved, used Demand, began, now int64) {
	for k := Tokens; k <= DailyTokens; k++ {
		if h.taken.has(k) {
			h.correct(k, used.Tokens-reserved.Tokens, began, now)
		}
	}
	if h.taken.has(Money) {
		if l := h.lease(Money); l != nil {
			l.correct(nil, used.MicroUSD-reserved.MicroUSD, began, now)
		} else {
			h.window.used.Add(used.MicroUSD - reserved.MicroUSD)
		}
	}
}

// correct books that more or less of a rate was used than was taken.
func (h *hold) correct(k Kind, diff, began, now int64) {
	if l := h.lease(k); l != nil {
		l.correct(h.rules.rate(k), diff, began, now)
		return
	}
	h.scope.rates[k].add(h.rules.rate(k), diff, now)
}

// Reserved is what the ticket holds.
func (t *Ticket) Reserved() Demand { return t.reserved }

// Tightest is the standing of the limits of a kind that leave least, over all of
// the ticket's scopes; ok is false if none is of that kind.
func (t *Ticket) Tightest(k Kind, now time.Time) (tight Standing, ok bool) {
	for i := range t.holds[:t.n] {
		h := &t.holds[i]
		r := h.rules.rate(k)
		if r == nil || h.rules.Shadow {
			continue
		}
		if st := h.standing(k, r, ticks(now)); !ok || st.Left < tight.Left {
			tight, ok = st, true
		}
	}
	return tight, ok
}

func (h *hold) standing(k Kind, r *Rate, now int64) Standing {
	st := Standing{Kind: k, Limit: r.Limit}
	if l := h.lease(k); l != nil {
		st.Left, st.Reset = l.left(r, now)
	} else {
		st.Left, st.Reset = h.scope.rates[k].left(r, now)
	}
	return st
}

// Counts reports whether any rule is about tokens or money, so that they have to
// be estimated; strict, whether any wants the most that they may be.
func (t *Ticket) Counts() (counts, strict bool) {
	for i := range t.holds[:t.n] {
		if r := t.holds[i].rules; r.Tokens != nil || r.DailyTokens != nil || r.Budget != nil {
			counts, strict = true, strict || r.Strict
		}
	}
	return counts, strict
}

// Held reports whether the ticket holds anything.
func (t *Ticket) Held() bool { return t.n > 0 && !t.settled }

// Limited reports whether it holds or has held anything.
func (t *Ticket) Limited() bool { return t.n > 0 }
