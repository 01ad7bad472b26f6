package sharing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/router/admission"
)

// renewed is after how long a lease is exchanged at the latest.
const renewed = 300 * time.Millisecond

// fleet are replicas that share one scope through the model of a Redis, in
// simulated time.
type fleet struct {
	rnd      *rand.Rand
	rules    *admission.Rules
	redis    *model
	now      time.Time
	replicas []*replica
	started  int
	down     bool // Redis answers nobody
	answers  float64
	asked    int // exchanges
	passed   []pass
}

type pass struct {
	at     time.Time
	amount int64
}

// replica is one process: its book, its leases, a clock of its own.
type replica struct {
	name    string
	skew    time.Duration
	commons *admission.Commons
	book    *admission.Book
	scope   *admission.Scope
	leases  []*admission.Lease
	cut     bool // Redis does not hear it
}

func newFleet(seed uint64, n int, rules *admission.Rules) *fleet {
	f := &fleet{rnd: rand.New(rand.NewPCG(seed, 7)), rules: rules, redis: newModel(1e15 + int64(seed)), now: time.Now().Add(time.Hour), answers: 1}
	for range n {
		f.replicas = append(f.replicas, f.start())
	}
	f.tell()
	return f
}

func (f *fleet) start() *replica {
	f.started++
	r := &replica{name: fmt.Sprint("r", f.started), skew: time.Duration(f.rnd.Int64N(int64(time.Hour))), commons: admission.NewCommons(), book: new(admission.Book)}
	r.book.Share(r.commons)
	r.scope = r.book.Scope(admission.Tenant, "t")
	r.scope.Set(f.rules)
	r.commons.SetReplicas(int64(max(len(f.replicas), 1)))
	return r
}

// tell has every replica know how many there are.
func (f *fleet) tell() {
	for _, r := range f.replicas {
		r.commons.SetReplicas(int64(len(f.replicas)))
	}
}

func (f *fleet) pass(d time.Duration) {
	f.now = f.now.Add(d)
	f.redis.now += d.Microseconds()
}

// exchange is one talk with Redis; it may be lost on the way there, or back.
func (f *fleet) exchange(r *replica, l *admission.Lease, need int64, quit bool) {
	bid, ok := l.Bid(f.now.Add(r.skew), need, quit)
	if !ok {
		return
	}
	heard := !f.down && !r.cut && f.rnd.Float64() < f.answers
	if heard {
		f.asked++
		grant := f.redis.exchange(l.Name(), fmt.Sprint(r.name, "-", l.Serial()), &bid)
		if f.rnd.Float64() < f.answers && l.Grant(&bid, grant) {
			return
		}
	}
	l.Fail(&bid)
}

// ask takes amounts of whatever the rules have, as a request does.
func (f *fleet) ask(r *replica, amount int64) (ticket admission.Ticket, ok bool) {
	now := f.now.Add(r.skew)
	var no admission.Refusal
	for i := range 10 {
		if i == 8 {
			ticket.GoAlone()
		}
		if no, ok = ticket.Arrive(now, r.scope); ok {
			no, ok = ticket.Admit(now, admission.Demand{Tokens: amount, MicroUSD: amount})
		}
		if ok || no.Lacks == nil {
			return ticket, ok
		}
		no.Lacks.Want(no.Asked)
		if !no.Lacks.Alone() {
			f.exchange(r, no.Lacks, no.Asked, false)
			no.Lacks.Stir()
		}
		no.Lacks.Want(-no.Asked)
	}
	return ticket, false
}

// look is what the goroutine of a broker does.
func (f *fleet) look(r *replica) {
	for {
		select {
		case l := <-r.commons.Stirred():
			r.leases = append(r.leases, l)
			continue
		default:
		}
		break
	}
	now, kept := f.now.Add(r.skew), r.leases[:0]
	for _, l := range r.leases {
		switch task := l.Task(now); task {
		case admission.Forget:
			l.Rest(now)
			continue
		case admission.Renew, admission.Quit:
			f.exchange(r, l, 0, task == admission.Quit)
		}
		kept = append(kept, l)
	}
	r.leases = kept
}

// load offers requests for a time, with something going wrong now and then.
type load struct {
	for_    time.Duration
	perSec  float64 // requests, of all replicas together
	amount  int64   // up to
	busy    int     // how many replicas get any; 0: all
	trouble func()
}

func (f *fleet) run(l load) (admitted int64) {
	next := f.now
	for end := f.now.Add(l.for_); f.now.Before(end); f.pass(look) {
		for until := f.now.Add(look); next.Before(until); {
			f.pass(max(next.Sub(f.now), 0))
			busy := len(f.replicas)
			if l.busy > 0 {
				busy = min(l.busy, busy)
			}
			amount := 1 + f.rnd.Int64N(l.amount)
			if _, ok := f.ask(f.replicas[f.rnd.IntN(busy)], amount); ok {
				if f.rules.Requests != nil {
					amount = 1
				}
				f.passed = append(f.passed, pass{f.now, amount})
				admitted += amount
			}
			next = next.Add(time.Duration(f.rnd.ExpFloat64() / l.perSec * float64(time.Second)))
		}
		for _, r := range f.replicas {
			f.look(r)
		}
		if l.trouble != nil {
			l.trouble()
		}
	}
	return admitted
}

// worst is by how much what passed exceeds rate·W + burst in the window where it
// does most.
func (f *fleet) worst(rate, burst float64) float64 {
	level, worst, last := 0.0, math.Inf(-1), f.now
	for i, p := range f.passed {
		if i > 0 {
			level = math.Max(0, level-p.at.Sub(last).Seconds()*rate)
		}
		last = p.at
		level += float64(p.amount)
		worst = math.Max(worst, level-burst)
	}
	return worst
}

// lease is L of the bound: what a replica may hold over and above.
func leaseSize(rate, burst float64, n int) float64 {
	return min(max(rate*0.1/float64(n), 1), max(burst/2, 1))
}

// scene is a fleet with limits drawn at random, and loads between nothing and far
// too much.
type scene struct {
	*fleet
	n           int
	rate, burst float64
}

func newScene(seed uint64) scene {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := 1 + rnd.IntN(8)
	limit := int64(math.Exp(rnd.Float64() * 14)) // 1 to 1.2 million a minute
	burst := 1 + rnd.Int64N(limit)
	f := newFleet(seed, n, &admission.Rules{Tokens: admission.NewRate(limit, burst, time.Minute)})
	return scene{fleet: f, n: n, rate: float64(limit) / 60, burst: float64(burst)}
}

// act offers for some seconds enough to use up the burst and the rate, or not
// quite, and then nothing for a while.
func (s *scene) act(trouble func()) {
	const perSec = 150
	amount := int64(2 * (s.rate*4*s.rnd.Float64() + s.burst*s.rnd.Float64()/3) / perSec)
	s.run(load{for_: time.Duration(1+s.rnd.IntN(10)) * time.Second, perSec: perSec, amount: min(max(amount, 1), max(int64(s.burst)/4, 1)), busy: s.rnd.IntN(s.n + 1), trouble: trouble})
	s.pass(time.Duration(s.rnd.Int64N(int64(3 * time.Second))))
}

// kill replaces a replica by a new one; nobody hands its leases back.
func (s *scene) kill() {
	s.replicas[s.rnd.IntN(s.n)] = s.start()
	s.tell()
}

// Whatever the load, the number of replicas and the limits, in every window what
// passes is at most rate·W + burst + N·L. Replicas that die with leases change
// nothing of it.
func TestBound(t *testing.T) {
	full := 0
	for seed := range uint64(60) {
		s := newScene(seed)
		for range 6 {
			s.act(func() {
				if s.rnd.IntN(100) == 0 {
					s.kill()
				}
			})
		}
		worst, bound := s.worst(s.rate, s.burst), float64(s.n)*leaseSize(s.rate, s.burst, s.n)
		require.LessOrEqual(t, worst, bound, "seed %d: %d replicas, rate %f, burst %f", seed, s.n, s.rate, s.burst)
		if worst > -s.burst/10-1 {
			full++
		}
	}
	assert.Greater(t, full, 30, "in most of them the limit was reached")
}

// When Redis does not answer, or not all replicas, or not always, or forgets
// everything, there is at most one burst more, or a request of each replica where
// that is more; and what replicas take that it does not hear comes on top of the
// rate.
func TestBoundInTrouble(t *testing.T) {
	for seed := range uint64(60) {
		s := newScene(seed)
		for i := range 8 {
			for _, r := range s.replicas {
				r.cut = s.rnd.IntN(4) == 0
			}
			s.down = s.rnd.IntN(4) == 0
			s.answers = 1 - float64(i%3)*0.2
			if s.rnd.IntN(3) == 0 {
				s.redis.limits = map[string]*modelLimit{}
			}
			s.act(nil)
		}
		largest := int64(0)
		for _, p := range s.passed {
			largest = max(largest, p.amount)
		}
		rate := s.rate * (1 + float64(s.n-1)/float64(s.n))
		require.LessOrEqual(t, s.worst(rate, s.burst), max(s.burst, float64(int64(s.n)*largest)),
			"seed %d: %d replicas, rate %f, burst %f", seed, s.n, s.rate, s.burst)
	}
}

// Of slots no more are in use than there are, of a budget no more is spent; a
// replica that dies takes its requests along.
func TestBoundOfSlotsAndBudgets(t *testing.T) {
	type running struct {
		r      *replica
		ticket admission.Ticket
		until  time.Time
	}
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		n, slots, budget := 1+rnd.IntN(8), 1+rnd.Int64N(100), 1+rnd.Int64N(1e6)
		f := newFleet(seed, n, &admission.Rules{Concurrent: &slots, Budget: &admission.Budget{MicroUSD: budget, Per: admission.PerTotal}})
		var now []running
		most, spent := 0, int64(0)
		for range 2000 {
			f.pass(time.Duration(rnd.Int64N(int64(2 * look))))
			if rnd.IntN(300) == 0 {
				i := rnd.IntN(n)
				now = slices.DeleteFunc(now, func(one running) bool { return one.r == f.replicas[i] })
				f.replicas[i] = f.start()
				f.tell()
			}
			now = slices.DeleteFunc(now, func(one running) bool {
				if one.until.After(f.now) {
					return false
				}
				one.ticket.Settle(f.now.Add(one.r.skew), one.ticket.Reserved())
				return true
			})
			r, cost := f.replicas[rnd.IntN(n)], 1+rnd.Int64N(budget/200+1)
			if ticket, ok := f.ask(r, cost); ok {
				now = append(now, running{r, ticket, f.now.Add(time.Duration(rnd.Int64N(int64(5 * time.Second))))})
				spent += cost
			}
			require.LessOrEqual(t, len(now), int(slots), "seed %d", seed)
			require.LessOrEqual(t, spent, budget, "seed %d", seed)
			most = max(most, len(now))
			for _, r := range f.replicas {
				f.look(r)
			}
		}
		require.Positive(t, most)
	}
}

// The slots of a replica that dies are back within a second, whenever it dies.
func TestSlotsOfTheDeadComeBack(t *testing.T) {
	slots := int64(4)
	for seed := range uint64(30) {
		f := newFleet(seed, 2, &admission.Rules{Concurrent: &slots})
		dies, stays := f.replicas[0], f.replicas[1]
		for range slots {
			_, ok := f.ask(dies, 1)
			require.True(t, ok)
		}
		for range 50 + f.rnd.IntN(50) {
			f.pass(look)
			f.look(dies)
			f.look(stays)
			_, ok := f.ask(stays, 1)
			require.False(t, ok)
		}
		died := f.now
		for ok := false; !ok; _, ok = f.ask(stays, 1) {
			f.pass(5 * time.Millisecond)
			f.look(stays)
			require.Less(t, f.now.Sub(died), 980*time.Millisecond, "seed %d", seed)
		}
	}
}

// A replica that had many requests at once and goes on with one leaves the slots to
// others, though it never rests.
func TestSlotsAreLeft(t *testing.T) {
	slots := int64(40)
	f := newFleet(1, 2, &admission.Rules{Concurrent: &slots})
	had, wants := f.replicas[0], f.replicas[1]
	tickets := make([]admission.Ticket, 35)
	for i := range tickets {
		var ok bool
		tickets[i], ok = f.ask(had, 1)
		require.True(t, ok)
	}
	for i := range tickets[1:] {
		tickets[i+1].Settle(f.now.Add(had.skew), admission.Demand{})
	}
	began, running := f.now, 0
	for running < 35 {
		if _, ok := f.ask(wants, 1); ok {
			running++
		}
		f.pass(look)
		f.look(had)
		f.look(wants)
		require.Less(t, f.now.Sub(began), 5*time.Second, "%d run", running)
	}
}

// A limit that leaves the plan and comes back is as used as it was.
func TestLimitComesBack(t *testing.T) {
	f := newFleet(1, 1, &admission.Rules{Tokens: admission.NewRate(100, 100, time.Hour)})
	r := f.replicas[0]
	for range 90 {
		_, ok := f.ask(r, 1)
		require.True(t, ok)
	}
	for range 5 { // it is told
		f.pass(renewed)
		f.look(r)
	}
	_, ok := f.ask(r, 5)
	require.True(t, ok)
	f.look(r)
	require.NotEmpty(t, r.leases)
	r.book.Enforce(nil)
	r.scope = r.book.Scope(admission.Tenant, "t")
	r.scope.Set(f.rules)
	_, ok = f.ask(r, 6)
	assert.False(t, ok)
	for range 10 {
		f.pass(renewed)
		f.look(r)
	}
	_, ok = f.ask(r, 6)
	assert.False(t, ok)
	_, ok = f.ask(r, 4)
	assert.True(t, ok)
	for range 10 {
		f.pass(renewed)
		f.look(r)
	}
	assert.Empty(t, r.leases, "nobody looks after those of before")
}

// With as many requests as one likes all of the rate is used, and no more
// exchanges are made than ten a second for each replica.
func TestUse(t *testing.T) {
	f := func(limit, burst int64, n, busy int, perSec float64, amount int64) {
		t.Helper()
		rate := float64(limit) / 60
		fl := newFleet(uint64(n), n, &admission.Rules{Tokens: admission.NewRate(limit, burst, time.Minute)})
		fl.run(load{for_: time.Minute, perSec: perSec, amount: amount, busy: busy})
		before := fl.asked
		got := fl.run(load{for_: 2 * time.Minute, perSec: perSec, amount: amount, busy: busy})
		assert.InDelta(t, 120*rate, float64(got), 120*rate/100+float64(n*int(amount)), "limit %d burst %d replicas %d busy %d", limit, burst, n, busy)
		assert.LessOrEqual(t, float64(fl.asked-before)/120, float64(10*n)*1.02, "limit %d burst %d replicas %d busy %d", limit, burst, n, busy)
	}
	f(600, 600, 4, 0, 500, 1)
	f(600, 600, 4, 1, 500, 1)
	f(600, 60, 8, 0, 500, 1)
	f(60, 60, 4, 0, 50, 1)
	f(6000, 6000, 4, 0, 500, 1)
	f(6000, 100, 4, 0, 800, 1)
	f(6000, 6000, 1, 0, 500, 1)
	f(6000, 6000, 8, 1, 500, 1)
	f(200_000, 200_000, 4, 0, 100, 2000)
	f(200_000, 50_000, 8, 3, 100, 8000)
}

// A tenant below its limit is not refused for longer than a lease lives, whatever
// other replicas hold.
func TestNoStarvation(t *testing.T) {
	for seed := range uint64(30) {
		n := 2 + int(seed%7)
		limit := int64(600) << (seed % 5)
		f := newFleet(seed, n, &admission.Rules{Requests: admission.NewRate(limit, max(limit/20, int64(2*n)), time.Minute)})
		since := make(map[*replica]time.Time)
		f.run(load{for_: 30 * time.Second, perSec: float64(limit) / 60, amount: 1, busy: 1}) // one of them gets used to a lot
		for end := f.now.Add(30 * time.Second); f.now.Before(end); f.pass(look) {
			for _, r := range f.replicas {
				if f.rnd.Float64() < 0.5*float64(limit)/60*look.Seconds()/float64(n) {
					if _, ok := f.ask(r, 1); ok {
						delete(since, r)
					} else if _, again := since[r]; !again {
						since[r] = f.now
					} else {
						require.Less(t, f.now.Sub(since[r]), 1500*time.Millisecond, "seed %d", seed)
					}
				}
				f.look(r)
			}
		}
	}
}

// Answers that come too late, as they do on a busy machine, do not let a limit pass
// more: what replicas take from their shares meanwhile is paid back. Only a burst
// may be longer by what one of them is asked for until it tries again.
func TestLateAnswers(t *testing.T) {
	f := func(late float64, seed uint64, above float64) {
		t.Helper()
		fl := newFleet(seed, 4, &admission.Rules{Requests: admission.NewRate(600, 600, time.Minute)})
		fl.answers = 1 - late
		fl.run(load{for_: time.Minute, perSec: 500, amount: 1})
		for minute := 2; minute <= 3; minute++ {
			passed := fl.run(load{for_: time.Minute, perSec: 500, amount: 1})
			assert.InDelta(t, 598.5, passed, 4.5, "late %.2f, seed %d, minute %d", late, seed, minute)
		}
		assert.LessOrEqual(t, fl.worst(10, 600), above, "late %.2f, seed %d", late, seed)
	}
	const leases, share = 4, 20
	for seed := range uint64(3) {
		f(0, seed, leases)
		f(0.01, seed, leases+share)
		f(0.05, seed, leases+share)
	}
}
