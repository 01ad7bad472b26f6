//go:build integration && linux

// More memory asked for than there is: the process lives, and so does what is small.

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	memoryLimit = 160 // MiB
	heavyBody   = 900 << 10
	lightBody   = 60 << 10 // which is taken in at every level but the last
	lightEach   = 6        // beside a heavy one
	heavyMost   = 4000     // requests
	heavyPause  = 10 * time.Millisecond
)

// TestMemory: large requests wait for an engine that does not answer until there is
// no room for more of them, and then smaller ones, which are let in without, until
// they hold all the memory there is. Some are given up, with an answer that says so,
// and others are refused; a small stream that began before runs on to its end.
func TestMemory(t *testing.T) {
	end, ended := context.WithCancel(context.Background())
	defer ended()
	engine := serveEngine(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if n > lightBody {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, `data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-end.Done()
		_, _ = fmt.Fprint(w, `data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	})
	r := startRouter(t, func(hash string) string {
		return fmt.Sprintf(`
server: {memory: {limit: %dMiB}}
tenants: [{name: t, priority: interactive, keys: [{name: k, hash: %q}]}]
pools: [{name: p, health: off, ejection: off, backends: [{url: "http://%s"}]}]
models: [{name: m, targets: [{pool: p}], timeouts: {connect: 30s}}]
`, memoryLimit, hash, engine)
	})
	l := newLoad(t, r)
	l.client.Transport.(*http.Transport).DisableKeepAlives = true // idle ones are closed, and may be in use by then
	small := make(chan string, 1)
	l.clients.Go(func() {
		small <- l.ask(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`, true)
	})
	says := func(line string) bool {
		_, metrics := r.ask(http.MethodGet, "/metrics")
		return strings.Contains(metrics, line)
	}
	until(t, patience, "the stream does not run", func() bool { return says(fmt.Sprintf("helixflow_backend_inflight{backend=%q} 1\n", "http://"+engine)) })
	asks := func(size int) string {
		return `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", size) + `"}]}`
	}
	heavy, light := asks(heavyBody), asks(lightBody)
	said, enough := make(chan string, heavyMost*(1+lightEach)), make(chan struct{})
	l.clients.Go(func() { // refusing some makes room for others: in the end only what waits holds memory
		for range heavyMost {
			select {
			case <-l.stopped:
				return
			case <-enough:
				return
			case <-time.After(heavyPause):
			}
			l.clients.Go(func() { said <- l.ask(heavy, false) })
			for range lightEach {
				l.clients.Go(func() { said <- l.ask(light, false) })
			}
		}
	})
	until(t, 4*patience, "nothing is given up", func() bool { return !says("helixflow_requests_given_up_total 0\n") })
	close(enough)
	ended()
	assert.Equal(t, whole, <-small)
	given := false
	for how := range heard(said) {
		assert.Contains(t, how, `503 {"error":{`)
		assert.Contains(t, how, "router_overloaded")
		given = given || strings.HasSuffix(how, " pressure_given_up")
	}
	for !given { // who is given up is told so a moment after it is counted
		given = strings.HasSuffix(<-said, " pressure_given_up")
	}
	t.Logf("%.0f MiB of %d", r.rss(), memoryLimit)
	require.NoError(t, r.cmd.Process.Kill()) // and all that waits for it
}

// TestMemoryAtOnce: large bodies that come all at once, more of them than there is
// memory for, and faster than it can be measured: what there is no room for is
// refused before it takes any.
func TestMemoryAtOnce(t *testing.T) {
	const bodies = 300
	engine := serveEngine(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	r := startRouter(t, func(hash string) string {
		return fmt.Sprintf(`
server: {memory: {limit: 96MiB}}
tenants: [{name: t, priority: interactive, keys: [{name: k, hash: %q}]}]
pools: [{name: p, health: off, ejection: off, backends: [{url: "http://%s"}]}]
models: [{name: m, targets: [{pool: p}], timeouts: {connect: 30s}}]
`, hash, engine)
	})
	l := newLoad(t, r)
	l.client.Transport.(*http.Transport).DisableKeepAlives = true // idle ones are closed, and may be in use by then
	heavy := `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", heavyBody) + `"}]}`
	said := make(chan string, bodies)
	for range bodies {
		l.clients.Go(func() { said <- l.ask(heavy, false) })
	}
	for range bodies / 2 { // the others wait for the engine
		how := <-said
		assert.Contains(t, how, `503 {"error":{`)
		assert.Contains(t, how, "router_overloaded")
	}
	most := r.memory("VmHWM:")
	t.Logf("%.0f MiB at most", most)
	assert.Less(t, most, 160., "the limit, and what the program itself is, but not %d MiB", bodies*heavyBody>>20)
	require.NoError(t, r.cmd.Process.Kill())
}

// TestShortOfDescriptors: while the process has few file descriptors left it refuses
// who can wait before who cannot, and says why; what runs is not disturbed.
func TestShortOfDescriptors(t *testing.T) {
	const files = 400
	end, ended := context.WithCancel(context.Background())
	defer ended()
	engine := serveEngine(t, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), `"stream":true`) {
			_, _ = fmt.Fprint(w, `{"object":"chat.completion","choices":[]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, `data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-end.Done()
		_, _ = fmt.Fprint(w, `data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	})
	said, err := exec.Command(binary, "keys", "new", "--json").Output()
	require.NoError(t, err)
	var patient struct{ Key, Hash string }
	require.NoError(t, json.Unmarshal(said, &patient))
	r := startRouterWith(t, files, func(hash string) string {
		return fmt.Sprintf(`
tenants:
  - {name: t, priority: interactive, keys: [{name: k, hash: %q}]}
  - {name: nightly, priority: batch, keys: [{name: k, hash: %q}]}
pools: [{name: p, health: off, ejection: off, queue: off, backends: [{url: "http://%s"}]}]
models: [{name: m, targets: [{pool: p}], timeouts: {connect: 30s}}]
`, hash, patient.Hash, engine)
	})
	l := newLoad(t, r)
	open := func() int {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.cmd.Process.Pid))
		require.NoError(t, err)
		return len(list)
	}
	streams := 0
	ends := make(chan string, files)
	for open() < files*955/1000 {
		streams++
		l.clients.Go(func() { ends <- l.ask(`{"model":"m","stream":true,"messages":[]}`, true) })
		line := fmt.Sprintf("helixflow_backend_inflight{backend=%q} %d\n", "http://"+engine, streams)
		until(t, patience, "the stream does not run", func() bool { _, m := r.ask(http.MethodGet, "/metrics"); return strings.Contains(m, line) })
	}
	until(t, patience, "it is not seen", func() bool {
		_, m := r.ask(http.MethodGet, "/metrics")
		return strings.Contains(m, "helixflow_pressure_level 3\n")
	})
	const small = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	batch := newLoad(t, r)
	batch.key = patient.Key
	refused := batch.ask(small, false)
	assert.Contains(t, refused, `429 {"error":{`)
	assert.True(t, strings.HasSuffix(refused, " pressure_priority"), refused)
	assert.Equal(t, whole, l.ask(small, false), "who cannot wait is served")
	ended()
	for range streams {
		assert.Equal(t, whole, <-ends)
	}
}

// heard is what has been said, and at least one thing.
func heard(said <-chan string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for ok := yield(<-said); ok && len(said) > 0; {
			ok = yield(<-said)
		}
	}
}
