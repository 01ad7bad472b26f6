//go:build !race

// These tests play engines against the limit that is found out for them, by a
// clock of their own.
package balancer_test

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// engine is one that runs so many requests at once and lets the others wait, as
// vLLM does, or refuses them, as TGI does.
type engine struct {
	slots   int
	refuses bool
	prefill time.Duration
	decode  time.Duration
	noise   float64 // of its first tokens: the sigma of a lognormal
	rnd     *rand.Rand
	events  moments
	running int
	waiting []*job
}

type job struct {
	sent     time.Duration
	inflight int32
}

type moment struct {
	at   time.Duration
	what func(now time.Duration)
}

type moments []moment

func (m moments) Len() int           { return len(m) }
func (m moments) Less(i, j int) bool { return m[i].at < m[j].at }
func (m moments) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *moments) Push(x any)        { *m = append(*m, x.(moment)) }
func (m *moments) Pop() any {
	old := *m
	x := old[len(old)-1]
	*m = old[:len(old)-1]
	return x
}

// play is a backend behind a limit, and the requests that come for it.
type play struct {
	*engine
	limit    *balancer.Concurrency
	rate     func(now time.Duration) float64 // requests a second
	patience int                             // requests that may wait for room; more are refused
	inflight int32
	queue    int
	served   int
	worst    float64 // the longest wait for a first token of those served lately, in seconds
	limits   []int32 // at each second
	now      time.Duration
}

var midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *play) at(t time.Duration, what func(now time.Duration)) {
	heap.Push(&p.events, moment{t, what})
}

// run plays on for so long.
func (p *play) run(long time.Duration) {
	if p.now == 0 {
		p.at(0, p.arrive)
		p.at(0, p.note)
	}
	for end := p.now + long; ; {
		m := heap.Pop(&p.events).(moment)
		if m.at > end {
			heap.Push(&p.events, m)
			p.now = end
			return
		}
		m.what(m.at)
		p.send(m.at)
	}
}

func (p *play) note(now time.Duration) {
	p.limits = append(p.limits, p.limit.Current())
	p.at(now+time.Second, p.note)
}

func (p *play) arrive(now time.Duration) {
	rate := p.rate(now)
	if rate > 0 && p.queue < p.patience {
		p.queue++
	}
	gap := p.rnd.ExpFloat64() / math.Max(rate, 1)
	p.at(now+time.Duration(gap*float64(time.Second)), p.arrive)
}

// send passes on what waits while there is room.
func (p *play) send(now time.Duration) {
	for p.queue > 0 && p.inflight < p.limit.Current() {
		p.queue--
		p.inflight++
		j := &job{now, p.inflight}
		switch {
		case p.running < p.slots:
			p.begin(j, now)
		case p.refuses:
			p.inflight--
			p.limit.Observe(balancer.Answer{Sent: midnight.Add(now), InFlight: j.inflight, Refused: true}, midnight.Add(now+time.Millisecond))
		default:
			p.waiting = append(p.waiting, j)
		}
	}
}

func (p *play) begin(j *job, now time.Duration) {
	p.running++
	first := now + time.Duration(float64(p.prefill)*math.Exp(p.noise*p.rnd.NormFloat64()))
	p.at(first, func(now time.Duration) {
		p.worst = math.Max(p.worst, (now - j.sent).Seconds())
		p.limit.Observe(balancer.Answer{Sent: midnight.Add(j.sent), InFlight: j.inflight, Slowness: (now - j.sent).Seconds() / 0.1}, midnight.Add(now))
	})
	p.at(first+time.Duration(float64(p.decode)*p.rnd.ExpFloat64()), func(now time.Duration) {
		p.running--
		p.inflight--
		p.served++
		if len(p.waiting) > 0 {
			next := p.waiting[0]
			p.waiting = p.waiting[1:]
			p.begin(next, now)
		}
	})
}

func newPlay(slots int, rate func(time.Duration) float64) *play {
	c := new(balancer.Concurrency)
	c.Bound(2, 1024)
	return &play{
		engine:   &engine{slots: slots, prefill: 100 * time.Millisecond, decode: 2 * time.Second, noise: 0.3, rnd: rand.New(rand.NewPCG(1, uint64(slots)))},
		limit:    c,
		rate:     rate,
		patience: 1000,
	}
}

// capacity is how many requests a second the engine can serve.
func (p *play) capacity() float64 {
	return float64(p.slots) / (p.prefill*time.Duration(100+int(50*p.noise*p.noise))/100 + p.decode).Seconds()
}

func mean(list []int32) (sum float64) {
	for _, n := range list {
		sum += float64(n) / float64(len(list))
	}
	return sum
}

func times(factor, rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return factor * rate }
}

// TestConcurrencyFindsTheKnee: under three times the load that engines of all
// sizes can bear the limit comes to what they can, and they stay busy.
func TestConcurrencyFindsTheKnee(t *testing.T) {
	f := func(slots int, refuses bool, noise float64) {
		t.Helper()
		p := newPlay(slots, nil)
		p.refuses, p.noise = refuses, noise
		calm, full := 0.5*p.capacity(), 3*p.capacity()
		p.rate = func(now time.Duration) float64 {
			if now < 30*time.Second {
				return calm
			}
			return full
		}
		p.run(90 * time.Second)
		before := p.served
		p.worst = 0
		p.run(5 * time.Minute)
		found := mean(p.limits[90:])
		goodput := float64(p.served-before) / 300 / p.capacity()
		t.Logf("%3d slots, refuses %-5v noise %.1f: limit %.1f, goodput %.2f, worst first token %.2f s", slots, refuses, noise, found, goodput, p.worst)
		assert.Greater(t, found, 0.7*float64(slots))
		assert.Less(t, found, 1.5*float64(slots)+2)
		assert.Greater(t, goodput, 0.85)
	}
	for _, slots := range []int{4, 16, 64, 256} {
		f(slots, false, 0.3)
		f(slots, true, 0.3)
		f(slots, false, 1)
	}
}

// TestConcurrencyFromACrowd: an engine that is overloaded from its first request
// on is found out too.
func TestConcurrencyFromACrowd(t *testing.T) {
	p := newPlay(32, nil)
	p.rate = times(3, p.capacity())
	p.run(5 * time.Minute)
	before := p.served
	p.run(5 * time.Minute)
	assert.Less(t, mean(p.limits[300:]), 48.)
	assert.Greater(t, float64(p.served-before)/300/p.capacity(), 0.85)
}

// TestConcurrencyRecovers: an engine that is throttled to an eighth for a while
// gets all it can bear back soon after.
func TestConcurrencyRecovers(t *testing.T) {
	p := newPlay(64, nil)
	p.rate = times(0.5, p.capacity())
	p.run(30 * time.Second)
	full := p.capacity()
	p.rate = times(2, full)
	p.slots = 8
	p.run(3 * time.Minute)
	assert.Less(t, mean(p.limits[120:]), 16.)
	p.slots = 64
	p.run(30 * time.Second)
	before := p.served
	p.run(time.Minute)
	assert.Greater(t, float64(p.served-before)/60/full, 0.85)
}

// TestConcurrencyStaysWithoutNeed: what is not used up does not grow, and noise
// alone, however wild, does not take from an engine what it needs.
func TestConcurrencyStaysWithoutNeed(t *testing.T) {
	for _, noise := range []float64{0.5, 1, 1.5} {
		p := newPlay(64, nil)
		p.noise = noise
		p.rate = times(0.5, p.capacity())
		p.run(10 * time.Minute)
		t.Logf("noise %.1f: at least %d, on average %.0f", noise, slices.Min(p.limits), mean(p.limits))
		assert.Greater(t, mean(p.limits), 32.)
		assert.Less(t, p.queue, 10)
	}

	var c balancer.Concurrency
	c.Bound(2, 1024)
	now := midnight
	c.Observe(balancer.Answer{Sent: now, InFlight: 10, Refused: true}, now)
	require.EqualValues(t, 8, c.Current())
	for range 1000 {
		now = now.Add(time.Second)
		require.False(t, c.Observe(balancer.Answer{Sent: now, InFlight: 3, Slowness: 1}, now.Add(time.Second/2)))
	}
	require.EqualValues(t, 8, c.Current())
}

// TestConcurrencyCutsOncePerRoundTrip: many refusals of one crowd are one cut, and
// room for one more is made once per round trip.
func TestConcurrencyCutsOncePerRoundTrip(t *testing.T) {
	var c balancer.Concurrency
	c.Bound(2, 1024)
	now := midnight
	for range 50 {
		c.Observe(balancer.Answer{Sent: midnight, InFlight: 100, Refused: true}, now.Add(time.Millisecond))
	}
	require.EqualValues(t, 80, c.Current())
	now = now.Add(time.Second)
	for range 50 {
		c.Observe(balancer.Answer{Sent: now, InFlight: 80, Slowness: 1}, now.Add(time.Millisecond))
	}
	require.EqualValues(t, 81, c.Current())
}

// TestConcurrencyBlamesOnlyTheCrowd: a backend that is slower than it was for
// another reason, which fewer requests do not mend, gets its room back.
func TestConcurrencyBlamesOnlyTheCrowd(t *testing.T) {
	p := newPlay(64, nil)
	p.rate = times(0.5, p.capacity())
	p.run(2 * time.Minute)
	p.prefill *= 4
	p.run(2 * time.Minute)
	assert.Greater(t, p.limits[len(p.limits)-1], int32(64))
	assert.Less(t, p.queue, 10)
}

func TestConcurrencyBounds(t *testing.T) {
	var c balancer.Concurrency
	require.False(t, c.Observe(balancer.Answer{InFlight: 1, Refused: true}, midnight))
	require.Zero(t, c.Current(), "no bounds: no limit")
	c.Bound(4, 16)
	require.EqualValues(t, 16, c.Current())
	c.Bound(4, 32)
	require.EqualValues(t, 32, c.Current(), "what was at the top stays there")
	now := midnight
	for range 20 {
		now = now.Add(time.Second)
		c.Observe(balancer.Answer{Sent: now, InFlight: c.Current(), Refused: true}, now)
	}
	require.EqualValues(t, 4, c.Current())
	c.Bound(8, 32)
	require.EqualValues(t, 8, c.Current())
	for range 100 {
		now = now.Add(time.Second)
		c.Observe(balancer.Answer{Sent: now, InFlight: c.Current(), Slowness: 1}, now)
	}
	require.EqualValues(t, 32, c.Current())

	load := new(balancer.Load)
	bound := func(configured int32, c *balancer.Concurrency) int32 {
		return (&balancer.Candidate{Load: load, Limit: configured, Concurrency: c}).Bound()
	}
	assert.EqualValues(t, 0, bound(0, nil))
	assert.EqualValues(t, 7, bound(7, nil))
	assert.EqualValues(t, 32, bound(0, &c))
	assert.EqualValues(t, 7, bound(7, &c))
	assert.EqualValues(t, 32, bound(64, &c))
	assert.EqualValues(t, 64, bound(64, new(balancer.Concurrency)))
}

func TestConcurrencyAllocatesNothing(t *testing.T) {
	var c balancer.Concurrency
	c.Bound(2, 1024)
	now := midnight
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		c.Observe(balancer.Answer{Sent: now, InFlight: c.Current(), Slowness: 2}, now)
		c.Observe(balancer.Answer{Sent: now, InFlight: 9, Refused: true}, now)
	}))
}
