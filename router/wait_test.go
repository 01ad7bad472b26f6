package router

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/router/admission"
)

// crowd is a router in front of one backend that takes one request at a time and
// answers when it is told to.
type crowd struct {
	*world
	came   chan string // the body of each request that the backend got
	answer chan struct{}
}

func newCrowd(t *testing.T, queue, timeouts string) *crowd {
	t.Helper()
	c := &crowd{came: make(chan string, 100), answer: make(chan struct{})}
	url := newBackend(t, func(a *asked) bool {
		c.came <- a.body
		select {
		case <-c.answer:
			a.write(jsonAnswer(`{"usage":{"prompt_tokens":1,"completion_tokens":10}}`))
			return true
		case <-a.left:
			return false
		}
	})
	config := strings.Replace(open(timeouts, url), "{url: "+url+"}", "{url: "+url+", max_inflight: 1}", 1)
	c.world = newWorld(t, strings.Replace(config, "  - name: p\n", "  - name: p\n    queue: "+queue+"\n", 1))
	t.Cleanup(func() { close(c.answer) })
	return c
}

func (c *crowd) lot() *lot { return c.lots.of("p") }

// begin sends a request in the background; the status comes from the channel.
func (c *crowd) begin(t *testing.T, body string, headers ...string) (conn io.Closer, status <-chan answer) {
	t.Helper()
	nc := c.dial(t)
	_, err := io.WriteString(nc, chat(body, headers...))
	require.NoError(t, err)
	got := make(chan answer, 1)
	go func() {
		defer close(got)
		br := bufio.NewReader(nc)
		if _, err := br.Peek(1); err == nil {
			got <- readAnswer(t, br)
		}
	}()
	return nc, got
}

func (c *crowd) waitFor(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return int(c.lot().waiting.Load()) == n }, 20*time.Second, time.Millisecond, "waiting: %d", n)
}

func TestQueueServesAll(t *testing.T) {
	c := newCrowd(t, "{wait: 20s, size: 10}", "")
	var all []<-chan answer
	for i := range 5 {
		_, status := c.begin(t, fmt.Sprintf(`{"model":"m","messages":[],"n":%d}`, i+1))
		all = append(all, status)
		if i == 0 {
			require.Contains(t, <-c.came, `"n":1`)
			continue
		}
		c.waitFor(t, i)
	}
	for i, status := range all {
		c.answer <- struct{}{}
		assert.Equal(t, 200, (<-status).status)
		if i < 4 {
			require.Contains(t, <-c.came, fmt.Sprintf(`"n":%d`, i+2), "first come, first served")
		}
	}
	c.waitFor(t, 0)
	counts := c.lots.QueueCounts()[0]
	assert.Equal(t, uint64(4), counts.Served)
	// Each of the four that waited was charged for its prompt of [] and 10 tokens of
	// answer.
	require.Eventually(t, func() bool { return c.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
	assert.Equal(t, 4*(1+2*10.), c.lot().queue.Served(&admission.Waiter{Class: admission.Default, Tenant: "all"}))
	assert.Positive(t, counts.Waited)
}

func TestQueueRefuses(t *testing.T) {
	c := newCrowd(t, "{wait: 2s, size: 1}", "")
	_, first := c.begin(t, simple)
	<-c.came
	_, second := c.begin(t, simple)
	c.waitFor(t, 1)
	began := time.Now()
	a := c.ask(t, chat(simple))
	requireReason(t, a, 429, "overloaded", "queue_full")
	assert.Less(t, time.Since(began), 1500*time.Millisecond, "at once")
	assert.NotEmpty(t, a.header.Get("Retry-After"))
	requireReason(t, <-second, 429, "overloaded", "queue_expired")
	c.waitFor(t, 0)
	counts := c.lots.QueueCounts()[0]
	assert.Equal(t, []uint64{1, 1, 0}, []uint64{counts.Refused, counts.Expired, counts.Served})
	c.answer <- struct{}{}
	assert.Equal(t, 200, (<-first).status)

	// What could not be served in time is refused at the door: 22 s of work are more
	// than may be ahead.
	c = newCrowd(t, "{wait: 2s, size: 10}", "")
	_, first = c.begin(t, simple)
	<-c.came
	_, big := c.begin(t, `{"model":"m","messages":["`+strings.Repeat("x", 900_000)+`"]}`)
	c.waitFor(t, 1)
	requireReason(t, c.ask(t, chat(simple)), 429, "overloaded", "queue_wait")
	requireReason(t, <-big, 429, "overloaded", "queue_expired")
	c.answer <- struct{}{}
	<-first
}

// What could not be served while its client waits is refused at the door too.
func TestQueueRefusesTheImpatient(t *testing.T) {
	c := newCrowd(t, "{wait: 60s, size: 10}", "")
	_, first := c.begin(t, simple)
	<-c.came
	_, big := c.begin(t, padPrompt(900_000)) // 22 s of work
	c.waitFor(t, 1)
	requireReason(t, c.ask(t, chat(simple, "X-Stainless-Read-Timeout: 5")), 429, "overloaded", "queue_deadline")
	c.answer <- struct{}{}
	<-first
	<-c.came
	c.answer <- struct{}{}
	assert.Equal(t, 200, (<-big).status)
}

// padPrompt is a request with a prompt of so many bytes.
func padPrompt(size int) string {
	return `{"model":"m","messages":["` + strings.Repeat("x", size) + `"]}`
}

// requireReason is requireError of a refusal that says what it is for.
func requireReason(t *testing.T, a answer, status int, code, reason string) {
	t.Helper()
	requireError(t, a, status, code)
	assert.Equal(t, reason, a.header.Get("X-Helixflow-Reason"))
}

func TestQueueOff(t *testing.T) {
	c := newCrowd(t, "off", "")
	_, first := c.begin(t, simple)
	<-c.came
	requireReason(t, c.ask(t, chat(simple)), 503, "no_backend_available", "backends_busy")
	c.answer <- struct{}{}
	<-first
}

func TestQueueDeadline(t *testing.T) {
	c := newCrowd(t, "{wait: 20s}", "")
	_, first := c.begin(t, simple)
	<-c.came
	requireReason(t, c.ask(t, chat(simple, "X-Stainless-Read-Timeout: 0.5")), 504, "deadline_exceeded", "deadline")
	c.answer <- struct{}{}
	<-first
}

// A client that leaves while it waits is out at once, and its backend never hears
// of it.
func TestQueueHangup(t *testing.T) {
	c := newCrowd(t, "{wait: 20s}", "")
	_, first := c.begin(t, simple)
	<-c.came
	_, stays := c.begin(t, `{"model":"m","messages":[],"user":"stayed"}`)
	c.waitFor(t, 1)
	fastest := time.Hour
	for range 10 {
		conn, gone := c.begin(t, `{"model":"m","messages":[],"user":"left"}`)
		c.waitFor(t, 2)
		began := time.Now()
		require.NoError(t, conn.Close())
		c.waitFor(t, 1)
		fastest = min(fastest, time.Since(began))
		<-gone
	}
	assert.Less(t, fastest, leavesWithin)
	c.answer <- struct{}{}
	<-first
	assert.Contains(t, <-c.came, "stayed")
	c.answer <- struct{}{}
	assert.Equal(t, 200, (<-stays).status)
}

// A drain that runs out of time ends those that wait, with an error.
func TestQueueDrain(t *testing.T) {
	c := newCrowd(t, "{wait: 20s}", "")
	_, first := c.begin(t, simple)
	<-c.came
	_, second := c.begin(t, simple)
	c.waitFor(t, 1)
	c.srv.Drain(t.Context(), 0, 50*time.Millisecond)
	requireReason(t, <-second, 503, "draining", "draining")
	<-first
}

// Urgent requests go first, and one tenant's flood does not hold up another.
func TestQueueClasses(t *testing.T) {
	came := make(chan string, 100)
	reply := make(chan struct{})
	url := newBackend(t, func(a *asked) bool {
		came <- a.req.Header.Get("X-Who")
		<-reply
		a.write(jsonAnswer(`{}`))
		return true
	})
	config, keys := strings.Builder{}, map[string]string{}
	config.WriteString("tenants:\n")
	for _, name := range []string{"batch", "default", "interactive"} {
		k, hash := newKey(t)
		keys[name] = k
		fmt.Fprintf(&config, "  - {name: %s, priority: %s, keys: [{name: k, hash: %q}]}\n", name, name, hash)
	}
	fmt.Fprintf(&config, "pools: [{name: p, backends: [{url: %q, max_inflight: 1}]}]\nmodels: [{name: m, targets: [{pool: p}]}]\n", url)
	c := &crowd{world: newWorld(t, config.String())}
	var all []<-chan answer
	who := []string{"batch", "batch", "default", "interactive"}
	for i, name := range who {
		_, status := c.begin(t, simple, "Authorization: Bearer "+keys[name], "X-Who: "+name)
		all = append(all, status)
		if i == 0 {
			require.Equal(t, "batch", <-came)
		} else {
			c.waitFor(t, i)
		}
	}
	reply <- struct{}{}
	var order []string
	for range 3 {
		order = append(order, <-came)
		reply <- struct{}{}
	}
	assert.Equal(t, []string{"interactive", "default", "batch"}, order)
	for _, status := range all {
		assert.Equal(t, 200, (<-status).status)
	}
}

// Many callers, few places, some leave: everybody who stays is served, and no
// place is lost.
func TestQueueStress(t *testing.T) {
	var now, most atomic.Int32
	var left atomic.Int32
	url := newBackend(t, func(a *asked) bool {
		n := now.Add(1) - left.Load() // a backend may learn later than the router that a client left
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case <-time.After(time.Millisecond):
		case <-a.left:
			now.Add(-1)
			return false
		}
		now.Add(-1) // before the router has the answer, and with it room for another
		a.write(jsonAnswer(`{}`))
		return true
	})
	config := strings.Replace(open("", url), "{url: "+url+"}", "{url: "+url+", max_inflight: 3}", 1)
	w := newWorld(t, config)
	var group sync.WaitGroup
	var served atomic.Int32
	const callers, each = 40, 20
	for range callers {
		group.Go(func() {
			for range each {
				c := w.dial(t)
				_, _ = io.WriteString(c, chat(simple))
				if rand.IntN(5) == 0 {
					time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
					left.Add(1)
					_ = c.Close()
					continue
				}
				if a := readAnswer(t, bufio.NewReader(c)); a.status == 200 {
					served.Add(1)
				} else {
					t.Errorf("%d %s", a.status, a.body)
				}
				_ = c.Close()
			}
		})
	}
	group.Wait()
	assert.Equal(t, int32(callers*each), served.Load()+left.Load())
	require.Eventually(t, func() bool { return w.lots.of("p").waiting.Load() == 0 && w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
	assert.LessOrEqual(t, most.Load(), int32(3))
	assert.Zero(t, w.lots.of("p").queue.Len())
}
