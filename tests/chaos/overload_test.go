//go:build integration && linux

// More work than there are places for: how much of it is of use to somebody.

package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An engine that runs so many requests at once, each for so long, and lets others
// wait without an end, as vLLM does.
const (
	slots    = 8
	prefill  = 20 * time.Millisecond
	decode   = 180 * time.Millisecond
	capacity = slots / 0.2 // requests a second
	slo      = time.Second // a first token later than this is of use to nobody
)

// newSlotEngine starts the engine and returns its address.
func newSlotEngine(t *testing.T) string {
	free := make(chan struct{}, slots)
	return serveEngine(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // from then on it notices who leaves
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
		case <-r.Context().Done():
			return
		}
		wait(prefill)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, `data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		wait(decode)
		_, _ = fmt.Fprint(w, `data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	})
}

// serveEngine serves an engine until the test ends, and returns its address.
func serveEngine(t *testing.T, answer http.HandlerFunc) string {
	var handlers sync.WaitGroup
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		answer(w, r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done; handlers.Wait() })
	return ln.Addr().String()
}

// crowd is clients that ask at a pace whatever happens, and count what they got.
type crowd struct {
	url    string
	client *http.Client
	asks   sync.WaitGroup

	mu    sync.Mutex // guards the field below
	asked []asked
}

// asked is one request and what it got.
type asked struct {
	who    string
	due    time.Time
	status int // 0: no answer
	first  time.Duration
	whole  bool
}

// come has a tenant ask so often for so long.
func (c *crowd) come(who, key string, perSecond float64, long time.Duration) {
	begin := time.Now()
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		if due.Sub(begin) >= long {
			return
		}
		wait(time.Until(due))
		c.asks.Go(func() {
			a := c.ask(key, due)
			a.who = who
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asked = append(c.asked, a)
		})
	}
}

func (c *crowd) ask(key string, due time.Time) asked {
	a := asked{due: due}
	req, err := http.NewRequest(http.MethodPost, c.url, strings.NewReader(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		return a
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if a.first == 0 {
			a.first = time.Since(due)
		}
		a.whole = a.whole || lines.Text() == "data: [DONE]"
	}
	a.status = resp.StatusCode
	return a
}

// useful is how many of a tenant's requests ("" is all) due in a span got what they
// came for in time, and how many there were.
func (c *crowd) useful(who string, from, until time.Time) (good, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.asked {
		if who != "" && a.who != who || a.due.Before(from) || !a.due.Before(until) {
			continue
		}
		all++
		if a.whole && a.first <= slo {
			good++
		}
	}
	return good, all
}

// anotherKey makes a key besides that of startRouter.
func anotherKey(t *testing.T) (key, hash string) {
	said, err := exec.Command(binary, "keys", "new", "--json").Output()
	require.NoError(t, err)
	var made struct{ Key, Hash string }
	require.NoError(t, json.Unmarshal(said, &made))
	return made.Key, made.Hash
}

// overload runs a router with these keys of its pool at half its capacity, then at
// three times of it for three phases, then at 0.7 times, and returns the goodput of the second part
// over the capacity, and which part of the urgent third of it was served, and of
// all of the last.
func overload(t *testing.T, pool string, phase time.Duration) (goodput, urgent, after float64) {
	engine := newSlotEngine(t)
	batchKey, batchHash := anotherKey(t)
	r := startRouter(t, func(hash string) string {
		return fmt.Sprintf(`
tenants:
  - {name: app, priority: interactive, keys: [{name: k, hash: %q}]}
  - {name: nightly, priority: batch, keys: [{name: k, hash: %q}]}
pools: [{name: p, engine: vllm, health: off, %s, backends: [{url: %q}]}]
models: [{name: m, targets: [{pool: p}]}]
`, hash, batchHash, pool, "http://"+engine)
	})
	c := &crowd{url: r.url + "/v1/chat/completions", client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000, MaxIdleConns: 2000}, Timeout: 3 * slo}}
	t.Cleanup(c.client.CloseIdleConnections)
	c.come("app", r.key, capacity/2, phase)
	begin, long := time.Now(), 3*phase
	c.asks.Go(func() { c.come("nightly", batchKey, 2.2*capacity, long) })
	c.come("app", r.key, 0.8*capacity, long)
	calm := time.Now()
	c.come("app", r.key, 0.7*capacity, phase)
	c.asks.Wait()
	from := begin.Add(phase) // when there was time to find out
	good, _ := c.useful("", from, begin.Add(long))
	goodput = float64(good) / (2 * phase).Seconds() / capacity
	good, all := c.useful("app", from, begin.Add(long))
	urgent = float64(good) / float64(all)
	good, all = c.useful("app", calm.Add(phase/3), calm.Add(phase))
	after = float64(good) / float64(all)
	_, metrics := r.ask(http.MethodGet, "/metrics")
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "helixflow_backend_concurrency_limit{") || strings.HasPrefix(line, "helixflow_requests_shed_total{") {
			t.Log(strings.TrimSpace(line))
		}
	}
	t.Logf("%s: goodput at three times the capacity %.0f %%, of the urgent requests %.1f %%; afterwards %.1f %%", pool, 100*goodput, 100*urgent, 100*after)
	return goodput, urgent, after
}

// TestOverload: at three times what the engine can bear, with a limit that is found
// out and the cheapest class refused first, it works on for answers that come in
// time; without, for nobody.
func TestOverload(t *testing.T) {
	goodput, urgent, after := overload(t, "queue: {wait: 500ms}", phase)
	without, _, _ := overload(t, "queue: off, concurrency: off", phase/2)
	assert.Greater(t, goodput, 0.7)
	assert.Greater(t, goodput, 2*without)
	assert.Greater(t, urgent, 0.8)
	assert.Greater(t, after, 0.9)
}
