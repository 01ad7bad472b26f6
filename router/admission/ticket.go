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
}

// Ticket is what one request holds. The zero Ticket holds nothing.
type Ticket struct {
	holds    [maxScopes]hold
	n        int
	reserved Demand
}

// hold is what is held of one scope, by the rules of the time it was taken.
type hold struct {
	scope  *Scope
	rules  *Rules
	window *window
	taken  [NumKinds]bool
}

// Arrive takes the request rate of scopes, all or none; it may be called again,
// when more of them are known. A nil scope has no limits. If it refuses, what an
// earlier call took is given back too.
func (t *Ticket) Arrive(now time.Time, scopes ...*Scope) (Refusal, bool) {
	for _, s := range scopes {
		h := t.hold(s)
		if h == nil {
			continue
		}
		if no, ok := h.take(Requests, 1, now); !ok {
			t.giveBack(now)
			return no, false
		}
	}
	return Refusal{}, true
}

// Admit takes everything else of the scopes that have arrived, all or none. If it
// refuses, what Arrive took is given back too.
func (t *Ticket) Admit(now time.Time, d Demand) (Refusal, bool) {
	t.reserved = d
	for i := range t.holds[:t.n] {
		if no, ok := t.holds[i].takeRest(d, now); !ok {
			t.giveBack(now)
			return no, false
		}
	}
	return Refusal{}, true
}

// hold makes room for a scope's hold; nil if it has no limits.
func (t *Ticket) hold(s *Scope) *hold {
	if s == nil {
		return nil
	}
	r := s.rules.Load()
	if r == nil {
		return nil
	}
	h := &t.holds[t.n]
	t.n++
	*h = hold{scope: s, rules: r}
	return h
}

func (h *hold) takeRest(d Demand, now time.Time) (Refusal, bool) {
	for _, want := range [...]struct {
		kind   Kind
		amount int64
	}{{Concurrent, 1}, {Tokens, d.Tokens}, {DailyTokens, d.Tokens}, {Money, d.MicroUSD}} {
		if no, ok := h.take(want.kind, want.amount, now); !ok {
			return no, false
		}
	}
	return Refusal{}, true
}

// take takes amount of one limit, if there is one.
func (h *hold) take(k Kind, amount int64, now time.Time) (Refusal, bool) {
	limit, wait, ok := int64(0), time.Duration(0), true
	switch k {
	case Concurrent:
		if h.rules.Concurrent == nil {
			return Refusal{}, true
		}
		limit, wait, ok = *h.rules.Concurrent, time.Second, h.scope.enter(*h.rules.Concurrent)
	case Money:
		b := h.rules.Budget
		if b == nil {
			return Refusal{}, true
		}
		h.window = h.scope.purse.now(b.Per, now)
		limit, wait, ok = b.MicroUSD, h.window.untilEnd(now), h.window.take(b, amount)
	default:
		r := h.rules.rate(k)
		if r == nil {
			return Refusal{}, true
		}
		limit = r.Limit
		wait, ok = h.scope.rates[k].take(r, amount, ticks(now))
	}
	if ok {
		h.taken[k] = true
		return Refusal{}, true
	}
	if h.rules.Shadow {
		h.scope.refused[k][1].Add(1)
		return Refusal{}, true
	}
	h.scope.refused[k][0].Add(1)
	if wait == never {
		wait = -1
	}
	return Refusal{Scope: h.scope, Kind: k, Limit: limit, Asked: amount, Wait: wait}, false
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
		if h.taken[Requests] {
			h.scope.rates[Requests].add(h.rules.Requests, -1, ticks(now))
		}
		h.settle(t.reserved, Demand{}, now)
	}
	*t = Ticket{}
}

// Settle ends the ticket: what was used takes the place of what was reserved,
// into debt if need be. Further calls do nothing.
func (t *Ticket) Settle(now time.Time, used Demand) {
	for i := range t.holds[:t.n] {
		t.holds[i].settle(t.reserved, used, now)
	}
	*t = Ticket{}
}

func (h *hold) settle(reserved, used Demand, now time.Time) {
	for k := Tokens; k <= DailyTokens; k++ {
		if h.taken[k] {
			h.scope.rates[k].add(h.rules.rate(k), used.Tokens-reserved.Tokens, ticks(now))
		}
	}
	if h.taken[Concurrent] {
		h.scope.inflight.Add(-1)
	}
	if h.taken[Money] {
		h.window.used.Add(used.MicroUSD - reserved.MicroUSD)
	}
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
		left, full := h.scope.rates[k].left(r, ticks(now))
		if !ok || left < tight.Left {
			tight, ok = Standing{Kind: k, Limit: r.Limit, Left: left, Reset: full}, true
		}
	}
	return tight, ok
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
func (t *Ticket) Held() bool { return t.n > 0 }
