package admission

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// generous grants whatever is asked for, and a lot more.
func generous(l *Lease, t time.Time, need int64) {
	l.Exchanging.Lock()
	defer l.Exchanging.Unlock()
	b, ok := l.Bid(t, need, false)
	if !ok {
		return
	}
	total := max(b.Need, b.Size/2)
	if !l.Grant(&b, Grant{Total: total, Leased: total, Replicas: 1, Born: 1}) {
		l.Fail(&b)
	}
}

// sharedScope is a scope whose limits a generous Redis keeps.
func sharedScope(b *Book, l Level, r *Rules) *Scope {
	if b.commons.Load() == nil {
		b.Share(NewCommons())
	}
	return ruled(b, l, "t m", r)
}

// admitShared is admit with the exchanges that it takes.
func (t *Ticket) admitShared(now time.Time, d Demand, scopes ...*Scope) (no Refusal, ok bool) {
	for range 50 {
		if no, ok = t.admit(now, d, scopes...); ok || no.Lacks == nil {
			break
		}
		generous(no.Lacks, now, no.Asked)
	}
	return no, ok
}

func allLimits() Rules {
	return Rules{
		Requests: perMinute(1_000_000_000), Tokens: perMinute(1_000_000_000_000), DailyTokens: NewRate(1e15, 1e15, 24*time.Hour),
		Concurrent: slots(1_000_000), Budget: &Budget{MicroUSD: 1e15, Per: PerTotal},
	}
}

// A ticket that lacks a lease keeps what it has, and goes on where it stopped.
func TestLacking(t *testing.T) {
	var b Book
	r := allLimits()
	s, local := sharedScope(&b, TenantModel, &r), newScope(Rules{Requests: perMinute(10)})
	now := time.Now()
	var ticket Ticket
	no, ok := ticket.Arrive(now, local, s)
	require.False(t, ok)
	require.NotNil(t, no.Lacks)
	assert.Equal(t, "{tenant:t}:tenant_model:t m:requests_per_minute", no.Lacks.Name())
	assert.Equal(t, int64(9), local.Standings(nil, now)[0].Left, "taken once")
	generous(no.Lacks, now, no.Asked)
	_, ok = ticket.Arrive(now, local, s)
	require.True(t, ok)
	assert.Equal(t, int64(9), local.Standings(nil, now)[0].Left, "and not again")
	_, ok = ticket.Admit(now, Demand{Tokens: 10, MicroUSD: 10})
	require.False(t, ok)
	assert.Empty(t, ticket.Shortages(nil, now, false, Demand{}))
	short := ticket.Shortages(nil, now, true, Demand{Tokens: 10, MicroUSD: 10})
	var amounts []int64
	for _, s := range short {
		amounts = append(amounts, s.Amount)
		generous(s.Lease, now, s.Amount)
	}
	assert.Equal(t, []int64{1, 10, 10, 10}, amounts, "a slot, tokens, tokens of the day, money")
	assert.Empty(t, ticket.Shortages(nil, now, true, Demand{Tokens: 10, MicroUSD: 10}))
	_, ok = ticket.Admit(now, Demand{Tokens: 10, MicroUSD: 10})
	require.True(t, ok)
	ticket.Settle(now, Demand{Tokens: 5, MicroUSD: 5})
	for _, st := range s.Standings(nil, now) {
		require.NotNil(t, st.Lease)
		assert.False(t, st.Lease.Alone)
		assert.Positive(t, st.Left)
	}
}

// Nothing is asked of a lease that failed: the replica's share counts.
func TestAlone(t *testing.T) {
	f := func(r Rules, replicas int64, d Demand, want int) {
		t.Helper()
		var b Book
		s := sharedScope(&b, Tenant, &r)
		if replicas > 0 {
			b.commons.Load().SetReplicas(replicas)
		}
		now, passed := time.Now(), 0
		for range 1000 {
			var ticket Ticket
			no, ok := ticket.admit(now, d, s)
			for ; no.Lacks != nil; no, ok = ticket.admit(now, d, s) {
				no.Lacks.Exchanging.Lock()
				bid, _ := no.Lacks.Bid(now, no.Asked, false)
				no.Lacks.Fail(&bid)
				no.Lacks.Exchanging.Unlock()
			}
			if !ok {
				break
			}
			passed++
		}
		assert.Equal(t, want, passed)
	}
	f(Rules{Requests: perMinute(100)}, 0, Demand{}, 25) // as if there were four
	f(Rules{Requests: perMinute(100)}, 1, Demand{}, 100)
	f(Rules{Requests: perMinute(100)}, 10, Demand{}, 10)
	f(Rules{Requests: perMinute(2)}, 10, Demand{}, 1) // more than the share, but there is nothing else
	f(Rules{Tokens: perMinute(1000)}, 5, Demand{Tokens: 100}, 2)
	f(Rules{Tokens: perMinute(1000)}, 5, Demand{Tokens: 1000}, 1)
	f(Rules{Tokens: perMinute(1000)}, 5, Demand{Tokens: 1001}, 0)
	f(Rules{Concurrent: slots(40)}, 4, Demand{}, 10)
	f(Rules{Concurrent: slots(2)}, 4, Demand{}, 1)
	f(Rules{Concurrent: slots(0)}, 4, Demand{}, 0)
	f(Rules{Budget: &Budget{MicroUSD: 100_000, Per: PerDay}}, 4, Demand{MicroUSD: 100}, 10) // one per cent
	f(Rules{Requests: NewRate(0, 0, time.Minute)}, 4, Demand{}, 0)
}

// What is all in use elsewhere is asked for once, and refused for a while after.
func TestNothingLeft(t *testing.T) {
	f := func(r Rules, d Demand, level, leased int64) {
		t.Helper()
		var b Book
		s, now := sharedScope(&b, Tenant, &r), time.Now()
		var ticket Ticket
		no, ok := ticket.admit(now, d, s)
		require.False(t, ok)
		no.Lacks.Exchanging.Lock()
		bid, ok := no.Lacks.Bid(now, no.Asked, false)
		require.True(t, ok)
		require.True(t, no.Lacks.Grant(&bid, Grant{Level: level, Leased: leased, Replicas: 1, Born: 1}))
		no.Lacks.Exchanging.Unlock()
		no, ok = ticket.admit(now, d, s)
		require.False(t, ok)
		assert.Nil(t, no.Lacks)
		assert.NotZero(t, no.Wait)
		no, _ = ticket.admit(now.Add(2*time.Second), d, s)
		assert.NotNil(t, no.Lacks, "a lease lives no longer")
	}
	f(Rules{Concurrent: slots(4)}, Demand{}, 0, 4)
	f(Rules{Requests: perMinute(60)}, Demand{}, 10e6, 50)
	f(Rules{Requests: perMinute(60)}, Demand{}, 60e6, 0)
	f(Rules{Budget: &Budget{MicroUSD: 100, Per: PerDay}}, Demand{MicroUSD: 10}, 90, 5)
}

// A grant that cannot be is not believed.
func TestGrantIsChecked(t *testing.T) {
	f := func(g Grant, want bool) {
		t.Helper()
		var b Book
		r := Rules{Requests: perMinute(100)}
		l := sharedScope(&b, Tenant, &r).lease(Requests)
		bid, ok := l.Bid(time.Now(), 10, false)
		require.True(t, ok)
		assert.Equal(t, want, l.Grant(&bid, g))
	}
	f(Grant{Total: 10, Leased: 10, Replicas: 1, Born: 1}, true)
	f(Grant{Total: 0, Leased: 90, Level: 1e6, Replicas: 3, Born: 1}, true)
	f(Grant{Total: -1, Leased: 10, Replicas: 1, Born: 1}, false)
	f(Grant{Total: 101, Leased: 101, Replicas: 1, Born: 1}, false)
	f(Grant{Total: 10, Leased: 9, Replicas: 1, Born: 1}, false)
	f(Grant{Total: 10, Leased: 1 << 62, Replicas: 1, Born: 1}, false)
	f(Grant{Total: 10, Leased: 10, Level: -1, Replicas: 1, Born: 1}, false)
	f(Grant{Total: 10, Leased: 10, Level: 1 << 60, Replicas: 1, Born: 1}, false)
	f(Grant{Total: 10, Leased: 10, Replicas: 0, Born: 1}, false)
	f(Grant{Total: 10, Leased: 10, Replicas: 1, Born: 0}, false)
}

// Limits are shared and no longer shared while requests run; nothing of it is
// taken twice or given back twice.
func TestShareAndUnshare(t *testing.T) {
	var b Book
	r := Rules{Requests: perMinute(100), Tokens: perMinute(1000), Concurrent: slots(5), Budget: &Budget{MicroUSD: 1000, Per: PerDay}}
	s := ruled(&b, Tenant, "t", &r)
	now := time.Now()
	d := Demand{Tokens: 10, MicroUSD: 10}
	var before, during, after Ticket
	_, ok := before.admit(now, d, s)
	require.True(t, ok)
	b.Share(NewCommons())
	_, ok = during.admitShared(now, d, s)
	require.True(t, ok)
	before.Settle(now, d)
	b.Share(nil)
	during.Settle(now, d)
	_, ok = after.admit(now, d, s)
	require.True(t, ok)
	after.Settle(now, Demand{})
	assert.Zero(t, s.inflight.Load())
	assert.Equal(t, int64(10), s.purse.window.Load().used.Load())
}

func TestSharedLimitsDoNotAllocate(t *testing.T) {
	var b Book
	r := allLimits()
	scopes := []*Scope{sharedScope(&b, Key, &r), sharedScope(&b, Tenant, &r), sharedScope(&b, TenantModel, &r), sharedScope(&b, Model, &r), sharedScope(&b, Router, &r)}
	now := time.Now()
	var ticket Ticket
	once := func() {
		if _, ok := ticket.admitShared(now, Demand{Tokens: 10, MicroUSD: 10}, scopes...); !ok {
			t.Fatal("refused")
		}
		ticket.Settle(now, Demand{Tokens: 5, MicroUSD: 5})
	}
	once()
	assert.Zero(t, testing.AllocsPerRun(1000, once))
}

// BenchmarkAllSharedLimits is BenchmarkAllLimits with limits that replicas share.
func BenchmarkAllSharedLimits(b *testing.B) {
	var book Book
	r := allLimits()
	scopes := []*Scope{sharedScope(&book, Key, &r), sharedScope(&book, Tenant, &r), sharedScope(&book, TenantModel, &r), sharedScope(&book, Model, &r), sharedScope(&book, Router, &r)}
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		var ticket Ticket
		for p.Next() {
			if _, ok := ticket.admitShared(now, Demand{Tokens: 10, MicroUSD: 10}, scopes...); !ok {
				b.Fatal("refused")
			}
			ticket.Settle(now, Demand{Tokens: 10, MicroUSD: 10})
		}
	})
}
