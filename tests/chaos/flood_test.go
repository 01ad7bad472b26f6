//go:build integration && linux

// A tenant that floods beside one that is polite: what it costs the polite one.

package chaos

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const (
	floodLimit = 600                  // requests a minute that the flooding tenant may send
	floodRate  = 20 * floodLimit / 60 // and how many it sends a second
	hugeBody   = 4 << 20
	hugeRate   = 20 // a second, of huge bodies
	dripping   = 50 // connections whose body comes a byte at a time
	politeRate = 100
	thinking   = 10 * time.Millisecond // of the engine, about an answer
)

// What a flood is made of.
const (
	overLimit  = "over its limit"
	uselessKey = "with a key of no use"
	hugeBodies = "with a huge body"
	slowBodies = "with a slow body"
)

// newQuickEngine starts an engine that answers everything soon.
func newQuickEngine(t *testing.T) string {
	return serveEngine(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		wait(thinking)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`)
	})
}

// flood is everything that a tenant can do to its neighbours, at once.
type flood struct {
	address, key string
	client       *http.Client
	on           atomic.Bool
	stopped      chan struct{}
	senders      sync.WaitGroup

	mu       sync.Mutex // guards statuses
	statuses map[string]map[int]int
}

func newFlood(t *testing.T, r *router, key string) *flood {
	f := &flood{
		address: strings.TrimPrefix(r.url, "http://"), key: key, stopped: make(chan struct{}), statuses: map[string]map[int]int{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}, Timeout: patience},
	}
	var n atomic.Int64
	chat := func() string {
		return fmt.Sprintf(`{"model":"m","temperature":0,"messages":[{"role":"user","content":"%d, which nobody has asked before"}]}`, n.Add(1))
	}
	f.every(overLimit, time.Second/floodRate, func() int { return f.ask(f.key, chat()) })
	f.every(uselessKey, time.Second/floodRate, func() int { return f.ask(f.key[:len(f.key)-4]+"0000", chat()) })
	f.every(hugeBodies, time.Second/hugeRate, f.sendHuge)
	for range dripping {
		f.every(slowBodies, time.Second, f.drip)
	}
	t.Cleanup(f.stop)
	return f
}

// every does something so often while the flood is on.
func (f *flood) every(what string, pause time.Duration, do func() int) {
	f.senders.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-f.stopped:
				return
			case <-tick.C:
			}
			if !f.on.Load() {
				continue
			}
			f.senders.Go(func() {
				status := do()
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.statuses[what] == nil {
					f.statuses[what] = map[int]int{}
				}
				f.statuses[what][status]++
			})
		}
	})
}

func (f *flood) stop() {
	select {
	case <-f.stopped:
	default:
		close(f.stopped)
	}
	f.senders.Wait()
	f.client.CloseIdleConnections()
}

func (f *flood) ask(key, body string) int {
	req, err := http.NewRequest(http.MethodPost, "http://"+f.address+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

var huge = `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", hugeBody) + `"}]}`

// sendHuge sends all of a huge body before it looks for the answer, as many
// clients do.
func (f *flood) sendHuge() int {
	return f.raw(len(huge), func(c net.Conn) { _, _ = io.WriteString(c, huge) })
}

// drip sends a body a byte at a time.
func (f *flood) drip() int {
	return f.raw(len(huge), func(c net.Conn) {
		for range 10 {
			_, _ = io.WriteString(c, "{")
			wait(50 * time.Millisecond)
		}
	})
}

// raw sends a request on a connection of its own and returns the answer's status;
// 0: there was none.
func (f *flood) raw(length int, body func(net.Conn)) (status int) {
	c, err := net.Dial("tcp", f.address)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", f.key, length)
	body(c)
	_, _ = fmt.Fscanf(c, "HTTP/1.1 %d", &status)
	return status
}

// percentile of the times of requests due in a span.
func percentile(list []result, share float64, from, until time.Time) time.Duration {
	var times []time.Duration
	for _, r := range list {
		if !r.due.Before(from) && r.due.Before(until) {
			times = append(times, r.took)
		}
	}
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[int(float64(len(times))*share)]
}

// TestFlood: a tenant sends twenty times what it may, keys of no use, huge bodies
// and slow ones, all at once, now and then. Its polite neighbour is served, as soon
// as before. What counts is the best of the rounds: the clients and the engine have
// the processors of the router.
func TestFlood(t *testing.T) {
	engine := newQuickEngine(t)
	floodKey, floodHash := anotherKey(t)
	r := startRouter(t, func(hash string) string {
		return fmt.Sprintf(`
tenants:
  - {name: polite, keys: [{name: k, hash: %q}]}
  - {name: flood, limits: {requests_per_minute: %d, burst: {requests: 10}}, keys: [{name: k, hash: %q}]}
pools: [{name: p, health: off, backends: [{url: "http://%s"}]}]
models: [{name: m, targets: [{pool: p}], cache: {exact: 10m}}]
`, hash, floodLimit, floodHash, engine)
	})
	l, f := newLoad(t, r), newFlood(t, r, floodKey)
	l.pace(politeRate)
	wait(floodRound)
	var calm, flooded []time.Time // when each began
	busy := [2]time.Duration{}
	for range floodRounds {
		for i, began := range []*[]time.Time{&calm, &flooded} {
			f.on.Store(i == 1)
			cpu := r.cpu()
			*began = append(*began, time.Now())
			wait(floodRound)
			busy[i] += r.cpu() - cpu
		}
	}
	l.stop()
	f.stop()
	list := l.snapshot()
	best := func(share float64, began []time.Time) time.Duration {
		least := time.Hour
		for _, at := range began {
			least = min(least, percentile(list, share, at, at.Add(floodRound)))
		}
		return least
	}
	for what, statuses := range f.statuses {
		t.Logf("%s: %v", what, statuses)
	}
	before, during := best(0.99, calm), best(0.99, flooded)
	t.Logf("polite: p50 %v, p99 %v without the flood, p50 %v, p99 %v with it; CPU of the router %v and %v, in %v each",
		best(0.5, calm), before, best(0.5, flooded), during, busy[0], busy[1], floodRounds*floodRound)
	counted := ends(list, isUnary)
	served, all := counted[whole], len(list)
	delete(counted, whole)
	assert.GreaterOrEqual(t, float64(served), 0.999*float64(all), "%v", counted)
	assert.LessOrEqual(t, during, max(before+floodFelt, before*5/4))
	assert.NotZero(t, f.statuses[overLimit][http.StatusTooManyRequests])
	assert.NotZero(t, f.statuses[uselessKey][http.StatusTooManyRequests])
	assert.NotZero(t, f.statuses[hugeBodies][http.StatusTooManyRequests]+f.statuses[hugeBodies][http.StatusOK])
}

// TestFloodOfWaiting: a tenant that nothing limits asks for three times what the
// engine can do. Its neighbour, of the same class and at a tenth, is served: it has
// its turn, and its place in the queue.
func TestFloodOfWaiting(t *testing.T) {
	engine := newSlotEngine(t)
	floodKey, floodHash := anotherKey(t)
	r := startRouter(t, func(hash string) string {
		return fmt.Sprintf(`
tenants:
  - {name: polite, keys: [{name: k, hash: %q}]}
  - {name: flood, keys: [{name: k, hash: %q}]}
pools: [{name: p, engine: vllm, health: off, queue: {wait: 10s, size: 64}, backends: [{url: "http://%s", max_inflight: %d}]}]
models: [{name: m, targets: [{pool: p}]}]
`, hash, floodHash, engine, slots)
	})
	c := &crowd{url: r.url + "/v1/chat/completions", client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000, MaxIdleConns: 2000}, Timeout: patience}}
	t.Cleanup(c.client.CloseIdleConnections)
	begin := time.Now()
	c.asks.Go(func() { c.come("flood", floodKey, 3*capacity, phase/2) })
	c.come("polite", r.key, capacity/10, phase/2)
	c.asks.Wait()
	served := map[string]int{}
	var slowest time.Duration
	first := map[string][]time.Duration{} // of those served
	for _, a := range c.asked {
		served[fmt.Sprintf("%s %d", a.who, a.status)]++
		if a.whole {
			first[a.who] = append(first[a.who], a.first)
		}
		if a.who == "polite" {
			slowest = max(slowest, a.first)
			assert.True(t, a.whole, "%v after the begin: %d", a.due.Sub(begin), a.status)
		}
	}
	for _, times := range first {
		slices.Sort(times)
	}
	polite, flooding := first["polite"][len(first["polite"])/2], first["flood"][len(first["flood"])/2]
	t.Logf("%v; the slowest first token of the polite one took %v, half of them %v, and half of the flood's %v", served, slowest, polite, flooding)
	assert.NotZero(t, served["flood 429"])
	assert.Less(t, slowest, politeWithin)
	assert.Less(t, polite, flooding/2, "those before it take longer")
}
