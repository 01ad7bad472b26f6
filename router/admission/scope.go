package admission

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Level is what kind of thing a scope is.
type Level uint8

// The levels, from the narrowest.
const (
	Key Level = iota
	Tenant
	TenantModel
	Model
	Router
	NumLevels // how many there are
)

var levelNames = [NumLevels]string{Key: "key", Tenant: "tenant", TenantModel: "tenant_model", Model: "model", Router: "router"}

// String returns the level's name as metrics and logs write it.
func (l Level) String() string { return levelNames[l] }

// Kind is what a limit counts.
type Kind uint8

// The kinds.
const (
	Requests Kind = iota
	Tokens
	DailyTokens
	Concurrent
	Money
	NumKinds // how many there are
)

var kindNames = [NumKinds]string{
	Requests: "requests_per_minute", Tokens: "tokens_per_minute", DailyTokens: "tokens_per_day",
	Concurrent: "concurrent", Money: "budget",
}

// String returns the kind's name, which is its key in the configuration.
func (k Kind) String() string { return kindNames[k] }

// Rules are a scope's limits. They are immutable; nil pointers are no limits.
type Rules struct {
	Requests    *Rate
	Tokens      *Rate
	DailyTokens *Rate
	Concurrent  *int64
	Budget      *Budget
	Shadow      bool // refusals are counted, not made
	Strict      bool // reserve the most an answer may be, and not what is expected of it
}

// rate is the rule of a kind that is a rate; nil: none.
func (r *Rules) rate(k Kind) *Rate {
	switch k {
	case Requests:
		return r.Requests
	case Tokens:
		return r.Tokens
	default:
		return r.DailyTokens
	}
}

// Scope is something that has limits, and how much of them is used. It outlives
// its rules.
type Scope struct {
	Level Level
	Name  string // of a tenant's use of a model: both, with a space between

	book     *Book
	rules    atomic.Pointer[Rules]
	rates    [DailyTokens + 1]gcra
	leases   [Money]atomic.Pointer[Lease] // of what is shared; those of money are in the purse
	inflight atomic.Int64
	purse    purse
	refused  [NumKinds][2]atomic.Uint64 // and those that shadow rules would have
}

// Set puts rules into force from the next request on; what is used stays used.
func (s *Scope) Set(r *Rules) { s.rules.Store(r) }

// Refused returns how many requests a kind of limit refused, and how many it
// would have.
func (s *Scope) Refused(k Kind) (refused, shadow uint64) {
	return s.refused[k][0].Load(), s.refused[k][1].Load()
}

// Standing is what is left of one limit.
type Standing struct {
	Kind  Kind
	Limit int64
	Left  int64         // may be below zero: debt
	Reset time.Duration // until all of it is there again
	Lease *LeaseState   // of what is shared; else nil
}

// Standings appends what is left of each of the scope's limits.
func (s *Scope) Standings(dst []Standing, now time.Time) []Standing {
	r := s.rules.Load()
	if r == nil {
		return dst
	}
	at := ticks(now)
	for k := Requests; k <= DailyTokens; k++ {
		if rate := r.rate(k); rate != nil {
			dst = append(dst, s.standing(k, rate, at))
		}
	}
	if r.Concurrent != nil {
		st := Standing{Kind: Concurrent, Limit: *r.Concurrent, Left: *r.Concurrent - s.inflight.Load()}
		if l := s.lease(Concurrent); l != nil {
			st.Left, st.Lease = l.rest(*r.Concurrent, at), l.state(at)
		}
		dst = append(dst, st)
	}
	if b := r.Budget; b != nil {
		w := s.purse.now(b.Per, now)
		st := Standing{Kind: Money, Limit: b.MicroUSD, Left: b.MicroUSD - w.used.Load(), Reset: w.untilEnd(now)}
		if l := w.leaseOf(s); l != nil {
			st.Left, st.Lease = l.rest(b.MicroUSD, at), l.state(at)
		}
		dst = append(dst, st)
	}
	return dst
}

// standing is what is left of a rate.
func (s *Scope) standing(k Kind, r *Rate, now int64) Standing {
	st := Standing{Kind: k, Limit: r.Limit}
	if l := s.lease(k); l != nil {
		st.Left, st.Reset = l.left(r, now)
		st.Lease = l.state(now)
		return st
	}
	st.Left, st.Reset = s.rates[k].left(r, now)
	return st
}

// epoch is what ticks count from, so that no step of the wall clock is seen.
var epoch = time.Now()

func ticks(t time.Time) int64 { return int64(t.Sub(epoch)) }

// Book is the memory of all scopes, and of what is known about models. The zero
// value is an empty one. Safe for concurrent use.
type Book struct {
	commons atomic.Pointer[Commons] // nil: nothing is shared

	mu         sync.Mutex // guards the fields below
	scopes     map[identity]*Scope
	estimators map[string]*Estimator
}

type identity struct {
	level Level
	name  string
}

// Scope returns the scope of this level and name, made if need be; a new one has
// no rules.
func (b *Book) Scope(l Level, name string) *Scope {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.scopes == nil {
		b.scopes = make(map[identity]*Scope)
	}
	id := identity{l, name}
	s := b.scopes[id]
	if s == nil {
		s = &Scope{Level: l, Name: strings.Clone(name), book: b}
		b.scopes[id] = s
	}
	return s
}

// Estimator returns what is known of a model, whatever the plan.
func (b *Book) Estimator(model string) *Estimator {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.estimators == nil {
		b.estimators = make(map[string]*Estimator)
	}
	e := b.estimators[model]
	if e == nil {
		e = new(Estimator)
		b.estimators[model] = e
	}
	return e
}

// Enforce puts the rules of a whole plan into force, and forgets every scope that
// it has none for.
func (b *Book) Enforce(plan map[*Scope]*Rules) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, s := range b.scopes {
		if r, ok := plan[s]; ok {
			s.Set(r)
		} else {
			delete(b.scopes, id)
		}
	}
}

// Scopes returns every scope, by level and name.
func (b *Book) Scopes() []*Scope {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.scopes), func(x, y *Scope) int {
		return cmp.Or(cmp.Compare(x.Level, y.Level), strings.Compare(x.Name, y.Name))
	})
}
