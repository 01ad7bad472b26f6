package router

// What requests promise on backends' books is taken back whatever becomes of them,
// and a prompt goes to where it was read before.

import (
	"bufio"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// adaptively is open with the default policy.
func adaptively(timeouts string, urls ...string) string {
	return strings.Replace(open(timeouts, urls...), "    balance: round_robin\n", "", 1)
}

// assertBooksEmpty holds that nothing is promised to any backend any more, once
// every request and every copy of one is over.
func (w *world) assertBooksEmpty(t *testing.T) {
	t.Helper()
	w.settled(t)
	require.Eventually(t, func() bool { return w.srv.mirrored.Load() == 0 }, 20*time.Second, time.Millisecond, "copies under way")
	for _, p := range w.srv.snapshot.Load().pools {
		now := p.members.Clock(time.Now())
		for i := range p.candidates {
			l := p.candidates[i].Load
			assert.Zero(t, l.InFlight())
			assert.Zero(t, l.PrefillTokens())
			assert.Zero(t, l.KVTokens())
			assert.Zero(t, l.Ahead(now))
		}
	}
}

const longEnough = "Why is the sky blue at noon, and why is it red at dusk and at dawn? "

// TestBooksOfEveryEnding plays one request to each ending and looks at the books
// while it runs and after.
func TestBooksOfEveryEnding(t *testing.T) {
	var script atomic.Pointer[func(a *asked) bool]
	url := newBackend(t, func(a *asked) bool { return (*script.Load())(a) })
	config := strings.Replace(adaptively("first_token: 2s, idle: 2s, keepalive: 0s", url), "    backends:", "    ejection: off\n    slow_start: 0s\n    queue: off\n    backends:", 1)
	w := newWorld(t, config)
	l := w.srv.snapshot.Load().pools[0].candidates[0].Load
	prompt := `"messages":[{"role":"user","content":"` + strings.Repeat(longEnough, 20) + `"}]`
	role := `data: {"choices":[{"delta":{"role":"assistant"}}]}` + "\n\n"
	f := func(name string, stream bool, answer func(a *asked, booked func(prefill bool)) bool) {
		t.Helper()
		booked := func(prefill bool) {
			assert.Eventually(t, func() bool {
				return l.InFlight() == 1 && l.KVTokens() > 0 && prefill == (l.PrefillTokens() > 0)
			}, 20*time.Second, time.Millisecond, name)
		}
		one := func(a *asked) bool { return answer(a, booked) }
		script.Store(&one)
		c := w.dial(t)
		_, err := io.WriteString(c, chat(fmt.Sprintf(`{"model":"m","stream":%v,%s}`, stream, prompt)))
		require.NoError(t, err)
		if !strings.HasPrefix(name, "left") {
			_, _ = io.ReadAll(bufio.NewReader(io.LimitReader(c, 1)))
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		}
		require.Eventually(t, func() bool { return l.InFlight() == 0 || strings.HasPrefix(name, "left") }, 20*time.Second, time.Millisecond, name)
		if strings.HasPrefix(name, "left") {
			require.Eventually(t, func() bool { return l.InFlight() == 1 }, 20*time.Second, time.Millisecond, name)
		}
		_ = c.Close()
		require.Eventually(t, func() bool { return l.InFlight() == 0 }, 20*time.Second, time.Millisecond, name)
		w.assertBooksEmpty(t)
	}
	f("served", false, func(a *asked, booked func(bool)) bool {
		booked(false)
		assert.Positive(t, l.Ahead(w.srv.snapshot.Load().pools[0].members.Clock(time.Now())))
		a.write(jsonAnswer(`{"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":3,"total_tokens":303}}`))
		return true
	})
	f("stream served", true, func(a *asked, booked func(bool)) bool {
		booked(true)
		a.write(sseHead)
		booked(true) // a head is no token
		a.write(chunkOf(": ping\n\n"))
		booked(true) // nor is a comment
		a.write(chunkOf(role))
		booked(true) // nor a role
		a.write(chunkOf(ev2))
		booked(false)
		a.write(chunkOf(evFin) + chunkOf(evDone) + lastChunk)
		return true
	})
	f("refused", false, func(a *asked, _ func(bool)) bool {
		a.write("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	f("failed", true, func(a *asked, _ func(bool)) bool {
		a.write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	f("no answer", true, func(*asked, func(bool)) bool { return false })
	f("nonsense", false, func(a *asked, _ func(bool)) bool { a.write("nonsense\r\n\r\n"); return false })
	f("cut before a token", true, func(a *asked, _ func(bool)) bool { a.write(sseHead + chunkOf(role)); return false })
	f("cut", true, func(a *asked, _ func(bool)) bool { a.write(sseHead + chunkOf(ev2)); return false })
	f("silent", true, func(a *asked, _ func(bool)) bool { <-a.left; return false })
	f("stalled", true, func(a *asked, _ func(bool)) bool { a.write(sseHead + chunkOf(ev2)); <-a.left; return false })
	f("left waiting", false, func(a *asked, _ func(bool)) bool { <-a.left; return false })
	f("left a stream", true, func(a *asked, _ func(bool)) bool { a.write(sseHead + chunkOf(ev2)); <-a.left; return false })
}

// TestBooksOfAnyHistory: many callers, backends that fail at random, retries,
// mirrors, second tries, callers that leave: at the end nothing is promised to
// anybody.
func TestBooksOfAnyHistory(t *testing.T) {
	f := func(name, rules string, pause time.Duration) {
		t.Helper()
		answer := func(a *asked) bool {
			time.Sleep(time.Duration(mrand.Int64N(int64(pause) + 1)))
			switch mrand.IntN(8) {
			case 0:
				a.write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
				return true
			case 1:
				return false
			case 2:
				a.write(sseHead + chunkOf(ev2))
				return false
			}
			if strings.Contains(a.body, `"stream":true`) {
				a.write(sseHead)
				time.Sleep(time.Duration(mrand.Int64N(int64(pause) + 1)))
				a.write(chunkOf(ev2) + chunkOf(evFin) + chunkOf(evUse) + chunkOf(evDone) + lastChunk)
				return true
			}
			a.write(jsonAnswer(`{"choices":[],"usage":{"prompt_tokens":300,"completion_tokens":3,"total_tokens":303}}`))
			return true
		}
		urls := []string{newBackend(t, answer), newBackend(t, answer), newBackend(t, answer)}
		config := strings.Replace(adaptively("", urls...), "    backends:", "    ejection: off\n    retry: {attempts: 3, budget: 100%}\n"+rules+"    backends:", 1)
		config = strings.Replace(config, "targets: [{pool: p}]", "targets: [{pool: p}, {pool: p, mirror: 30%}]", 1)
		w := newWorld(t, config)
		w.anyHistory(t)
		w.assertBooksEmpty(t)
		assert.NotContains(t, w.log.String(), "panic", name)
		if pause > 0 {
			assert.Positive(t, w.hedges(t, "won"), name)
			assert.Positive(t, w.hedges(t, "lost"), name)
			assert.Positive(t, w.hedges(t, "failed"), name)
		}
	}
	f("plain", "", 0)
	f("with second tries", "    engine: vllm\n    signals: off\n    serves: any\n    hedge: {after: 1ms, budget: 100%}\n", 3*time.Millisecond)
}

// anyHistory is many callers, of whom some leave.
func (w *world) anyHistory(t *testing.T) {
	t.Helper()
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for range 40 {
				c, err := net.Dial("tcp", w.addr)
				if !assert.NoError(t, err) {
					return
				}
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				body := fmt.Sprintf(`{"model":"m","stream":%v,"messages":["%s"]}`, mrand.IntN(2) == 0, strings.Repeat(longEnough, 1+mrand.IntN(60)))
				_, _ = io.WriteString(c, chat(body, "Connection: close"))
				if mrand.IntN(4) > 0 {
					_, _ = io.Copy(io.Discard, c)
				}
				_ = c.Close()
			}
		})
	}
	wait.Wait()
	// A request of one that left may not even have been read yet.
	require.Eventually(t, func() bool { return w.srv.open() == 0 }, 20*time.Second, time.Millisecond, "connections")
}

// counting is a backend that counts its requests and answers each with usage.
type counting struct {
	url   string
	count atomic.Int64
}

func newCounting(t *testing.T, usage string) *counting {
	c := &counting{}
	c.url = newBackend(t, func(a *asked) bool {
		c.count.Add(1)
		a.write(jsonAnswer(`{"choices":[],"usage":` + usage + `}`))
		return true
	})
	return c
}

const someUsage = `{"prompt_tokens":1000,"completion_tokens":3,"total_tokens":1003}`

func message(model, text string) string {
	return fmt.Sprintf(`{"model":"%s","messages":[{"role":"user","content":"%s"}]}`, model, text)
}

// TestConversationsStay: a conversation's turns go to one backend, also after a
// reload that lists others before it, and conversations spread over the pool.
func TestConversationsStay(t *testing.T) {
	var all []*counting
	var urls []string
	for range 4 {
		b := newCounting(t, someUsage)
		all, urls = append(all, b), append(urls, b.url)
	}
	w := newWorld(t, adaptively("", urls...))
	turn := func(text string) int {
		t.Helper()
		var before [4]int64
		for i, b := range all {
			before[i] = b.count.Load()
		}
		require.Equal(t, 200, w.ask(t, chat(message("m", text))).status)
		for i, b := range all {
			if b.count.Load() != before[i] {
				return i
			}
		}
		return -1
	}
	text, home := make([]string, 12), make([]int, 12)
	used := map[int]bool{}
	for i := range text {
		text[i] = strings.Repeat(fmt.Sprintf("Conversation %d begins. ", i), 200)
		home[i] = turn(text[i])
		used[home[i]] = true
	}
	assert.Greater(t, len(used), 1)
	for round := range 3 {
		if round == 1 {
			other := newCounting(t, someUsage)
			w.srv.Publish(w.compile(t, adaptively("", other.url, urls[3], urls[2], urls[1], urls[0])))
		}
		for i := range text {
			text[i] += strings.Repeat(fmt.Sprintf("Turn %d of it. ", round), 40)
			assert.Equal(t, home[i], turn(text[i]), "conversation %d, round %d", i, round)
		}
	}
}

// TestPromptsOfTenants: with a salt, what one tenant's prompts are is not to be
// found out by where another's go.
func TestPromptsOfTenants(t *testing.T) {
	for _, salted := range []bool{false, true} {
		a, b := newCounting(t, someUsage), newCounting(t, someUsage)
		config := adaptively("", a.url, b.url)
		k1, h1 := newKey(t)
		k2, h2 := newKey(t)
		config = strings.Replace(config, "auth: {anonymous: all}\ntenants: [{name: all}]",
			fmt.Sprintf("tenants: [{name: t1, keys: [{name: k, hash: %q}]}, {name: t2, keys: [{name: k, hash: %q}]}]", h1, h2), 1)
		if salted {
			config = strings.Replace(config, "    backends:", "    prefix_index: {salt: tenant}\n    backends:", 1)
		}
		w := newWorld(t, config)
		together := 0
		for i := range 40 {
			text := strings.Repeat(fmt.Sprintf("Secret %d. ", i), 200)
			require.Equal(t, 200, w.ask(t, chat(message("m", text), bearerLine(k1))).status)
			first := a.count.Load()
			require.Equal(t, 200, w.ask(t, chat(message("m", text), bearerLine(k1))).status)
			onA := a.count.Load() > first
			first = a.count.Load()
			require.Equal(t, 200, w.ask(t, chat(message("m", text), bearerLine(k2))).status)
			if onA == (a.count.Load() > first) {
				together++
			}
		}
		if salted {
			assert.InDelta(t, 20, together, 15)
		} else {
			assert.Equal(t, 40, together)
		}
	}
}

// TestCachedTokensCalibrate: an engine that says it found nothing of what was
// predicted is not believed to have it; one that never says anything is.
func TestCachedTokensCalibrate(t *testing.T) {
	f := func(first, later string, trusted bool) {
		t.Helper()
		var count atomic.Int64
		url := newBackend(t, func(a *asked) bool {
			usage := later
			if count.Add(1) <= 2 {
				usage = first
			}
			a.write(jsonAnswer(`{"choices":[],"usage":` + usage + `}`))
			return true
		})
		w := newWorld(t, adaptively("", url, "http://127.0.0.1:1"))
		require.NoError(t, w.fleet.Drain("p", "http://127.0.0.1:1"))
		for range 30 {
			require.Equal(t, 200, w.ask(t, chat(message("m", strings.Repeat(longEnough, 60)))).status)
		}
		w.settled(t)
		p := w.srv.snapshot.Load().pools[0]
		assert.Equal(t, trusted, p.index.table.Trust(p.candidates[0].Place) > 0.7)
	}
	const cached = `{"prompt_tokens":1000,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":%d}}`
	f(someUsage, someUsage, true)
	f(fmt.Sprintf(cached, 990), fmt.Sprintf(cached, 990), true)
	f(fmt.Sprintf(cached, 990), fmt.Sprintf(cached, 0), false)
}
