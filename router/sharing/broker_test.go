//go:build integration

package sharing

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/internal/testredis"
	"github.com/helixflow/helixflow/router/admission"
)

// member is a router's part of it: a book and its broker.
type member struct {
	book   admission.Book
	broker *Broker
	scope  *admission.Scope
}

func join(t *testing.T, s *testredis.Server, timeout time.Duration, r admission.Rules) *member {
	t.Helper()
	m := new(member)
	m.broker = NewBroker(&m.book)
	m.scope = m.book.Scope(admission.Tenant, "t")
	m.scope.Set(&r)
	m.broker.Use(connectWithin(t, s, timeout))
	return m
}

// try takes what one request takes.
func (m *member) try(d admission.Demand) (ticket admission.Ticket, ok bool) {
	var no admission.Refusal
	for range 40 {
		now := time.Now()
		if no, ok = ticket.Arrive(now, m.scope); ok {
			no, ok = ticket.Admit(now, d)
		}
		if ok || no.Lacks == nil {
			return ticket, ok
		}
		m.broker.Ask([]admission.Shortage{{Lease: no.Lacks, Amount: no.Asked}})
	}
	return ticket, false
}

// Two hundred at once, at four routers, for ten: no more than ten pass, of
// whatever it is.
func TestRaceOfReplicas(t *testing.T) {
	s := testredis.Start(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	slots := int64(10)
	f := func(r admission.Rules, d admission.Demand) {
		t.Helper()
		s.Command(t, "FLUSHALL")
		members := make([]*member, 4)
		for i := range members {
			members[i] = join(t, s, 10*time.Second, r)
		}
		var passed atomic.Int64
		var group sync.WaitGroup
		tickets := make([]admission.Ticket, 200)
		for i := range tickets {
			group.Go(func() {
				var ok bool
				if tickets[i], ok = members[i%len(members)].try(d); ok {
					passed.Add(1)
				}
			})
		}
		group.Wait()
		assert.LessOrEqual(t, passed.Load(), int64(10))
		assert.Positive(t, passed.Load())
		for i := range tickets {
			tickets[i].Settle(time.Now(), d)
		}
		for _, m := range members {
			m.broker.Close()
		}
	}
	f(admission.Rules{Requests: admission.NewRate(10, 10, time.Hour)}, admission.Demand{})
	f(admission.Rules{Tokens: admission.NewRate(1000, 1000, time.Hour)}, admission.Demand{Tokens: 100})
	f(admission.Rules{Concurrent: &slots}, admission.Demand{})
	f(admission.Rules{Budget: &admission.Budget{MicroUSD: 1000, Per: admission.PerMonth}}, admission.Demand{MicroUSD: 100})
}

// What is handed back is there for others, and what is owed is told, in the
// background.
func TestHandedBack(t *testing.T) {
	s := testredis.Start(t)
	r := admission.Rules{Tokens: admission.NewRate(1000, 1000, time.Hour), Budget: &admission.Budget{MicroUSD: 1000, Per: admission.PerTotal}}
	a, b := join(t, s, 10*time.Second, r), join(t, s, 10*time.Second, r)
	defer b.broker.Close()
	ticket, ok := a.try(admission.Demand{Tokens: 600, MicroUSD: 600})
	require.True(t, ok)
	_, ok = b.try(admission.Demand{Tokens: 600, MicroUSD: 600})
	require.False(t, ok)
	ticket.Settle(time.Now(), admission.Demand{Tokens: 100, MicroUSD: 100})
	passes := func(n int64) func() bool {
		return func() bool {
			ticket, ok := b.try(admission.Demand{Tokens: n, MicroUSD: n})
			ticket.Settle(time.Now(), admission.Demand{})
			return ok
		}
	}
	require.Eventually(t, passes(800), 20*time.Second, 20*time.Millisecond, "100 were used")
	ticket, ok = a.try(admission.Demand{Tokens: 100, MicroUSD: 100})
	require.True(t, ok)
	ticket.Settle(time.Now(), admission.Demand{Tokens: 500, MicroUSD: 500}) // more than reserved
	require.Eventually(t, func() bool { return !passes(500)() }, 20*time.Second, 20*time.Millisecond, "600 were")
	a.broker.Close()
	require.Eventually(t, passes(390), 20*time.Second, 20*time.Millisecond, "what it held is free")
	assert.Equal(t, int64(0), a.broker.Status().Replicas)
	require.Eventually(t, func() bool { return b.broker.Status().Replicas == 1 }, 20*time.Second, 20*time.Millisecond, "it has left")
}

// A lease that nobody uses any more is looked after by nobody.
func TestNothingIsLookedAfterForEver(t *testing.T) {
	s := testredis.Start(t)
	m := join(t, s, 10*time.Second, admission.Rules{Requests: admission.NewRate(1000, 1000, time.Minute)})
	defer m.broker.Close()
	ticket, ok := m.try(admission.Demand{})
	require.True(t, ok)
	ticket.Settle(time.Now(), admission.Demand{})
	require.Eventually(t, func() bool { return m.broker.Status().Leases == 1 }, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return m.broker.Status().Leases == 0 }, 20*time.Second, 10*time.Millisecond)
}

// The rights that the documentation gives to a user of its own are enough, and all
// that is touched is below the prefix.
func TestLeastRights(t *testing.T) {
	page, err := os.ReadFile("../../docs/how-to/several-replicas.md")
	require.NoError(t, err)
	line := regexp.MustCompile(`redis-cli (ACL SETUSER helixflow on) '>a long password' '(~helixflow:\*)' (.*)`).FindStringSubmatch(string(page))
	require.NotNil(t, line)
	s := testredis.Start(t)
	s.Command(t, strings.Fields(strings.Join(append(line[1:], ">hunter2"), " "))...)
	c, err := redisx.Open(redisx.Options{
		URL: secret.New(strings.Replace(s.URL(), "//", "//helixflow:hunter2@", 1)), Timeout: 10 * time.Second, ConnectTimeout: 10 * time.Second,
		Prefix: "helixflow", Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	slots := int64(10)
	m := new(member)
	m.broker = NewBroker(&m.book)
	m.scope = m.book.Scope(admission.Tenant, "t")
	m.scope.Set(&admission.Rules{
		Requests: admission.NewRate(100, 100, time.Minute), Concurrent: &slots, Budget: &admission.Budget{MicroUSD: 1000, Per: admission.PerTotal},
	})
	m.broker.Use(c)
	ticket, ok := m.try(admission.Demand{MicroUSD: 10})
	require.True(t, ok)
	ticket.Settle(time.Now(), admission.Demand{MicroUSD: 5})
	require.Eventually(t, func() bool { return m.broker.Status().Replicas == 1 }, 20*time.Second, time.Millisecond)
	m.broker.Close()
	for kind, n := range c.Stats().Failed {
		assert.Zero(t, n, kind)
	}
	assert.Equal(t, ":3", s.Command(t, "DBSIZE"), "three limits; it has left the replicas")
}
