package backends

// The state machine alone: scripts of what happens, and random histories.

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patient drives an outlier as its pool would.
type patient struct {
	o     outlier
	rules Rules
	now   tick
	may   bool // the pool allows one more to be ejected
	rand  uint64
}

func newPatient() *patient {
	return &patient{rules: DefaultRules(), may: true, rand: 1 << 63} // in the middle: no jitter
}

// try is one request, from its pass to its report.
func (p *patient) try(e Evidence) bool {
	pass, ok := p.o.pass(true)
	if ok {
		p.end(pass, e)
	}
	return ok
}

func (p *patient) end(pass Pass, e Evidence) {
	w := p.o.report(pass, e, &p.rules.Ejection, p.now)
	switch {
	case pass.life != p.o.life():
	case w == wishIn:
		p.o.win(p.now)
	case w == wishOut && p.may:
		p.o.leave(Ejected, e, "failed", &p.rules.Ejection, p.now, p.rand)
	}
}

func (p *patient) check(reason string) { p.o.probed(reason, &p.rules, p.may, p.now, p.rand) }

func (p *patient) pass(d time.Duration) {
	p.now += tick(d)
	p.o.advance(p.rules.SlowStart, p.now)
}

// play runs a script: w, n, p, s, f, u are requests that end Well … Unreachable,
// g and b are good and bad checks, a number of seconds or minutes lets time pass,
// "full" and "room" say what the pool allows. x3 repeats the word before it.
func (p *patient) play(t *testing.T, script string) {
	t.Helper()
	evidence := map[string]Evidence{"w": Well, "n": Neutral, "p": Pressed, "s": Slow, "f": Faulty, "u": Unreachable}
	for word := range strings.FieldsSeq(script) {
		word, times := word, 1
		if i := strings.IndexByte(word, 'x'); i > 0 {
			for times = 0; i+1 < len(word); i++ {
				times = times*10 + int(word[i+1]-'0')
			}
			word = word[:strings.IndexByte(word, 'x')]
		}
		for range times {
			switch e, isTry := evidence[word]; {
			case isTry:
				p.try(e)
			case word == "g":
				p.check("")
			case word == "b":
				p.check("bad")
			case word == "full" || word == "room":
				p.may = word == "room"
			default:
				d, err := time.ParseDuration(word)
				require.NoError(t, err, script)
				p.pass(d)
			}
		}
	}
}

func TestOutlierScripts(t *testing.T) {
	f := func(script string, want State) {
		t.Helper()
		p := newPatient()
		p.play(t, script)
		assert.Equal(t, want.String(), p.o.state().String(), script)
	}
	// Failures in a row.
	f("", Healthy)
	f("fx4", Healthy)
	f("fx5", Ejected)
	f("fx4 w fx4", Healthy)
	f("fx4 n p fx1", Ejected)
	f("sx9", Healthy)
	f("sx10", Ejected)
	f("fx4 s s", Ejected)
	f("u", Healthy)
	f("u u", Ejected)
	f("u w u", Healthy)
	f("u f u", Healthy)
	f("u g u", Healthy)
	f("px100 nx100", Healthy)
	// The rate.
	f("wx10 fx4 wx1 fx4 w f f", Healthy) // 10 of 22
	f("wx5 fx4 w fx4 w fx4 w", Healthy)  // 12 of 20, but the last was none
	f("wx5 fx4 w fx4 w fx4 w f", Ejected)
	f("fx4 w fx4 w fx4 w fx3", Healthy) // 15 of 18
	f("fx4 w fx4 w 41s fx4 w fx3", Healthy)
	f("wx5 sx8 w sx8 w sx8 w s", Healthy) // halves: 12.5 of 33
	// The pool decides.
	f("full fx20", Healthy)
	f("full fx20 room f", Ejected)
	// Checks.
	f("b b", Healthy)
	f("b b b", Unhealthy)
	f("b b g b b", Healthy)
	f("full b b b", Unhealthy)
	f("u b", Healthy)
	f("u b b", Unhealthy)
	f("u u b", Unhealthy)
	f("full u u b", Unhealthy)
	f("full ux50 b", Unhealthy)
	f("fx5 b b", Ejected)
	f("fx5 b b b", Unhealthy)
	// What checks found, checks make good; what requests found, a request.
	f("b b b g", Unhealthy)
	f("b b b g b g", Unhealthy)
	f("b b b g g", SlowStart)
	f("b b b wx100", Unhealthy)
	f("u u g g", SlowStart)
	f("fx5 g", Ejected)
	f("fx5 g g", HalfOpen)
	f("fx5 b b b g g", SlowStart) // it was gone, and what came back is another life
	f("fx5 g g gx10", HalfOpen)
	f("fx5 g g w", HalfOpen)
	f("fx5 g g w n p w", SlowStart)
	f("fx5 g g w w", SlowStart)
	f("fx5 g g w f", Ejected)
	f("fx5 g g w s", Ejected)
	f("fx5 g g b", Ejected)
	f("fx5 g g w w 29s", SlowStart)
	f("fx5 g g w w 30s", Healthy)
	// Again: 30 s times n.
	f("fx5 g g f g g", Ejected)
	f("fx5 g g f 29s gx30", Ejected)
	f("fx5 g g f 31s g g", HalfOpen)
	f("fx5 g g f 31s g g f 59s gx60", Ejected)
	f("fx5 g g f 31s g g f 61s g g", HalfOpen)
	f("b b b g g b b b 10s g g", Ejected) // answers, but is not trusted yet
	f("b b b g g b b b 10s gx20 b b b", Unhealthy)
	f("b b b g g b b b 31s g g", SlowStart)
	f("b b b g g b b b full 10s g g", SlowStart) // the pool cannot spare it
	f("b b b g g 31s b b b g g", SlowStart)      // it had made itself at home again
	f("b b b g g b b b 31s g g 31s b b b 10s g g", Ejected)
	f("b b b g g b b b 31s g g 11m b b b g g", SlowStart)
}

func TestHoldIsJitteredAndCapped(t *testing.T) {
	r := DefaultRules().Ejection
	f := func(times int, random uint64, want time.Duration) {
		t.Helper()
		assert.InDelta(t, want.Seconds(), holdFor(times, &r, random).Seconds(), 1e-6)
	}
	f(0, 77, 0)
	f(1, 0, 24*time.Second)
	f(1, 1<<63, 30*time.Second)
	f(1, 1<<64-1, 36*time.Second)
	f(3, 1<<63, 90*time.Second)
	f(10, 1<<64-1, 300*time.Second)
	f(1<<30, 0, 240*time.Second)
}

// A request that began before the endpoint went out says nothing about the
// life after that.
func TestOldPassesAreNoEvidence(t *testing.T) {
	p := newPatient()
	old := make([]Pass, 100)
	for i := range old {
		old[i], _ = p.o.pass(true)
	}
	p.play(t, "u u g g")
	require.Equal(t, SlowStart, p.o.state())
	for _, pass := range old {
		p.end(pass, Unreachable)
	}
	assert.Equal(t, SlowStart, p.o.state())
	assert.Zero(t, p.o.streak.Load())
	tries, _ := p.o.window.sum(p.now)
	assert.Zero(t, tries)
}

func TestTrialIsOneAtATime(t *testing.T) {
	p := newPatient()
	p.play(t, "fx5 g g")
	first, ok := p.o.pass(true)
	require.True(t, ok)
	_, ok = p.o.pass(true)
	assert.False(t, ok)
	_, ok = p.o.pass(false)
	assert.True(t, ok, "where the pool panics there are no trials")
	assert.Equal(t, wishNothing, p.o.answered(&first))
	second, ok := p.o.pass(true)
	require.True(t, ok, "the answer has begun")
	p.end(first, Well) // its end is no second win
	_, ok = p.o.pass(true)
	assert.False(t, ok, "and does not end another's trial")
	p.end(second, Well)
	assert.Equal(t, SlowStart, p.o.state())

	// A trial that nobody ended does not outlive its life.
	p = newPatient()
	p.play(t, "fx5 g g")
	lost, _ := p.o.pass(true)
	other, _ := p.o.pass(false)
	p.end(other, Faulty)
	p.play(t, "31s g g")
	require.Equal(t, HalfOpen, p.o.state())
	assert.True(t, p.try(Well))
	p.end(lost, Well)
	assert.Equal(t, HalfOpen, p.o.state())
}

func TestPress(t *testing.T) {
	var o outlier
	now := tick(0)
	f := func(told, want time.Duration, changed bool) {
		t.Helper()
		assert.Equal(t, changed, o.press(told, now))
		assert.Equal(t, want, time.Duration(o.rest.Load()-int64(now)))
	}
	f(0, time.Second, true)
	f(0, time.Second, false) // the same lack of room
	f(3*time.Second, 3*time.Second, true)
	f(2*time.Second, 3*time.Second, false)
	now += tick(3 * time.Second)
	f(0, 2*time.Second, true)
	now += tick(2 * time.Second)
	f(-time.Second, 4*time.Second, true)
	f(time.Hour, time.Minute, true)
	now += tick(time.Minute)
	o.calm()
	f(0, time.Second, true)
}

func TestSlowStartShare(t *testing.T) {
	p := newPatient()
	p.play(t, "b b b g g")
	begin := p.now
	f := func(after time.Duration, want int) {
		t.Helper()
		assert.Equal(t, want, p.o.advance(30*time.Second, begin+tick(after)), after)
	}
	f(0, 1)
	f(3*time.Second, 1)
	f(6*time.Second, 2)
	f(15*time.Second, 5)
	f(29*time.Second, 9)
	f(30*time.Second, 10)
	assert.Equal(t, Healthy, p.o.state())
	f(time.Second, 10)

	p = newPatient()
	p.play(t, "b b b g g")
	assert.Equal(t, 10, p.o.advance(0, p.now), "no slow start")
	assert.Equal(t, Healthy, p.o.state())
}

// TestOutlierInRandomHistories plays anything at all, and holds the machine to what must
// be true at every moment.
func TestOutlierInRandomHistories(t *testing.T) {
	for seed := range uint64(80) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		p := newPatient()
		var passes []Pass
		trials := 0 // of the present life
		for step := range 1000 {
			before, life, ejections, hold := p.o.state(), p.o.life(), p.o.ejections, p.o.holdUntil
			p.rand = rnd.Uint64()
			switch k := rnd.IntN(12); {
			case k < 4:
				if pass, ok := p.o.pass(rnd.IntN(4) > 0); ok {
					passes = append(passes, pass)
					if pass.trial {
						trials++
					}
				}
			case k < 8 && len(passes) > 0:
				i := rnd.IntN(len(passes))
				if passes[i].trial && passes[i].life == life {
					trials--
				}
				p.end(passes[i], Evidence(rnd.IntN(int(Unreachable)+1)))
				passes = append(passes[:i], passes[i+1:]...)
			case k < 9:
				p.check("")
			case k < 10:
				p.check([]string{"", "bad"}[rnd.IntN(2)])
			case k < 11:
				p.pass(time.Duration(rnd.Int64N(int64(5 * time.Second))))
			default:
				p.may = rnd.IntN(4) > 0
			}
			after := p.o.state()
			in, out := before.serves() || before == HalfOpen, after == Ejected || after == Unhealthy
			if p.o.life() != life {
				trials = 0
			}
			require.GreaterOrEqual(t, p.o.life(), life)
			require.LessOrEqual(t, trials, 1, "seed %d step %d", seed, step)
			require.Equal(t, in && out, p.o.ejections == ejections+1, "seed %d step %d: %v to %v", seed, step, before, after)
			require.LessOrEqual(t, time.Duration(p.o.holdUntil-p.now), p.rules.Ejection.Max)
			if !in && !out && p.may {
				require.GreaterOrEqual(t, p.now, hold, "seed %d step %d: back before its time", seed, step)
			}
			if before != after {
				require.Equal(t, p.now >= p.o.since, true)
				require.Equal(t, after.serves() || after == HalfOpen, p.o.reason == "", "seed %d: %v %q", seed, after, p.o.reason)
			}
		}
	}
}

// TestSquareWave: a backend that goes up and down for ten minutes under 50
// requests a second. Requests fail there, and are tried elsewhere; how many is
// bounded, and it is not taken in and out for ever.
func TestSquareWave(t *testing.T) {
	f := func(half time.Duration, mostEjections uint64, mostFailed int, check bool) {
		t.Helper()
		p := newPatient()
		rnd := rand.New(rand.NewPCG(uint64(half), 3))
		const step = 20 * time.Millisecond
		failed, nextCheck := 0, tick(0)
		for p.now < tick(10*time.Minute) {
			p.rand = rnd.Uint64()
			up := int(time.Duration(p.now)/half)%2 == 0
			serves := p.o.state().serves() || p.o.state() == HalfOpen
			switch {
			case serves && up:
				p.try(Well)
			case serves && p.try(Unreachable):
				failed++
			}
			out := !p.o.state().serves() && p.o.state() != HalfOpen
			if p.now >= nextCheck || out && p.now+tick(time.Second) < nextCheck {
				if up {
					p.check("")
				} else {
					p.check("connection refused")
				}
				nextCheck = p.now + tick(5*time.Second)
				if out || p.o.bad > 0 {
					nextCheck = p.now + tick(time.Second)
				}
			}
			p.pass(step)
		}
		assert.LessOrEqual(t, p.o.ejections, mostEjections, "%v: ejections", half)
		assert.LessOrEqual(t, failed, mostFailed, "%v: failed requests", half)
		assert.Equal(t, check, p.o.ejections > 0, "%v", half)
		p.pass(6 * time.Minute)
		p.play(t, "g g 31s w")
		assert.Equal(t, Healthy, p.o.state(), "%v: it can still come back", half)
	}
	f(time.Second, 8, 16, true)
	f(2*time.Second, 8, 16, true)
	f(5*time.Second, 8, 16, true)
	f(20*time.Second, 12, 24, true)
	f(time.Minute, 6, 12, true) // up for longer than a slow start: each time down is one of its own
	f(time.Hour, 0, 0, false)
}

func TestWindowAgreesWithDefinition(t *testing.T) {
	type try struct {
		slot   int64
		halves uint64
	}
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		var w window
		var all []try
		now := tick(0)
		for range 1000 {
			if rnd.IntN(30) == 0 {
				now += tick(rnd.Int64N(int64(100 * time.Second)))
			} else {
				now += tick(rnd.Int64N(int64(time.Second)))
			}
			halves := uint64(rnd.IntN(3))
			w.add(now, halves)
			slot := int64(now) / int64(bucketWidth)
			all = append(all, try{slot, halves})
			var tries, failed uint64
			for _, a := range all {
				if a.slot > slot-numBuckets {
					tries++
					failed += a.halves
				}
			}
			gotTries, gotFailed := w.sum(now)
			require.Equal(t, []uint64{tries, failed}, []uint64{gotTries, gotFailed}, "seed %d", seed)
		}
		w.add(-5, 1) // a moment before the fleet began is no panic
		w.reset()
		tries, _ := w.sum(now)
		require.Zero(t, tries)
	}
}

func TestEvidence(t *testing.T) {
	f := func(failure Failure, want Evidence) {
		t.Helper()
		assert.Equal(t, want, failure.Evidence(), "%+v", failure)
	}
	f(Failure{Phase: PhaseConnect}, Unreachable)
	f(Failure{Phase: PhaseConnect, Timeout: true}, Unreachable)
	f(Failure{Phase: PhaseConnect, Gone: true}, Neutral)
	f(Failure{Phase: PhaseBody, Gone: true}, Neutral)
	f(Failure{Phase: PhaseSend}, Faulty)
	f(Failure{Phase: PhaseWait}, Faulty)
	f(Failure{Phase: PhaseWait, Timeout: true}, Slow)
	f(Failure{Phase: PhaseHead, Timeout: true}, Faulty)
	f(Failure{Phase: PhaseBody}, Faulty)

	g := func(status int, told bool, want Evidence) {
		t.Helper()
		assert.Equal(t, want, StatusEvidence(status, told), "%d %v", status, told)
	}
	for _, status := range []int{200, 201, 204, 302} {
		g(status, false, Well)
	}
	for _, status := range []int{400, 401, 403, 404, 408, 413, 422, 425, 499, 501, 505} {
		g(status, false, Neutral)
		g(status, true, Neutral)
	}
	for _, status := range []int{500, 502, 504, 507, 599} {
		g(status, false, Faulty)
		g(status, true, Faulty)
	}
	g(429, false, Pressed)
	g(429, true, Pressed)
	g(529, false, Pressed)
	g(503, true, Pressed)
	g(503, false, Faulty)
}
