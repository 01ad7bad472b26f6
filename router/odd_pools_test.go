// Pools that are odd: none, one, many, all out, all leaving; and each of them again
// after a reload.
package router

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
)

// paths is a backend that counts requests by the first segment of their paths, so
// that one listener is as many backends as a test wants.
type paths struct {
	base string
	mu   sync.Mutex // guards the fields below
	n    map[string]int
}

func newPaths(t testing.TB) *paths {
	p := &paths{n: make(map[string]int)}
	p.base = newBackend(t, func(a *asked) bool {
		segment := strings.Split(a.req.URL.Path, "/")[1]
		p.mu.Lock()
		p.n[segment]++
		p.mu.Unlock()
		a.write(jsonAnswer(`{"choices":[],"usage":` + someUsage + `}`))
		return true
	})
	return p
}

func (p *paths) urls(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%s/b%d", p.base, i))
	}
	return list
}

// seen is which backends had requests since it was asked last.
func (p *paths) seen() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.n
	p.n = make(map[string]int)
	return n
}

// oddly is a configuration in which new backends are as good as old ones.
func oddly(urls ...string) string {
	return strings.Replace(adaptively("", urls...), "    backends:", "    slow_start: 0s\n    queue: off\n    backends:", 1)
}

// TestPoolsOfAnySize: requests are spread over all there are; of those that are
// drained none gets any, and when all are, that is said.
func TestPoolsOfAnySize(t *testing.T) {
	for _, n := range []int{1, 2, 64, 65, 256} {
		p := newPaths(t)
		urls := p.urls(n)
		w := newWorld(t, oddly(urls...))
		some := func(requests int) map[string]int {
			t.Helper()
			p.seen()
			for i := range requests {
				text := strings.Repeat(fmt.Sprintf("%d of %d is a number. ", i, n), 20)
				require.Equal(t, 200, w.ask(t, chat(message("m", text))).status)
			}
			return p.seen()
		}
		assert.GreaterOrEqual(t, len(some(4*min(n, 70))), min(n, 70)*2/3, "of %d", n)
		for _, url := range urls[1:] {
			require.NoError(t, w.fleet.Drain("p", url))
		}
		assert.Equal(t, map[string]int{"b0": 3}, some(3))
		require.NoError(t, w.fleet.Drain("p", urls[0]))
		requireError(t, w.ask(t, chat(simple)), 503, "no_backend_available")
		require.NoError(t, w.fleet.Undrain("p", urls[n-1]))
		assert.Equal(t, map[string]int{fmt.Sprintf("b%d", n-1): 3}, some(3))
		w.assertBooksEmpty(t)
	}
}

// TestPoolOfNobody: where nothing has been found yet the pool says so, and serves as
// soon as something has.
func TestPoolOfNobody(t *testing.T) {
	p := newPaths(t)
	config := oddly(p.urls(1)...)
	none := strings.Replace(config[:strings.Index(config, "    backends:")], "    queue: off\n", "", 1) +
		"    discover: {file: /nowhere/backends.yaml}\n" + config[strings.Index(config, "models:"):]
	w := newWorld(t, none)
	requireError(t, w.ask(t, chat(simple)), 503, "no_backend_available")
	requireError(t, w.ask(t, chat(streaming)), 503, "no_backend_available")
	w.srv.Publish(w.compile(t, config))
	assert.Equal(t, 200, w.ask(t, chat(simple)).status)
	w.srv.Publish(w.compile(t, none))
	requireError(t, w.ask(t, chat(simple)), 503, "no_backend_available")
	w.assertBooksEmpty(t)
}

// TestAllFail: when all fail, as many are out as may be, clients are told that it is
// a backend's fault, and as soon as one is well it serves.
func TestAllFail(t *testing.T) {
	var well atomic.Bool
	answer := func(a *asked) bool {
		if well.Load() || a.req.Method == http.MethodGet {
			a.write(jsonAnswer(`{"choices":[]}`))
			return true
		}
		a.write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
		return true
	}
	urls := []string{newBackend(t, answer), newBackend(t, answer), newBackend(t, answer)}
	config := strings.Replace(oddly(urls...), "    backends:", "    ejection: {consecutive: 1, base: 1s, max: 1s}\n    backends:", 1)
	w := newWorld(t, config)
	for range 20 {
		a := w.ask(t, chat(simple))
		assert.Contains(t, []int{500, 502, 503}, a.status, a.body)
	}
	out := 0
	for _, ep := range w.srv.snapshot.Load().pools[0].endpoints {
		if ep.State() == backends.Ejected {
			out++
		}
	}
	assert.Equal(t, 1, out, "half of the pool at most")
	well.Store(true)
	require.Eventually(t, func() bool { return w.ask(t, chat(simple)).status == 200 }, 20*time.Second, 50*time.Millisecond)
	w.assertBooksEmpty(t)
}

// TestBackendUnderItsOldName: who left the plan and came back under its name has
// none of what was known of its cache; who stayed has all of it.
func TestBackendUnderItsOldName(t *testing.T) {
	p := newPaths(t)
	urls := p.urls(3)
	w := newWorld(t, oddly(urls...))
	blocks := func() map[string]int {
		pool := w.srv.snapshot.Load().pools[0]
		return pool.matched(chainOf(pool, strings.Repeat("a conversation. ", 500)))
	}
	pool := w.srv.snapshot.Load().pools[0]
	for i := range urls {
		pool.index.given(chainOf(pool, strings.Repeat("a conversation. ", 500)), pool.candidates[i].Place, pool.endpoints[i], 1)
	}
	require.Len(t, blocks(), 3)
	w.srv.Publish(w.compile(t, oddly(urls[0], urls[2])))
	assert.Equal(t, map[string]int{urls[0]: 19, urls[2]: 19}, blocks())
	w.srv.Publish(w.compile(t, oddly(urls[1], urls[2], urls[0])))
	assert.Equal(t, map[string]int{urls[0]: 19, urls[2]: 19}, blocks())
}

// TestIndexGrowsWithThePool: the 65th backend needs a wider index; what was known is
// gone then, and nothing else is.
func TestIndexGrowsWithThePool(t *testing.T) {
	p := newPaths(t)
	urls := p.urls(65)
	w := newWorld(t, oddly(urls[:64]...))
	prompt := message("m", strings.Repeat("a conversation. ", 200))
	require.Equal(t, 200, w.ask(t, chat(prompt)).status)
	w.srv.Publish(w.compile(t, oddly(urls...)))
	p.seen()
	for range 5 {
		require.Equal(t, 200, w.ask(t, chat(prompt)).status)
	}
	assert.Len(t, p.seen(), 1, "a conversation stays")
	assert.Equal(t, 128, w.srv.snapshot.Load().pools[0].index.width)
	w.assertBooksEmpty(t)
}

// TestBooksOfEveryOperation: whatever is asked for, and however it ends, it is on
// the book while it runs and off it after.
func TestBooksOfEveryOperation(t *testing.T) {
	type script struct {
		came, write chan struct{}
		text        string
	}
	var now atomic.Pointer[script]
	url := newBackend(t, func(a *asked) bool {
		s := now.Load()
		select {
		case s.came <- struct{}{}:
		default: // again, on a connection that is not stale
		}
		select {
		case <-s.write:
		case <-a.left:
		}
		a.write(s.text)
		return s.text != "" && !strings.HasSuffix(s.text, "cut")
	})
	config := strings.Replace(adaptively("", url), "    backends:", "    slow_start: 0s\n    queue: off\n    ejection: off\n    retry: {attempts: 1}\n    backends:", 1)
	w := newWorld(t, config+"passthrough: [{prefix: /api, pool: p}]\n")
	l := w.srv.snapshot.Load().pools[0].candidates[0].Load
	raw := map[helixflow.Op]string{helixflow.OpPassthrough: "POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"}
	for op := range helixflow.NumOps {
		switch op.Body() {
		case helixflow.JSONBody:
			raw[op] = postTo(op.Path(), `{"model":"m","messages":[],"prompt":"x","input":"x","query":"q","documents":["d"],"text_1":"a","text_2":"b","tokens":[1]}`)
		case helixflow.FormBody:
			const form = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--B--\r\n"
			raw[op] = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n%s", op.Path(), len(form), form)
		}
	}
	require.Equal(t, 23, len(raw))
	ask := func(op helixflow.Op, request, answer string, leave bool) {
		s := &script{came: make(chan struct{}, 1), write: make(chan struct{}), text: answer}
		now.Store(s)
		c := w.dial(t)
		_, err := c.Write([]byte(request))
		require.NoError(t, err)
		<-s.came
		assert.EqualValues(t, 1, l.InFlight(), "%s", op)
		if leave {
			_ = c.Close()
		} else {
			close(s.write)
		}
		require.Eventually(t, func() bool { return l.InFlight() == 0 }, 20*time.Second, time.Millisecond, "%s %q", op, answer)
		_ = c.Close()
	}
	for op, request := range raw {
		for _, answer := range []string{
			jsonAnswer(`{"usage":` + someUsage + `}`),
			"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut",
			"",
		} {
			ask(op, request, answer, false)
		}
		ask(op, request, "", true)
		w.assertBooksEmpty(t)
	}
}

// TestPolicyChangesWhileItServes: the policy is another one from one request to the
// next; who is under way is not disturbed, and books and index go on.
func TestPolicyChangesWhileItServes(t *testing.T) {
	p := newPaths(t)
	urls := p.urls(3)
	plan := func(policy string) string {
		shadow := "adaptive"
		if policy == shadow {
			shadow = "random"
		}
		return strings.Replace(oddly(urls...), "    backends:", "    balance: "+policy+"\n    shadow: ["+shadow+"]\n    backends:", 1)
	}
	w := newWorld(t, plan("adaptive"))
	prompt := strings.Repeat("a conversation. ", 500)
	pool := w.srv.snapshot.Load().pools[0]
	pool.index.given(chainOf(pool, prompt), pool.candidates[1].Place, pool.endpoints[1], 1)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					assert.Equal(t, 200, w.ask(t, chat(simple)).status)
				}
			}
		})
	}
	for range 3 {
		for _, policy := range []string{"round_robin", "weighted", "p2c_ewma", "session_affinity", "chwbl", "prequal", "priority", "least_tokens", "adaptive"} {
			w.srv.Publish(w.compile(t, plan(policy)))
			require.Equal(t, 200, w.ask(t, chat(message("m", prompt))).status)
		}
	}
	close(stop)
	asking.Wait()
	w.assertBooksEmpty(t)
	pool = w.srv.snapshot.Load().pools[0]
	assert.Equal(t, map[string]int{urls[1]: 19}, pool.matched(chainOf(pool, prompt)), "the shadow has the index kept")
}
