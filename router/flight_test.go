package router

// Those who ask the same at once share one call of a backend.

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/cache"
)

// staged is a backend whose answers are let go on step by step.
type staged struct {
	asked atomic.Int32
	left  atomic.Int32
	steps chan struct{}
}

// newStaged answers in these pieces, each behind a step but the first.
func newStaged(t testing.TB, pieces ...string) (*staged, string) {
	s := &staged{steps: make(chan struct{}, 64)}
	return s, newBackend(t, func(a *asked) bool {
		s.asked.Add(1)
		for i, p := range pieces {
			if i > 0 {
				select {
				case <-s.steps:
				case <-a.left:
					s.left.Add(1)
					return false
				}
			}
			a.write(p)
		}
		return !strings.Contains(pieces[len(pieces)-1], "[close]")
	})
}

// followers waits until so many are on flights.
func (w *world) followers(t testing.TB, n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return w.srv.flights.followers.Load() == n }, 20*time.Second, time.Millisecond, "%d followers", n)
}

// assertLanded holds that no flight is left, and nothing of any.
func (w *world) assertLanded(t testing.TB) {
	t.Helper()
	w.settled(t)
	stats := w.srv.flights.stats()
	assert.Zero(t, stats.UnderWay)
	assert.Zero(t, stats.Followers)
	assert.Empty(t, w.srv.flights.open)
	c := w.srv.known.Load()
	c.Purge(cache.Selection{}, time.Now())
	assert.Eventually(t, func() bool { return c.Stats().Bytes == 0 }, 20*time.Second, time.Millisecond, "memory that nobody has")
	assert.NotContains(t, w.log.String(), "panic")
}

// send asks and returns where the answer is read.
func (w *world) send(t testing.TB, raw string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c := w.dial(t)
	require.NoError(t, c.SetDeadline(time.Now().Add(60*time.Second)))
	_, err := io.WriteString(c, raw)
	require.NoError(t, err)
	return c, bufio.NewReader(c)
}

func TestFlight(t *testing.T) {
	const many = 1000
	f := func(name, body, want string, pieces ...string) {
		s, url := newStaged(t, pieces...)
		w := newWorld(t, remembering(url, ""))
		conns := make([]*bufio.Reader, many)
		for i := range conns {
			_, conns[i] = w.send(t, chat(body))
		}
		w.followers(t, many)
		for range pieces[1:] {
			s.steps <- struct{}{}
		}
		results := map[string]int{}
		for _, c := range conns {
			a := readAnswer(t, c)
			require.Equal(t, 200, a.status, name)
			require.NoError(t, a.err)
			require.Equal(t, want, a.body, name)
			results[a.header.Get(cachedHeader)]++
		}
		assert.Equal(t, map[string]int{"miss": 1, "coalesced": many - 1}, results, name)
		assert.EqualValues(t, 1, s.asked.Load(), name)
		assert.Equal(t, "hit", w.ask(t, chat(body)).header.Get(cachedHeader), name)
		metrics := w.scrape(t)
		assert.Contains(t, metrics, `helixflow_cache_requests_total{model="m",result="coalesced"} 999`+"\n")
		assert.Contains(t, metrics, `helixflow_tokens_total{model="m",type="output"} 3`+"\n")
		assert.Contains(t, metrics, `helixflow_cache_saved_tokens_total{model="m",type="output"} 3000`+"\n")
		assert.Contains(t, metrics, "helixflow_cache_flights 0\n")
		w.assertLanded(t)
	}
	f("unary", zero, whole, "", jsonAnswer(whole))
	use := `data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}` + "\n\n"
	f("stream", zeroStream, ev1+ev2+evFin+evDone, sseHead+chunkOf(ev1), chunkOf(ev2), chunkOf(evFin)+chunkOf(use)+chunkOf(evDone)+lastChunk)
}

// Without any staging: whoever comes when finds the answer or the flight.
func TestFlightNoGap(t *testing.T) {
	c, url := newCounted(t)
	w := newWorld(t, remembering(url, ""))
	for round := range 20 {
		text, body, want := jsonAnswer(whole), zero, whole
		if round%2 == 0 {
			text, body, want = streamOf(ev1, evFin, evUse, evDone), zeroStream, ev1+evFin+evDone
		}
		c.answers(text)
		body = body[:len(body)-1] + fmt.Sprintf(`,"x":%d}`, round)
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				a := w.ask(t, chat(body))
				assert.Equal(t, want, a.body)
				assert.NoError(t, a.err)
			})
		}
		group.Wait()
		require.EqualValues(t, round+1, c.asked.Load())
	}
	w.assertLanded(t)
}

// Who joins late reads all of it, at once as far as it has come.
func TestFlightJoinedLate(t *testing.T) {
	s, url := newStaged(t, sseHead+chunkOf(ev1), chunkOf(ev2), chunkOf(evFin)+chunkOf(evUse)+chunkOf(evDone)+lastChunk)
	w := newWorld(t, remembering(url, ""))
	first := func(br *bufio.Reader, want string) {
		t.Helper()
		text := make([]byte, 4<<10)
		for got := ""; !strings.Contains(got, want); {
			n, err := br.Read(text)
			require.NoError(t, err)
			got += string(text[:n])
		}
	}
	_, one := w.send(t, chat(zeroStream))
	first(one, ev1)
	s.steps <- struct{}{}
	first(one, ev2)
	_, two := w.send(t, chat(zeroStream))
	w.followers(t, 2)
	resp := make(chan answer)
	go func() { resp <- readAnswer(t, two) }()
	s.steps <- struct{}{}
	assert.Equal(t, ev1+ev2+evFin+evDone, (<-resp).body)
	assert.EqualValues(t, 1, s.asked.Load())
}

// Whoever leaves, the others get all of it; when all have left, the backend is told.
func TestFlightLeft(t *testing.T) {
	f := func(name, body, want string, pieces ...string) {
		s, url := newStaged(t, pieces...)
		w := newWorld(t, remembering(url, ""))
		a, _ := w.send(t, chat(body))
		w.followers(t, 1)
		_, two := w.send(t, chat(body))
		w.followers(t, 2)
		c, _ := w.send(t, chat(body))
		w.followers(t, 3)
		require.NoError(t, a.Close()) // the one that began it
		w.followers(t, 2)
		require.NoError(t, c.Close())
		w.followers(t, 1)
		for range pieces[1:] {
			s.steps <- struct{}{}
		}
		got := readAnswer(t, two)
		assert.Equal(t, want, got.body, name)
		require.NoError(t, got.err, name)
		assert.EqualValues(t, 1, s.asked.Load(), name)
		assert.Zero(t, s.left.Load(), name)
		w.assertLanded(t)

		w.srv.Publish(w.compile(t, remembering(url, "")))
		a, _ = w.send(t, chat(body))
		w.followers(t, 1)
		b, _ := w.send(t, chat(body))
		w.followers(t, 2)
		require.Eventually(t, func() bool { return s.asked.Load() == 2 }, 20*time.Second, time.Millisecond)
		require.NoError(t, a.Close())
		w.followers(t, 1)
		assert.Zero(t, s.left.Load(), name)
		require.NoError(t, b.Close())
		require.Eventually(t, func() bool { return s.left.Load() == 1 }, 20*time.Second, time.Millisecond, name)
		w.assertLanded(t)
		w.assertBooksEmpty(t)
		assert.Contains(t, w.scrape(t), `code="499"`)
	}
	f("unary", zero, whole, "", jsonAnswer(whole))
	f("stream", zeroStream, ev1+ev2+evFin+evDone, sseHead+chunkOf(ev1), chunkOf(ev2), chunkOf(evFin)+chunkOf(evUse)+chunkOf(evDone)+lastChunk)
}

// One that does not read holds nobody back, and no memory.
func TestFlightSlow(t *testing.T) {
	const rounds, batch = 100, 40 // each well below the window
	event := `data: {"id":"1","choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 8<<10) + `"}}]}` + "\n\n"
	read := make(chan struct{}, rounds)
	var asks atomic.Int32
	url := newBackend(t, func(a *asked) bool {
		asks.Add(1)
		a.write(sseHead)
		for range rounds {
			<-read
			a.write(chunkOf(strings.Repeat(event, batch)))
		}
		a.write(chunkOf(evFin) + chunkOf(evDone) + lastChunk)
		return true
	})
	w := newWorld(t, remembering(url, ", max_answer: 64KiB"))
	_, slowly := w.send(t, chat(zeroStream))
	w.followers(t, 1)
	_, fast := w.send(t, chat(zeroStream))
	w.followers(t, 2)
	read <- struct{}{}
	resp, err := http.ReadResponse(fast, nil)
	require.NoError(t, err)
	for round := range rounds { // while the slow one reads nothing
		_, err := io.CopyN(io.Discard, resp.Body, int64(batch*len(event)))
		require.NoError(t, err, "round %d", round)
		assert.LessOrEqual(t, w.srv.known.Load().Stats().Bytes, int64(flightWindow+(256<<10)), "the window and a recording")
		if round < rounds-1 {
			read <- struct{}{}
		}
	}
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, evFin+evDone, string(rest))
	require.NoError(t, resp.Body.Close())
	a := readAnswer(t, slowly)
	require.Error(t, a.err)
	assert.True(t, strings.HasPrefix(a.body, event))
	assert.Contains(t, a.body, "read too slowly")
	assert.NotContains(t, a.body, "[DONE]")
	assert.EqualValues(t, 1, asks.Load())
	assert.EqualValues(t, 1, w.srv.flights.lost.Load())
	w.assertLanded(t)

	// One alone is waited for, however slow.
	for range rounds {
		read <- struct{}{}
	}
	_, alone := w.send(t, chat(zeroStream))
	w.followers(t, 1)
	require.Eventually(t, func() bool { return asks.Load() == 2 }, 20*time.Second, time.Millisecond)
	a = readAnswer(t, alone)
	require.NoError(t, a.err)
	assert.Equal(t, rounds*batch*len(event)+len(evFin+evDone), len(a.body))
	w.assertLanded(t)
}

// What fails fails for all of them, and is asked for anew by whoever comes next.
func TestFlightFails(t *testing.T) {
	f := func(name, body string, pieces ...string) answer {
		t.Helper()
		s, url := newStaged(t, pieces...)
		w := newWorld(t, strings.Replace(remembering(url, ""), "    balance:", "    ejection: off\n    retry: {attempts: 1}\n    balance:", 1))
		conns := make([]*bufio.Reader, 5)
		for i := range conns {
			_, conns[i] = w.send(t, chat(body))
		}
		w.followers(t, int64(len(conns)))
		for range pieces[1:] {
			s.steps <- struct{}{}
		}
		var first answer
		for i, c := range conns {
			a := readAnswer(t, c)
			if i == 0 {
				first = a
			}
			assert.Equal(t, first.status, a.status, name)
			assert.Equal(t, first.body, a.body, name)
			assert.Equal(t, first.err, a.err, name)
			assert.NotEmpty(t, a.header.Get("X-Request-Id"))
		}
		assert.EqualValues(t, 1, s.asked.Load(), name)
		w.assertLanded(t)
		w.assertBooksEmpty(t)
		for range pieces[1:] {
			s.steps <- struct{}{}
		}
		w.ask(t, chat(body))
		assert.EqualValues(t, 2, s.asked.Load(), name)
		return first
	}
	requireError(t, f("closed", zero, "", "[close]"), 502, "")
	a := f("a fault", zero, "", answerOf(500, jsonType, `{"detail":"no"}`))
	assert.Equal(t, 500, a.status)
	a = f("a fault of the request", zero, "", answerOf(422, jsonType, `{"detail":"no"}`))
	assert.Equal(t, 422, a.status)
	a = f("cut", zeroStream, sseHead+chunkOf(ev1), chunkOf(ev2)+": [close]")
	require.Error(t, a.err)
	assert.True(t, strings.HasPrefix(a.body, ev1+ev2))
	assert.Contains(t, a.body, "upstream_interrupted")
	a = f("an error in it", zeroStream, sseHead+chunkOf(ev1), chunkOf(errFrame)+chunkOf(evDone)+lastChunk)
	assert.Contains(t, a.body, errFrame)
	a = f("cut, large", zero, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{"+strings.Repeat(" ", 500_000), "[close]")
	require.Error(t, a.err)
	assert.Equal(t, 200, a.status)
}

// Whose question it is, and what its answer is to be, decides who shares.
func TestFlightApart(t *testing.T) {
	s, url := newStaged(t, "", jsonAnswer(whole))
	config, keys := tenanted(t, remembering(url, ""))
	w := newWorld(t, config)
	var conns []*bufio.Reader
	asks := int32(0)
	f := func(want int32, followers int64, key, body string, headers ...string) {
		t.Helper()
		_, c := w.send(t, chat(body, append(headers, "Authorization: Bearer "+key)...))
		conns = append(conns, c)
		asks += want
		require.Eventually(t, func() bool { return s.asked.Load() == asks }, 20*time.Second, time.Millisecond)
		w.followers(t, followers)
	}
	f(1, 1, keys[0], zero)
	f(0, 2, keys[0], zero)
	f(1, 3, keys[2], zero, "x-helixflow-tenant: a")
	f(0, 4, keys[2], zero)
	f(1, 4, keys[0], zero, "Cache-Control: no-cache")
	f(1, 4, keys[0], zero, "Cache-Control: no-store")
	f(0, 5, keys[0], zero, "Cache-Control: max-age=0") // it is younger than that
	f(1, 6, keys[0], strings.Replace(zero, "hi", "ho", 1))
	f(1, 7, keys[0], zeroStream)
	f(1, 8, keys[0], strings.Replace(zeroStream, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1))
	f(0, 9, keys[0], zeroStream)
	f(1, 9, keys[0], simple)
	requireError(t, w.ask(t, chat(zero, "Cache-Control: only-if-cached", "Authorization: Bearer "+keys[0])), 504, "not_cached")
	w.srv.Publish(w.compile(t, strings.Replace(config, "exact: 10m", "exact: 10m, coalesce: false", 1)))
	f(1, 9, keys[0], zero)
	w.srv.Publish(w.compile(t, strings.Replace(config, "targets: [{pool: p}]", "targets: [{pool: p, model: x}]", 1)))
	f(1, 10, keys[0], zero) // a reload that changes the answer
	w.srv.Publish(w.compile(t, config))
	f(0, 11, keys[0], zero)
	for range asks {
		s.steps <- struct{}{}
	}
	for _, c := range conns {
		require.Equal(t, 200, readAnswer(t, c).status)
	}
	w.assertLanded(t)
}

// At the end of a drain all are told, and the backend too.
func TestFlightDrained(t *testing.T) {
	f := func(body, first string) {
		t.Helper()
		s, url := newStaged(t, first, "never")
		w := newWorld(t, remembering(url, ""))
		var conns []*bufio.Reader
		for range 3 {
			_, c := w.send(t, chat(body))
			conns = append(conns, c)
		}
		w.followers(t, 3)
		require.Eventually(t, func() bool { return s.asked.Load() == 1 }, 20*time.Second, time.Millisecond)
		for _, c := range conns {
			if first != "" {
				_, err := c.Peek(1)
				require.NoError(t, err)
			}
		}
		w.srv.Drain(t.Context(), 0, time.Millisecond)
		for _, c := range conns {
			a := readAnswer(t, c)
			if first != "" {
				require.Error(t, a.err)
			}
			assert.Contains(t, a.body, "shutting down")
		}
		require.Eventually(t, func() bool { return s.left.Load() == 1 }, 20*time.Second, time.Millisecond)
		w.assertLanded(t)
	}
	f(zeroStream, sseHead+chunkOf(ev1))
	f(zero, "")
}

// A panic in a flight is an error for each follower, and nothing more.
func TestFlightPanics(t *testing.T) {
	_, url := newStaged(t, jsonAnswer(whole))
	w := newWorld(t, remembering(url, ""))
	calm := w.srv.snapshot.Load()
	w.srv.Publish(broken(w, func(n *publicName) { n.route.targets[0].pool.policy = panickyPolicy{} }))
	requireError(t, w.ask(t, chat(zero)), 500, "internal_error")
	w.settled(t)
	assert.Contains(t, w.log.String(), "panic")
	w.srv.Publish(calm)
	assert.Equal(t, whole, w.ask(t, chat(zero)).body)
	w.settled(t)
	stats := w.srv.flights.stats()
	assert.Zero(t, stats.UnderWay+stats.Followers)
	w.assertBooksEmpty(t)
}

// Who begins pays as on any other answer, the others as for one from the cache.
func TestFlightCharge(t *testing.T) {
	s, url := newStaged(t, "", jsonAnswer(whole))
	f := func(charge, want string) {
		t.Helper()
		config := strings.Replace(remembering(url, ", charge: "+charge), "{name: all}", "{name: all, limits: {tokens_per_day: 10k, concurrent: 10, budget: {usd: 100}}}", 1)
		config = strings.Replace(config, "  - name: m\n", "  - name: m\n    price: {input: 1000, output: 1000}\n", 1)
		w := newWorld(t, config)
		var conns []*bufio.Reader
		for range 3 {
			_, c := w.send(t, chat(zero))
			conns = append(conns, c)
		}
		w.followers(t, 3)
		s.steps <- struct{}{}
		for _, c := range conns {
			require.Equal(t, 200, readAnswer(t, c).status)
		}
		w.settled(t)
		assert.Equal(t, want, used(w.srv.snapshot.Load().limits.tenant["all"].all), charge)
	}
	f("none", "tokens_per_day 10 concurrent 0 budget 10000")
	f("tokens", "tokens_per_day 30 concurrent 0 budget 10000")
	f("all", "tokens_per_day 30 concurrent 0 budget 30000")
}

// Whatever its followers and its backend do, a flight ends with nothing held.
func TestFlightsEnd(t *testing.T) {
	url := newBackend(t, func(a *asked) bool {
		r := rand.New(rand.NewPCG(uint64(len(a.body)), uint64(time.Now().UnixNano())))
		pause := func() {
			select {
			case <-time.After(time.Duration(r.IntN(3000)) * time.Microsecond):
			case <-a.left:
			}
		}
		pause()
		switch r.IntN(5) {
		case 0:
			return false
		case 1:
			a.write(answerOf(500, jsonType, `{"detail":"no"}`))
			return true
		}
		if !strings.Contains(a.body, `"stream":true`) {
			a.write(jsonAnswer(whole))
			return true
		}
		a.write(sseHead)
		for range r.IntN(20) {
			a.write(chunkOf(ev2))
			pause()
		}
		if r.IntN(3) == 0 {
			return false
		}
		a.write(chunkOf(evFin) + chunkOf(evUse) + chunkOf(evDone) + lastChunk)
		return true
	})
	config := strings.Replace(remembering(url, ", charge: all"), "{name: all}", "{name: all, limits: {tokens_per_day: 1000M, concurrent: 1000}}", 1)
	config = strings.Replace(config, "    balance:", "    ejection: off\n    balance:", 1)
	w := newWorld(t, config)
	var group sync.WaitGroup
	for worker := range 16 {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 7))
			for range 40 {
				body := zero
				if r.IntN(2) == 0 {
					body = zeroStream
				}
				body = body[:len(body)-1] + fmt.Sprintf(`,"x":%d}`, r.IntN(200))
				c, err := net.Dial("tcp", w.addr)
				if !assert.NoError(t, err) {
					return
				}
				_ = c.SetDeadline(time.Now().Add(60 * time.Second))
				_, _ = io.WriteString(c, chat(body, "Connection: close"))
				switch r.IntN(3) {
				case 0:
					time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
				case 1:
					_, _ = c.Read(make([]byte, 1+r.IntN(300)))
				default:
					_, _ = io.Copy(io.Discard, c)
				}
				_ = c.Close()
			}
		})
	}
	group.Wait()
	w.settled(t)
	w.assertBooksEmpty(t)
	assert.Contains(t, used(w.srv.snapshot.Load().limits.tenant["all"].all), "concurrent 0")
	w.assertLanded(t)
}
