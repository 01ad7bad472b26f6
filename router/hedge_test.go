package router

// A second backend is asked where the first one is late, and one of them answers.

import (
	"bufio"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/backends"
)

// hedged is open with a rule about second tries. The first backend is the one that
// is asked first.
func hedged(rule, timeouts string, urls ...string) string {
	config := strings.Replace(open(timeouts, urls...), "    backends:", "    engine: vllm\n    signals: off\n    serves: any\n    health: off\n    hedge: "+rule+"\n    backends:", 1)
	for i, url := range urls {
		config = strings.Replace(config, "{url: "+url+"}", fmt.Sprintf("{url: %s, tier: %d}", url, i+1), 1)
	}
	return strings.Replace(config, "balance: round_robin", "balance: priority", 1)
}

const atOnce = "{after: 1ms, budget: 100%}"

// assertNeutral holds that nothing was held against any backend.
func (w *world) assertNeutral(t *testing.T) {
	t.Helper()
	now := time.Now()
	for _, ep := range w.srv.snapshot.Load().pools[0].endpoints {
		s := ep.Status(now)
		assert.Equal(t, "healthy", s.State.String(), s.URL)
		assert.Zero(t, s.Ejections)
	}
}

// hedges is how many second tries ended so.
func (w *world) hedges(t *testing.T, result string) int {
	t.Helper()
	var b strings.Builder
	w.metrics.WritePrometheus(&b)
	_, after, found := strings.Cut(b.String(), `helixflow_hedges_total{pool="p",result="`+result+`"} `)
	if !found {
		return -1
	}
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(line)
	require.NoError(t, err)
	return n
}

// inFlight is how many requests the backends have.
func (w *world) inFlight() (n int32) {
	for i := range w.srv.snapshot.Load().pools[0].candidates {
		n += w.srv.snapshot.Load().pools[0].candidates[i].Load.InFlight()
	}
	return n
}

// TestHedgeWins: the first backend says nothing, so that a second one answers, and
// the first is told to stop.
func TestHedgeWins(t *testing.T) {
	f := func(name, body, reply string, begins bool) {
		t.Helper()
		stopped := make(chan struct{})
		first := newBackend(t, func(a *asked) bool {
			if begins {
				a.write(sseHead + chunkOf(": on it\n\n"))
			}
			<-a.left
			close(stopped)
			return false
		})
		second := newBackend(t, func(a *asked) bool { a.write(reply); return true })
		w := newWorld(t, hedged(atOnce, "", first, second))
		a := w.ask(t, chat(body))
		require.Equal(t, 200, a.status, name)
		require.NoError(t, a.err, name)
		select {
		case <-stopped:
		case <-time.After(20 * time.Second):
			require.Fail(t, "the first backend was not told", name)
		}
		w.assertBooksEmpty(t)
		w.assertNeutral(t)
		assert.Equal(t, 1, w.hedges(t, "won"), name)
		scrape := w.scrape(t)
		assert.True(t, strings.Contains(scrape, `helixflow_picks_total{pool="p",reason="hedge"} 1`), name)
		assert.False(t, strings.Contains(scrape, `code="none"`), name)
	}
	stream := sseHead + chunkOf(ev2) + chunkOf(evFin) + chunkOf(evDone) + lastChunk
	f("unary", simple, jsonAnswer(`{"choices":[]}`), false)
	f("stream", streaming, stream, false)
	f("a stream that has a head and no event", streaming, stream, true)
}

// TestHedgeLoses: the first backend begins after all, and the second one is told to
// stop; the client waits for neither.
func TestHedgeLoses(t *testing.T) {
	f := func(name, body, reply string) {
		t.Helper()
		began, stopped := make(chan struct{}), make(chan struct{})
		first := newBackend(t, func(a *asked) bool { <-began; a.write(reply); return true })
		second := newBackend(t, func(a *asked) bool {
			close(began)
			<-a.left
			close(stopped)
			return false
		})
		w := newWorld(t, hedged(atOnce, "", first, second))
		require.Equal(t, 200, w.ask(t, chat(body)).status, name)
		<-stopped
		w.assertBooksEmpty(t)
		w.assertNeutral(t)
		assert.Equal(t, 1, w.hedges(t, "lost"), name)
	}
	f("unary", simple, jsonAnswer(`{"choices":[]}`))
	f("stream", streaming, sseHead+chunkOf(ev2)+chunkOf(evFin)+chunkOf(evDone)+lastChunk)
}

// TestHedgeAndFailures: the first try fails while the second one is under way, and
// that one answers; and the other way round.
func TestHedgeAndFailures(t *testing.T) {
	good, bad := jsonAnswer(`{"choices":[]}`), "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
	f := func(name, first, second string, sooner bool, status int, result string) {
		t.Helper()
		var here atomic.Pointer[world]
		began := make(chan struct{})
		a := newBackend(t, func(a *asked) bool {
			<-began
			for !sooner && here.Load().inFlight() == 2 { // until the second is over
				time.Sleep(time.Millisecond)
			}
			a.write(first)
			return first != ""
		})
		b := newBackend(t, func(a *asked) bool {
			close(began)
			a.write(second)
			return second != ""
		})
		config := strings.Replace(hedged(atOnce, "", a, b), "    hedge:", "    ejection: off\n    hedge:", 1)
		w := newWorld(t, config)
		here.Store(w)
		assert.Equal(t, status, w.ask(t, chat(simple)).status, name)
		w.assertBooksEmpty(t)
		assert.Equal(t, 1, w.hedges(t, result), name)
	}
	f("the first is cut", "", good, true, 200, "won")
	f("the first fails", bad, good, true, 200, "won")
	f("the second is cut", good, "", false, 200, "failed")
	f("the second fails", good, bad, false, 200, "failed")
	f("the second refuses what the first takes", good, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", false, 200, "failed")
	f("both fail", bad, bad, true, 500, "failed")
	f("both are cut", "", "", false, 502, "failed")
}

// TestHedgeAndLeaving: a client that leaves in a race frees both backends.
func TestHedgeAndLeaving(t *testing.T) {
	both, gone := make(chan struct{}, 2), make(chan struct{}, 2)
	answer := func(a *asked) bool {
		both <- struct{}{}
		<-a.left
		gone <- struct{}{}
		return false
	}
	w := newWorld(t, hedged(atOnce, "", newBackend(t, answer), newBackend(t, answer)))
	c := w.dial(t)
	_, err := io.WriteString(c, chat(streaming))
	require.NoError(t, err)
	<-both
	<-both
	require.NoError(t, c.Close())
	<-gone
	<-gone
	w.assertBooksEmpty(t)
	w.assertNeutral(t)
	assert.NotContains(t, w.log.String(), "panic")
}

// TestHedgeWinnerAndLeaving: who leaves after the second one has begun frees that.
func TestHedgeWinnerAndLeaving(t *testing.T) {
	gone := make(chan struct{}, 2)
	first := newBackend(t, func(a *asked) bool {
		<-a.left
		gone <- struct{}{}
		return false
	})
	second := newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev2))
		<-a.left
		gone <- struct{}{}
		return false
	})
	w := newWorld(t, hedged(atOnce, "", first, second))
	c := w.dial(t)
	_, err := io.WriteString(c, chat(streaming))
	require.NoError(t, err)
	_, err = bufio.NewReader(c).ReadString('}')
	require.NoError(t, err)
	<-gone // the first one, which has lost
	require.NoError(t, c.Close())
	<-gone
	w.assertBooksEmpty(t)
}

// TestNoHedge: what must not be sent twice is not, nor where nobody is idle or the
// budget is used up.
func TestNoHedge(t *testing.T) {
	f := func(name, rule, path, body string, skipped int) {
		t.Helper()
		var count atomic.Int64
		var here atomic.Pointer[world]
		answer := func(a *asked) bool {
			count.Add(1)
			time.Sleep(5 * time.Millisecond) // it would be late
			for skipped > 0 && here.Load().hedges(t, "skipped") == 0 {
				time.Sleep(time.Millisecond)
			}
			a.write(jsonAnswer(`{"choices":[]}`))
			return true
		}
		config := hedged(rule, "", newBackend(t, answer), newBackend(t, answer))
		w := newWorld(t, config)
		here.Store(w)
		require.Equal(t, 200, w.ask(t, postTo(path, body)).status, name)
		assert.EqualValues(t, 1, count.Load(), name)
		assert.Equal(t, skipped, w.hedges(t, "skipped"), name)
	}
	const completions, responses = "/v1/chat/completions", "/v1/responses"
	f("off", "off", completions, simple, -1)
	f("nothing known yet", "{budget: 100%}", completions, simple, 0)
	f("no budget", "{after: 1ms, budget: 0%}", completions, simple, 1)
	f("saved up too little", "{after: 1ms, budget: 99%}", completions, simple, 1)
	f("stored", atOnce, completions, `{"model":"m","messages":[],"store":true}`, 0)
	f("several answers", atOnce, completions, `{"model":"m","messages":[],"n":2}`, 0)
	f("sound", atOnce, completions, `{"model":"m","messages":[],"modalities":["text","audio"]}`, 1)
	f("a search", atOnce, completions, `{"model":"m","messages":[],"web_search_options":{}}`, 1)
	f("a long prompt", atOnce, completions, message("m", strings.Repeat("long ", 10_000)), 0)
	f("stored by default", atOnce, responses, `{"model":"m","input":"x"}`, 0)
	f("tools over there", atOnce, responses, `{"model":"m","input":"x","store":false,"tools":[{"type":"web_search"}]}`, 0)
	f("an image", atOnce, "/v1/images/generations", `{"model":"m","prompt":"x"}`, 0)
}

// TestHedgeNeedsAnIdleBackend: one with much to do is no help.
func TestHedgeNeedsAnIdleBackend(t *testing.T) {
	var count atomic.Int64
	var here atomic.Pointer[world]
	answer := func(a *asked) bool {
		count.Add(1)
		for here.Load().hedges(t, "skipped") == 0 {
			time.Sleep(time.Millisecond)
		}
		a.write(sseHead + chunkOf(ev2) + chunkOf(evFin) + chunkOf(evDone) + lastChunk)
		return true
	}
	config := strings.Replace(hedged(atOnce, "", newBackend(t, answer), newBackend(t, answer)), "balance: priority", "balance: least_tokens", 1)
	w := newWorld(t, config)
	here.Store(w)
	long := fmt.Sprintf(`{"model":"m","stream":true,"messages":["%s"]}`, strings.Repeat(longEnough, 2000)) // which is not hedged itself
	for i, body := range []string{long, long, streaming} {                                                 // each backend has a long one before the short one comes
		_, err := io.WriteString(w.dial(t), chat(body))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return count.Load() == int64(i+1) }, 20*time.Second, time.Millisecond)
	}
	require.Eventually(t, func() bool { return w.inFlight() == 0 }, 20*time.Second, time.Millisecond)
	assert.EqualValues(t, 3, count.Load())
	assert.Zero(t, w.hedges(t, "won")+w.hedges(t, "lost")+w.hedges(t, "failed"))
	w.assertBooksEmpty(t)
}

// TestHedgesAreBounded: whatever backends do, second tries stay within their share.
func TestHedgesAreBounded(t *testing.T) {
	var h backends.Hedges
	h.Set(0.02)
	spent := 0
	for i := range 10_000 {
		h.Request()
		if h.Spend() {
			spent++
		}
		require.LessOrEqual(t, spent*50, i+1)
	}
	assert.Equal(t, 200, spent)
}

// TestHedgeByPercentile: once enough answers are known, the few that take far longer
// get a second try.
func TestHedgeByPercentile(t *testing.T) {
	var slow atomic.Bool
	answer := func(a *asked) bool {
		if slow.CompareAndSwap(true, false) {
			<-a.left
			return false
		}
		a.write(jsonAnswer(`{"choices":[]}`))
		return true
	}
	w := newWorld(t, hedged("{percentile: 95%, budget: 100%}", "", newBackend(t, answer), newBackend(t, answer)))
	for range 120 {
		require.Equal(t, 200, w.ask(t, chat(simple)).status)
	}
	slow.Store(true)
	require.Equal(t, 200, w.ask(t, chat(simple)).status)
	assert.Equal(t, 1, w.hedges(t, "won"))
	w.assertBooksEmpty(t)
}

// TestIdentityInRaces: whichever of two answers, each caller reads its own.
func TestIdentityInRaces(t *testing.T) {
	answer := func(a *asked) bool {
		canary := a.req.Header.Get("X-Canary")
		if !strings.Contains(a.body, canary+`"`) || strings.Count(a.head+a.body, "canary-") != 2 {
			canary = "mixed: " + a.head + a.body
		}
		time.Sleep(time.Duration(mrand.Int64N(int64(3 * time.Millisecond))))
		a.write(jsonAnswer(fmt.Sprintf(`{"id":%q}`, canary)))
		return true
	}
	w := newWorld(t, strings.Replace(hedged(atOnce, "", newBackend(t, answer), newBackend(t, answer)), "balance: priority", "balance: round_robin", 1))
	var callers sync.WaitGroup
	for caller := range 16 {
		callers.Go(func() {
			c, err := net.Dial("tcp", w.addr)
			if !assert.NoError(t, err) {
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			br := bufio.NewReader(c)
			for n := range 40 {
				canary := fmt.Sprintf("canary-%d-%d", caller, n)
				_, _ = io.WriteString(c, chat(`{"model":"m","messages":["`+strings.Repeat("y", mrand.IntN(3000))+`"],"user":"`+canary+`"}`, "X-Canary: "+canary))
				resp, err := http.ReadResponse(br, nil)
				if !assert.NoError(t, err) {
					return
				}
				body, err := io.ReadAll(resp.Body)
				assert.NoError(t, err)
				assert.Equal(t, `{"id":"`+canary+`"}`, string(body))
			}
		})
	}
	callers.Wait()
	w.assertBooksEmpty(t)
	assert.Positive(t, w.hedges(t, "won"))
	assert.Positive(t, w.hedges(t, "lost"))
}
