package admission

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/testtiming"
)

func perMinute(limit int64) *Rate { return NewRate(limit, limit, time.Minute) }

func slots(n int64) *int64 { return &n }

func newScope(r Rules) *Scope {
	var b Book
	return ruled(&b, Tenant, "t", &r)
}

// ruled is a scope of the book with rules in force.
func ruled(b *Book, l Level, name string, r *Rules) *Scope {
	s := b.Scope(l, name)
	s.Set(r)
	return s
}

// admit does both steps at once.
func (t *Ticket) admit(now time.Time, d Demand, scopes ...*Scope) (Refusal, bool) {
	if no, ok := t.Arrive(now, scopes...); !ok {
		return no, false
	}
	return t.Admit(now, d)
}

func TestRate(t *testing.T) {
	r := perMinute(60)
	var g gcra
	at := func(s float64) int64 { return int64(s * 1e9) }
	for i := range 60 {
		_, ok := g.take(r, 1, at(0))
		require.True(t, ok, i)
	}
	wait, ok := g.take(r, 1, at(0))
	assert.False(t, ok)
	assert.Equal(t, time.Second, wait)
	left, full := g.left(r, at(0))
	assert.Zero(t, left)
	assert.Equal(t, time.Minute, full)
	_, ok = g.take(r, 1, at(1))
	assert.True(t, ok, "exactly when it said")
	_, ok = g.take(r, 1, at(1))
	assert.False(t, ok)
	g.add(r, -1, at(1))
	_, ok = g.take(r, 1, at(1))
	assert.True(t, ok, "what was given back")
	g.add(r, 30, at(1)) // debt
	left, full = g.left(r, at(1))
	assert.Equal(t, int64(0), left)
	assert.Equal(t, 90*time.Second, full)
	wait, _ = g.take(r, 1, at(1))
	assert.Equal(t, 31*time.Second, wait)
	_, ok = g.take(r, 60, at(1000))
	assert.True(t, ok, "never above the burst, however long it was idle")
	_, ok = g.take(r, 1, at(1000))
	assert.False(t, ok)
}

func TestOddRates(t *testing.T) {
	f := func(r *Rate, amount int64, wantOK bool, wantWait time.Duration) {
		t.Helper()
		var g gcra
		wait, ok := g.take(r, amount, 0)
		assert.Equal(t, wantOK, ok)
		assert.Equal(t, wantWait, wait)
	}
	f(NewRate(0, 0, time.Minute), 1, false, never)
	f(NewRate(0, 0, time.Minute), 0, false, never)
	f(NewRate(1, 1, time.Minute), 1, true, 0)
	f(NewRate(1, 1, time.Minute), 2, false, never)
	f(NewRate(100, 10, time.Minute), 11, false, never)
	f(NewRate(math.MaxInt64, math.MaxInt64, time.Minute), math.MaxInt64, true, 0)
	f(NewRate(1_000_000_000_000, 1_000_000_000_000, time.Minute), 1, true, 0)
	f(NewRate(10_000_000, 10_000_000, 24*time.Hour), 10_000_000, true, 0)
	// A rate of many per nanosecond still adds up.
	var g gcra
	r := NewRate(60_000_000_000*7, 7000, time.Minute)
	for range 1000 {
		_, ok := g.take(r, 7, 0)
		require.True(t, ok)
	}
	_, ok := g.take(r, 7, 0)
	assert.False(t, ok)
}

// In every window what passes is at most the rate's share of it and one burst.
func TestRateBound(t *testing.T) {
	for seed := range uint64(testtiming.Rounds(200)) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		limit := 1 + rnd.Int64N(1000)
		r := NewRate(limit, 1+rnd.Int64N(limit), time.Minute)
		var g gcra
		type pass struct{ at, amount int64 }
		var passed []pass
		now := int64(0)
		for range 400 {
			now += rnd.Int64N(int64(r.Period) / r.Limit * 2)
			amount := 1 + rnd.Int64N(max(r.Burst/4, 1))
			if _, ok := g.take(r, amount, now); ok {
				passed = append(passed, pass{now, amount})
			}
		}
		require.NotEmpty(t, passed)
		for i := range passed {
			sum := int64(0)
			for j := i; j < len(passed); j++ {
				sum += passed[j].amount
				window := float64(passed[j].at-passed[i].at) / float64(r.Period) * float64(r.Limit)
				require.LessOrEqual(t, float64(sum), window+float64(r.Burst)+1e-6, "seed %d", seed)
			}
		}
	}
}

func TestRace(t *testing.T) {
	s := newScope(Rules{Requests: perMinute(10), Tokens: perMinute(1000), Concurrent: slots(10), Budget: &Budget{MicroUSD: 1000, Per: PerDay}})
	var passed atomic.Int64
	var group sync.WaitGroup
	now := time.Now()
	tickets := make([]Ticket, 200)
	for i := range tickets {
		group.Go(func() {
			if _, ok := tickets[i].admit(now, Demand{Tokens: 100, MicroUSD: 100}, s); ok {
				passed.Add(1)
			}
		})
	}
	group.Wait()
	assert.LessOrEqual(t, passed.Load(), int64(10))
	assert.Positive(t, passed.Load())
	for i := range tickets {
		tickets[i].Settle(now, Demand{})
		tickets[i].Settle(now, Demand{Tokens: 5}) // a second time changes nothing
	}
	assert.Zero(t, s.inflight.Load())
	assert.Zero(t, s.purse.window.Load().used.Load())
	left, _ := s.rates[Tokens].left(perMinute(1000), ticks(now))
	assert.Equal(t, int64(1000), left)
}

func TestAllOrNothing(t *testing.T) {
	var b Book
	now := time.Now()
	wide := Rules{Requests: perMinute(100), Tokens: perMinute(10_000), DailyTokens: NewRate(100_000, 100_000, 24*time.Hour), Concurrent: slots(5), Budget: &Budget{MicroUSD: 1000, Per: PerMonth}}
	f := func(narrow Rules, kind Kind, wait time.Duration) {
		t.Helper()
		key, model := ruled(&b, Key, "k", &wide), ruled(&b, Model, "m", &narrow)
		before := fmt.Sprint(key.Standings(nil, now), model.Standings(nil, now))
		var ticket Ticket
		_, ok := ticket.Arrive(now, key)
		require.True(t, ok)
		no, ok := ticket.admit(now, Demand{Tokens: 500, MicroUSD: 50}, model)
		require.False(t, ok)
		assert.Equal(t, model, no.Scope)
		assert.Equal(t, kind, no.Kind)
		assert.Equal(t, wait, no.Wait)
		assert.Equal(t, before, fmt.Sprint(key.Standings(nil, now), model.Standings(nil, now)), "something was kept")
		assert.Equal(t, Ticket{}, ticket)
		refused, shadow := model.Refused(kind)
		assert.Equal(t, []uint64{1, 0}, []uint64{refused, shadow})

		narrow.Shadow = true
		model.Set(&narrow)
		_, ok = ticket.admit(now, Demand{Tokens: 500, MicroUSD: 50}, key, model)
		assert.True(t, ok, "a shadow refuses nothing")
		refused, shadow = model.Refused(kind)
		assert.Equal(t, []uint64{1, 1}, []uint64{refused, shadow})
		ticket.Settle(now, Demand{})
		b.Enforce(nil)
	}
	f(Rules{Requests: NewRate(0, 0, time.Minute)}, Requests, -1)
	f(Rules{Tokens: perMinute(499)}, Tokens, -1)
	f(Rules{DailyTokens: NewRate(100, 100, 24*time.Hour)}, DailyTokens, -1)
	f(Rules{Concurrent: slots(0)}, Concurrent, time.Second)
	f(Rules{Budget: &Budget{MicroUSD: 49, Per: PerTotal}}, Money, -1)
	f(Rules{Budget: &Budget{MicroUSD: 0, Per: PerTotal}}, Money, -1)
}

func TestSettle(t *testing.T) {
	now := time.Now()
	s := newScope(Rules{Tokens: perMinute(1000), Budget: &Budget{MicroUSD: 100, Per: PerDay}})
	left := func() (tokens, money int64) {
		for _, st := range s.Standings(nil, now) {
			switch st.Kind {
			case Tokens:
				tokens = st.Left
			case Money:
				money = st.Left
			}
		}
		return
	}
	f := func(reserve, used Demand, tokens, money int64) {
		t.Helper()
		var ticket Ticket
		_, ok := ticket.admit(now, reserve, s)
		require.True(t, ok)
		ticket.Settle(now, used)
		gotTokens, gotMoney := left()
		assert.Equal(t, []int64{tokens, money}, []int64{gotTokens, gotMoney})
	}
	f(Demand{500, 50}, Demand{500, 50}, 500, 50)
	f(Demand{500, 50}, Demand{100, 10}, 400, 40)
	f(Demand{100, 10}, Demand{}, 400, 40)
	f(Demand{100, 10}, Demand{600, 60}, -200+200, -20) // debt: nothing is left, and below that
	var ticket Ticket
	no, ok := ticket.admit(now, Demand{1, 0}, s)
	require.False(t, ok)
	assert.InDelta(t, 12*time.Second, no.Wait, float64(100*time.Millisecond), "200 tokens of debt and the one")
	_, money := left()
	assert.Equal(t, int64(-20), money)
}

// What a request has used counts before it ends, once: what it reserved and what it has
// left over stay its own.
func TestRaise(t *testing.T) {
	now := time.Now()
	s := newScope(Rules{Tokens: perMinute(1000), DailyTokens: NewRate(5000, 5000, 24*time.Hour), Concurrent: slots(2), Budget: &Budget{MicroUSD: 100, Per: PerDay}})
	var ticket Ticket
	f := func(tokens, daily, money int64) {
		t.Helper()
		left := map[Kind]int64{}
		for _, st := range s.Standings(nil, now) {
			left[st.Kind] = st.Left
		}
		assert.Equal(t, []int64{tokens, daily, money}, []int64{left[Tokens], left[DailyTokens], left[Money]})
	}
	ticket.Raise(now, Demand{50, 5}) // it holds nothing
	f(1000, 5000, 100)
	_, ok := ticket.admit(now, Demand{100, 10}, s)
	require.True(t, ok)
	ticket.Raise(now, Demand{50, 5}) // less than it has
	f(900, 4900, 90)
	ticket.Raise(now, Demand{300, 5})
	f(700, 4700, 90)
	ticket.Raise(now, Demand{300, 30})
	f(700, 4700, 70)
	ticket.Raise(now, Demand{2000, 130}) // debt
	f(0, 3000, -30)
	assert.Equal(t, Demand{2000, 130}, ticket.Reserved())
	ticket.Settle(now, Demand{1900, 120})
	f(0, 3100, -20)
	ticket.Raise(now, Demand{5000, 500}) // it is settled
	f(0, 3100, -20)
	assert.Zero(t, s.inflight.Load())
}

// Rules that change keep what is used, and a request settles by those it began
// with.
func TestRulesChange(t *testing.T) {
	var b Book
	now := time.Now()
	s := ruled(&b, Tenant, "t", &Rules{Requests: perMinute(10), Concurrent: slots(3)})
	var tickets [3]Ticket
	for i := range tickets {
		_, ok := tickets[i].admit(now, Demand{}, s)
		require.True(t, ok)
	}
	require.Same(t, s, ruled(&b, Tenant, "t", &Rules{Requests: perMinute(5), Concurrent: slots(2)}))
	var more Ticket
	_, ok := more.admit(now, Demand{}, s)
	assert.False(t, ok)
	tickets[0].Settle(now, Demand{})
	tickets[1].Settle(now, Demand{})
	assert.Equal(t, int64(1), s.inflight.Load())
	s.Set(&Rules{}) // no limits any more
	_, ok = more.admit(now, Demand{}, s)
	assert.True(t, ok)
	more.Settle(now, Demand{})
	tickets[2].Settle(now, Demand{})
	assert.Zero(t, s.inflight.Load())
}

func TestBudgetPeriods(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		return when
	}
	f := func(per Per, from, later string, fresh bool) {
		t.Helper()
		s := newScope(Rules{Budget: &Budget{MicroUSD: 10, Per: per}})
		var a, b Ticket
		_, ok := a.admit(at(from), Demand{MicroUSD: 10}, s)
		require.True(t, ok)
		_, ok = b.admit(at(later), Demand{MicroUSD: 10}, s)
		assert.Equal(t, fresh, ok, "%s %s", from, later)
		b.Settle(at(later), Demand{MicroUSD: 10})
		a.Settle(at(later), Demand{MicroUSD: 3}) // into the period it was taken from
		if fresh {
			assert.Equal(t, int64(10), s.purse.window.Load().used.Load())
		}
	}
	f(PerDay, "2026-11-23T23:59:59Z", "2026-11-24T00:00:00Z", true)
	f(PerDay, "2026-11-23T00:00:00Z", "2026-11-23T23:59:59Z", false)
	f(PerDay, "2026-11-24T00:00:00+02:00", "2026-11-24T01:00:00Z", true)
	f(PerMonth, "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z", true)
	f(PerMonth, "2026-11-01T00:00:00Z", "2026-11-30T00:00:00Z", false)
	f(PerMonth, "2028-02-29T12:00:00Z", "2028-03-01T00:00:00Z", true)
	f(PerTotal, "2026-11-01T00:00:00Z", "2036-11-30T00:00:00Z", false)
	f(PerDay, "2026-11-24T00:00:00Z", "2026-11-23T23:00:00Z", false) // the clock stepped back
}

func TestTightest(t *testing.T) {
	var b Book
	now := time.Now()
	var ticket Ticket
	_, ok := ticket.admit(now, Demand{Tokens: 10},
		ruled(&b, Key, "k", &Rules{Requests: perMinute(60), Tokens: perMinute(10_000)}), nil,
		ruled(&b, Model, "m", &Rules{Requests: perMinute(6)}), ruled(&b, Router, "", &Rules{Requests: perMinute(1), Shadow: true}))
	require.True(t, ok)
	counts, strict := ticket.Counts()
	assert.True(t, counts)
	assert.False(t, strict)
	s, ok := ticket.Tightest(Requests, now)
	require.True(t, ok)
	assert.Equal(t, Standing{Kind: Requests, Limit: 6, Left: 5, Reset: 10 * time.Second}, s)
	s, ok = ticket.Tightest(Tokens, now)
	require.True(t, ok)
	assert.Equal(t, int64(9990), s.Left)
	_, ok = ticket.Tightest(DailyTokens, now)
	assert.False(t, ok)
}

func TestEstimator(t *testing.T) {
	var e Estimator
	assert.Equal(t, int64(280), e.Input(Prompt{Bytes: 1000}))
	assert.Equal(t, int64(280+2*imageTokens), e.Input(Prompt{Bytes: 1000, Images: 2}))
	assert.Equal(t, int64(coldOutput), e.Output())
	for range 200 {
		e.Learn(Prompt{Bytes: 1000}, helixflow.Usage{InputTokens: 500, OutputTokens: 100})
	}
	e.Learn(Prompt{Bytes: 1000, Images: 1}, helixflow.Usage{InputTokens: 500_000, OutputTokens: 0})
	assert.InDelta(t, 500, e.Input(Prompt{Bytes: 1000}), 1)
	assert.Equal(t, int64(127), e.Output())
	for range 20 { // 9 in 100 are longer
		e.Learn(Prompt{}, helixflow.Usage{OutputTokens: 5000})
	}
	assert.Equal(t, int64(6143), e.Output())
	for range 100 { // nonsense is bounded
		e.Learn(Prompt{Bytes: 64}, helixflow.Usage{InputTokens: 1 << 40, OutputTokens: 1 << 40})
	}
	assert.LessOrEqual(t, e.Input(Prompt{Bytes: 1000}), int64(4000))
}

func TestClasses(t *testing.T) {
	for n := int64(1); n < 1<<13; n++ {
		c := sizeClass(n)
		require.LessOrEqual(t, n, largest(c), n)
		require.Equal(t, c, sizeClass(largest(c)))
		if largest(c) > 1 {
			require.Equal(t, c+1, sizeClass(largest(c)+1))
		}
	}
	require.Less(t, sizeClass(math.MaxInt64), 2*outputClasses)
}

// full is a request's scopes with every limit there is.
func full(b *Book) []*Scope {
	r := Rules{Requests: perMinute(1 << 40), Tokens: perMinute(1 << 50), DailyTokens: NewRate(1<<50, 1<<50, 24*time.Hour), Concurrent: slots(1 << 30), Budget: &Budget{MicroUSD: 1 << 60, Per: PerMonth}}
	var scopes []*Scope
	for l := range NumLevels {
		scopes = append(scopes, ruled(b, l, "x", &r))
	}
	return scopes
}

func TestNoAllocations(t *testing.T) {
	var b Book
	scopes := full(&b)
	now := time.Now()
	var ticket Ticket
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = ticket.Arrive(now, scopes[0], scopes[1])
		_, _ = ticket.admit(now, Demand{Tokens: 100, MicroUSD: 7}, scopes[2], scopes[3], scopes[4])
		_, _ = ticket.Tightest(Requests, now)
		ticket.Settle(now, Demand{Tokens: 90, MicroUSD: 6})
	}))
}

func BenchmarkAllLimits(b *testing.B) {
	var book Book
	scopes := full(&book)
	run := func(b *testing.B, ticket *Ticket, now time.Time) {
		if _, ok := ticket.Arrive(now, scopes[0], scopes[1]); !ok {
			b.Error("refused")
		}
		if _, ok := ticket.admit(now, Demand{Tokens: 100, MicroUSD: 7}, scopes[2], scopes[3], scopes[4]); !ok {
			b.Error("refused")
		}
		ticket.Settle(now, Demand{Tokens: 90, MicroUSD: 6})
	}
	b.Run("alone", func(b *testing.B) {
		var ticket Ticket
		now := time.Now()
		for b.Loop() {
			run(b, &ticket, now)
		}
	})
	b.Run("64", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			var ticket Ticket
			now := time.Now()
			for pb.Next() {
				run(b, &ticket, now)
			}
		})
	})
}
