package backends

// Pools of endpoints with a scripted network and a clock of their own: who may
// be asked, who is taken out, and what a reload and an operator do to it.

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/metric"
)

// ward is a pool "p" of endpoints that are up or down as told.
type ward struct {
	t       *testing.T
	fleet   *Fleet
	metrics *metric.Metrics
	rules   Rules
	list    []*Endpoint
	down    []*atomic.Bool
	m       *Members
	engines sync.WaitGroup

	mu    sync.Mutex // guards the field below
	moved []string
}

// admit runs f with a ward of n endpoints inside a bubble.
func admit(t *testing.T, n int, f func(w *ward)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &ward{t: t, metrics: metric.New(), rules: DefaultRules()}
		w.fleet = NewFleet(w.metrics)
		defer w.engines.Wait() // which end with the fleet's connections
		defer w.fleet.Close()
		w.fleet.OnTransition(func(c Transition) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.moved = append(w.moved, fmt.Sprintf("%s %v>%v %s", c.URL, c.From, c.To, c.Reason))
		})
		for i := range n {
			w.list = append(w.list, w.adopt(fmt.Sprintf("http://10.0.0.%d", i+1)))
		}
		w.retain()
		synctest.Wait()
		f(w)
	})
}

func (w *ward) adopt(url string) *Endpoint {
	address, err := ParseAddress(url)
	require.NoError(w.t, err)
	ep := w.fleet.Adopt(Spec{Pool: "p", URL: url, Address: address})
	down := &atomic.Bool{}
	w.down = append(w.down, down)
	ep.dialer.connect = func(context.Context, netip.AddrPort) (net.Conn, error) {
		if down.Load() {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}
		near, far := net.Pipe()
		go func() {
			_, _ = io.Copy(io.Discard, far)
			_ = far.Close()
		}()
		return near, nil
	}
	return ep
}

func (w *ward) retain() {
	w.m = w.fleet.Members("p", w.rules, w.list)
	w.fleet.Retain(w.m)
}

// eligible is the present mask, as digits from 1.
func (w *ward) eligible() string {
	mask, text := w.m.Eligible(time.Now()), ""
	for i := range w.list {
		if mask.Has(i) {
			text += fmt.Sprint(i + 1)
		}
	}
	return text
}

// send is one request to endpoint i (from 1), if that may be asked.
func (w *ward) send(i int, e Evidence) bool {
	now := time.Now()
	pass, ok := w.m.Enter(i-1, now)
	if ok {
		w.list[i-1].Report(Report{Pass: pass, Evidence: e, Status: map[Evidence]int{Faulty: 500, Pressed: 429}[e]}, now)
		synctest.Wait()
	}
	return ok
}

func (w *ward) sends(i, n int, e Evidence) {
	for range n {
		w.send(i, e)
	}
}

func (w *ward) wait(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func (w *ward) states() (text string) {
	for _, ep := range w.list {
		text += ep.State().String() + " "
	}
	return strings.TrimSpace(text)
}

func (w *ward) scrape() string {
	var b strings.Builder
	w.metrics.WritePrometheus(&b)
	return b.String()
}

// One of three dies: two requests and one check later it is out, and a few
// seconds after it has come back it is in.
func TestOneOfThreeDies(t *testing.T) {
	admit(t, 3, func(w *ward) {
		w.wait(10 * time.Second)
		require.Equal(t, "123", w.eligible())
		w.down[1].Store(true)
		w.sends(2, 2, Unreachable)
		w.wait(probeGap)
		assert.Equal(t, "13", w.eligible())
		assert.Equal(t, "healthy unhealthy healthy", w.states())
		s := w.list[1].Status(time.Now())
		assert.Equal(t, "connection refused", s.Reason)
		assert.EqualValues(t, 1, s.Ejections)
		assert.Contains(t, w.scrape(), `helixflow_backend_ejections_total{backend="http://10.0.0.2"} 1`)
		assert.Contains(t, w.scrape(), `helixflow_backend_state{backend="http://10.0.0.2",state="unhealthy"} 1`)
		assert.Contains(t, w.scrape(), `helixflow_pool_panic{pool="p"} 0`)
		w.wait(time.Hour)
		assert.Equal(t, "13", w.eligible())
		w.down[1].Store(false)
		w.wait(3 * time.Second)
		assert.Equal(t, "123", w.eligible())
		assert.Equal(t, "healthy slow_start healthy", w.states())
		assert.Equal(t, 1, w.list[1].Load.Share())
		w.wait(15 * time.Second)
		assert.InDelta(t, 5, w.list[1].Load.Share(), 1)
		w.wait(18 * time.Second)
		assert.Equal(t, "healthy healthy healthy", w.states())
		assert.Equal(t, 10, w.list[1].Load.Share())
		assert.Equal(t, []string{
			"http://10.0.0.2 healthy>ejected cannot be reached",
			"http://10.0.0.2 ejected>unhealthy connection refused",
			"http://10.0.0.2 unhealthy>slow_start ",
			"http://10.0.0.2 slow_start>healthy ",
		}, w.moved)
	})
}

// Without a request, checks alone find out, within two intervals or so.
func TestChecksAloneFindOut(t *testing.T) {
	admit(t, 2, func(w *ward) {
		w.wait(10 * time.Second)
		w.down[0].Store(true)
		w.wait(9 * time.Second)
		assert.Equal(t, "2", w.eligible())
		w.down[0].Store(false)
		w.wait(3 * time.Second)
		assert.Equal(t, "12", w.eligible())
	})
}

// A router that starts before its backends serves as soon as they do.
func TestAllDown(t *testing.T) {
	admit(t, 3, func(w *ward) {
		for i := range w.down {
			w.down[i].Store(true)
		}
		w.wait(9 * time.Second)
		assert.Empty(t, w.eligible())
		now := time.Now()
		assert.False(t, w.m.Resting(now))
		assert.Equal(t, time.Second, w.m.RetryAfter(now))
		_, ok := w.m.Enter(0, now)
		assert.False(t, ok)
		for i := range w.down {
			w.down[i].Store(false)
		}
		w.wait(3 * time.Second)
		assert.Equal(t, "123", w.eligible())
	})
}

// At most half of a pool is ejected, and never the last one; what cannot be
// reached at all is out without regard to that.
func TestMaxShareEjected(t *testing.T) {
	f := func(n int, want string) {
		t.Helper()
		admit(t, n, func(w *ward) {
			for i := range n {
				w.sends(i+1, 10, Faulty)
			}
			assert.Equal(t, want, w.eligible())
		})
	}
	f(1, "1")
	f(2, "2")
	f(3, "23")
	f(4, "34")
	f(5, "345")

	admit(t, 4, func(w *ward) {
		for i := range 4 {
			w.down[i].Store(true)
			w.sends(i+1, 3, Unreachable)
			w.wait(probeGap)
		}
		assert.Empty(t, w.eligible())
		assert.Equal(t, "unhealthy unhealthy unhealthy unhealthy", w.states())
	})
}

// Where less than half is healthy, ejections are ignored, and that is said.
func TestPanic(t *testing.T) {
	admit(t, 4, func(w *ward) {
		w.sends(1, 5, Faulty)
		assert.Equal(t, "234", w.eligible())
		w.down[1].Store(true)
		w.sends(2, 2, Unreachable)
		w.wait(probeGap)
		assert.Equal(t, "34", w.eligible(), "half is healthy")
		assert.False(t, w.m.Panic(time.Now()))
		w.down[2].Store(true)
		w.sends(3, 2, Unreachable)
		w.wait(probeGap)
		assert.Equal(t, "14", w.eligible(), "the ejected one serves, the dead ones do not")
		assert.True(t, w.m.Panic(time.Now()))
		assert.Contains(t, w.scrape(), `helixflow_pool_panic{pool="p"} 1`)
		for range 3 { // and takes more than one request at a time, half open or not
			_, ok := w.m.Enter(0, time.Now())
			assert.True(t, ok)
		}
		require.NoError(t, w.fleet.Drain("p", "http://10.0.0.4"))
		assert.Equal(t, "1", w.eligible())
	})
}

// A backend whose checks are good while requests fail there is not taken in and
// out for ever.
func TestGoodChecksDoNotHealFailingRequests(t *testing.T) {
	admit(t, 3, func(w *ward) {
		failed := 0
		for range 600 {
			for range 10 {
				if w.send(1, Faulty) {
					failed++
				}
			}
			w.wait(time.Second)
		}
		assert.LessOrEqual(t, failed, 12, "in ten minutes")
		assert.LessOrEqual(t, w.list[0].Status(time.Now()).Ejections, uint64(8))
		for range 400 {
			w.send(1, Well)
			w.wait(time.Second)
		}
		assert.Equal(t, Healthy, w.list[0].State())
	})
}

// A backend that has no room is left alone for as long as it says.
func TestResting(t *testing.T) {
	admit(t, 2, func(w *ward) {
		press := func(i int, wait time.Duration) {
			now := time.Now()
			pass, ok := w.m.Enter(i-1, now)
			require.True(t, ok)
			w.list[i-1].Report(Report{Pass: pass, Evidence: Pressed, Wait: wait, Status: 429}, now)
		}
		press(1, 7*time.Second)
		assert.Equal(t, "2", w.eligible())
		press(2, 20*time.Second)
		assert.Empty(t, w.eligible())
		now := time.Now()
		assert.True(t, w.m.Resting(now))
		assert.Equal(t, 7*time.Second, w.m.RetryAfter(now))
		assert.Equal(t, "asked to be left alone", w.list[0].Status(now).Reason)
		assert.Equal(t, 20*time.Second, w.list[1].Status(now).ComesBack)
		assert.False(t, w.m.Panic(now), "they are well")
		w.wait(7*time.Second - 1)
		assert.Empty(t, w.eligible())
		w.wait(1)
		assert.Equal(t, "1", w.eligible())
		w.wait(13 * time.Second)
		assert.Equal(t, "12", w.eligible())
	})
}

// What a backend did not say is only a reason to ask others first: where all
// have no room, they are asked again.
func TestPressedWithoutAWord(t *testing.T) {
	admit(t, 2, func(w *ward) {
		require.Equal(t, "12", w.eligible())
		w.send(1, Pressed)
		assert.Equal(t, "2", w.eligible(), "the other one first")
		w.send(2, Pressed)
		assert.Equal(t, "12", w.eligible(), "none is better than the other")
		assert.False(t, w.m.Resting(time.Now()))
		w.wait(1100 * time.Millisecond)
		assert.Equal(t, "12", w.eligible())
	})
}

func TestHalfOpenTakesOneRequest(t *testing.T) {
	admit(t, 3, func(w *ward) {
		w.sends(1, 5, Faulty)
		w.wait(3 * time.Second)
		require.Equal(t, "half_open healthy healthy", w.states())
		require.Equal(t, "123", w.eligible())
		now := time.Now()
		first, ok := w.m.Enter(0, now)
		require.True(t, ok)
		_, ok = w.m.Enter(0, now)
		require.False(t, ok)
		w.list[0].Answered(&first, now)
		second, ok := w.m.Enter(0, now)
		require.True(t, ok)
		w.list[0].Answered(&second, now)
		assert.Equal(t, "slow_start healthy healthy", w.states())
		w.list[0].Report(Report{Pass: first, Evidence: Well}, now)
		w.list[0].Report(Report{Pass: second, Evidence: Well}, now)
		assert.Equal(t, "slow_start healthy healthy", w.states())
	})
}

func TestDrainAndUndrain(t *testing.T) {
	admit(t, 2, func(w *ward) {
		require.NoError(t, w.fleet.Drain("p", "http://10.0.0.1"))
		require.NoError(t, w.fleet.Drain("p", "http://10.0.0.1"))
		assert.Equal(t, "2", w.eligible())
		s := w.list[0].Status(time.Now())
		assert.Equal(t, []any{Draining, "drained by an operator"}, []any{s.State, s.Reason})
		w.retain()
		assert.Equal(t, "2", w.eligible(), "a reload does not change it")

		// Nor does one that makes it another endpoint.
		address, err := ParseAddress("http://10.0.0.1")
		require.NoError(t, err)
		other := w.fleet.Adopt(Spec{Pool: "p", URL: "http://10.0.0.1", Address: address, Identity: "new CA"})
		assert.Equal(t, Draining, other.State())

		require.NoError(t, w.fleet.Undrain("p", "http://10.0.0.1"))
		assert.Equal(t, "12", w.eligible())
		assert.Equal(t, SlowStart, w.list[0].State())
		assert.Equal(t, 1, w.list[0].Load.Share())
		require.NoError(t, w.fleet.Undrain("p", "http://10.0.0.2"))
		assert.Equal(t, Healthy, w.list[1].State(), "it was not drained")
		assert.ErrorIs(t, w.fleet.Drain("q", "http://10.0.0.1"), ErrNoEndpoint)
		assert.ErrorIs(t, w.fleet.Undrain("p", "http://10.0.0.9"), ErrNoEndpoint)
	})
}

// What left the configuration serves those that began before, runs out, and is
// gone; one that comes back in time is the same as before.
func TestDroppedEndpoints(t *testing.T) {
	admit(t, 2, func(w *ward) {
		old, gone := w.m, w.list[0]
		var l Lease
		require.True(t, gone.Acquire(&l, 0))
		w.list = w.list[1:]
		w.retain()
		assert.Equal(t, Draining, gone.State())
		assert.Equal(t, 1, old.Eligible(time.Now()).Count())
		w.wait(5 * time.Minute)
		assert.Len(t, w.fleet.Status(), 2, "a request still runs there")

		w.list = append(w.list, w.fleet.Adopt(Spec{Pool: "p", URL: "http://10.0.0.1"}))
		w.retain()
		require.Same(t, gone, w.list[1])
		assert.Equal(t, "12", w.eligible())
		assert.EqualValues(t, 1, gone.Load.InFlight())

		w.list = w.list[:1]
		w.retain()
		l.Finish(Served, time.Now())
		w.wait(2 * time.Second)
		assert.Len(t, w.fleet.Status(), 1)
		<-gone.probe.ended
		assert.NotContains(t, w.scrape(), `helixflow_backend_inflight{backend="http://10.0.0.1"}`)
		assert.Contains(t, w.scrape(), `helixflow_backend_retries_total{backend="http://10.0.0.1"}`, "counters stay")

		// A plan of nothing but dropped endpoints still serves who holds it.
		current := w.m
		w.fleet.Retain()
		assert.Equal(t, 1, current.Eligible(time.Now()).Count())
		w.wait(2 * time.Second)
		assert.Empty(t, w.fleet.Status())
		assert.Equal(t, 1, current.Eligible(time.Now()).Count())
		pass, ok := current.Enter(0, time.Now())
		assert.True(t, ok)
		w.list[0].Report(Report{Pass: pass, Evidence: Faulty}, time.Now())
		assert.NotContains(t, w.scrape(), `helixflow_pool_panic{pool="p"}`)
	})
}

// What runs on a dropped endpoint for longer than DrainTimeout is cut off.
func TestDrainTimeout(t *testing.T) {
	admit(t, 1, func(w *ward) {
		ep := w.list[0]
		var l Lease
		require.True(t, ep.Acquire(&l, 0))
		o := post("{}")
		o.Now, o.Deadline = time.Now(), time.Now().Add(time.Hour)
		c, err := ep.dial(o, o.Now)
		require.NoError(t, err)
		broken := make(chan error)
		go func() {
			_, err := c.br.ReadByte()
			broken <- err
		}()
		w.fleet.Retain()
		w.wait(w.rules.DrainTimeout - time.Second)
		assert.Len(t, w.fleet.Status(), 1)
		w.wait(3 * time.Second)
		assert.Error(t, <-broken)
		assert.Empty(t, w.fleet.Status())
		c.close()
		c.close()
		assert.Nil(t, ep.conns)
		l.Finish(Failed, time.Now())
	})
}

// New endpoints start slowly beside others, at once where all are new.
func TestScaleUpStartsSlowly(t *testing.T) {
	admit(t, 2, func(w *ward) {
		assert.Equal(t, "healthy healthy", w.states())
		w.list = append(w.list, w.adopt("http://10.0.0.3"))
		w.retain()
		assert.Equal(t, "healthy healthy slow_start", w.states())
		assert.Equal(t, "123", w.eligible())
		assert.Equal(t, 1, w.list[2].Load.Share())
		w.wait(32 * time.Second)
		assert.Equal(t, 10, w.list[2].Load.Share())
	})
}

// New rules are in force with Retain, not before.
func TestRulesComeWithRetain(t *testing.T) {
	admit(t, 3, func(w *ward) {
		w.rules.Ejection.Consecutive = 2
		w.rules.Checks.Off = true
		next := w.fleet.Members("p", w.rules, w.list)
		w.sends(1, 4, Faulty)
		assert.Equal(t, "123", w.eligible())
		w.fleet.Retain(next)
		w.sends(1, 1, Faulty)
		assert.Equal(t, "23", w.eligible())
		w.down[2].Store(true)
		w.wait(time.Minute)
		assert.Equal(t, "half_open healthy healthy", w.states(), "no checks but of what is out")
	})
}

// A rule of all zeros is the default one.
func TestRulesComplete(t *testing.T) {
	want := DefaultRules()
	want.SlowStart, want.Ejection.MaxShare, want.Ejection.Panic = 0, 0, 0
	assert.Equal(t, want, Rules{}.complete())
	assert.Equal(t, DefaultRules(), DefaultRules().complete())
}

// TestAdoptionsUnderLoad reloads a thousand times while requests come and go:
// no endpoint is lost, no count is.
func TestAdoptionsUnderLoad(t *testing.T) {
	m := metric.New()
	fleet := NewFleet(m)
	defer fleet.Close()
	rules := DefaultRules()
	rules.Checks.Off = true
	compile := func(n int) (*Members, []*Endpoint) {
		var list []*Endpoint
		for i := range n {
			url := fmt.Sprintf("http://127.0.0.1:%d", i+1)
			address, err := ParseAddress(url)
			require.NoError(t, err)
			list = append(list, fleet.Adopt(Spec{Pool: "p", URL: url, Address: address}))
		}
		return fleet.Members("p", rules, list), list
	}
	type plan struct {
		m    *Members
		list []*Endpoint
	}
	var current atomic.Pointer[plan]
	first, list := compile(3)
	current.Store(&plan{first, list})
	fleet.Retain(first)
	stop := make(chan struct{})
	var requests atomic.Int64
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			for i := worker; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				p := current.Load()
				now := time.Now()
				k := i % len(p.list)
				if !p.m.Eligible(now).Has(k) {
					continue
				}
				var l Lease
				if !assert.True(t, p.list[k].Acquire(&l, 0)) {
					return
				}
				if pass, ok := p.m.Enter(k, now); ok {
					p.list[k].Series.Request(200)
					requests.Add(1)
					p.list[k].Report(Report{Pass: pass, Evidence: []Evidence{Well, Well, Well, Faulty, Pressed}[i%5], Wait: time.Nanosecond}, now)
				}
				l.Finish(Served, now)
			}
		})
	}
	for i := range 1000 {
		if before := requests.Load(); i%10 == 0 { // the load must be one
			require.Eventually(t, func() bool { return requests.Load() > before }, 20*time.Second, 10*time.Microsecond)
		}
		next, list := compile(3 + i%3)
		require.Same(t, first.list[0], list[0])
		current.Store(&plan{next, list})
		fleet.Retain(next)
	}
	close(stop)
	wg.Wait()
	var counted int64
	for _, ep := range fleet.all() {
		assert.Zero(t, ep.Load.InFlight())
	}
	var b strings.Builder
	m.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		var url string
		var n int64
		if _, err := fmt.Sscanf(line, `helixflow_backend_requests_total{backend=%q,code="200"} %d`, &url, &n); err == nil {
			counted += n
		}
	}
	assert.Equal(t, requests.Load(), counted)
	assert.Positive(t, counted)
}

func TestHealthDoesNotAllocate(t *testing.T) {
	fleet := NewFleet(metric.New())
	defer fleet.Close()
	ep := fleet.Adopt(Spec{Pool: "p", URL: "http://127.0.0.1:1", Address: Address{Scheme: "http", Host: "127.0.0.1", Port: "1"}})
	rules := DefaultRules()
	rules.Checks.Off = true
	m := fleet.Members("p", rules, []*Endpoint{ep})
	fleet.Retain(m)
	assert.Zero(t, testing.AllocsPerRun(200, func() {
		now := time.Now()
		m.Eligible(now)
		pass, _ := m.Enter(0, now)
		ep.Answered(&pass, now)
		ep.Report(Report{Pass: pass, Evidence: Well, Status: 200}, now)
		ep.Report(Report{Pass: pass, Evidence: Neutral, Status: 404}, now)
	}))
}

func BenchmarkHealthPerRequest(b *testing.B) {
	fleet := NewFleet(metric.New())
	defer fleet.Close()
	ep := fleet.Adopt(Spec{Pool: "p", URL: "http://127.0.0.1:1", Address: Address{Scheme: "http", Host: "127.0.0.1", Port: "1"}})
	m := fleet.Members("p", DefaultRules(), []*Endpoint{ep})
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		m.Eligible(now)
		pass, _ := m.Enter(0, now)
		ep.Answered(&pass, now)
		ep.Report(Report{Pass: pass, Evidence: Well}, now)
	}
}
