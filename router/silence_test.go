package router

// Backends that go quiet and clients that do not read.

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/backends"
)

const stallFrame = `data: {"error":{"message":"The backend stopped sending.","type":"server_error","param":null,"code":"upstream_timeout"}}` + "\n\n"

// stalls sends text and then nothing, for as long as its peer stays.
func stalls(text string) func(a *asked) bool {
	return func(a *asked) bool {
		a.write(text)
		<-a.left
		return false
	}
}

func TestStalls(t *testing.T) {
	f := func(text, timeouts string, status int, want string, after time.Duration) {
		t.Helper()
		w := newWorld(t, open(timeouts, newBackend(t, stalls(text))))
		began := time.Now()
		a := w.ask(t, chat(streaming))
		requireTook(t, began, after)
		require.Equal(t, status, a.status)
		if status == 200 {
			assert.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
			assert.Equal(t, want, a.body)
			return
		}
		requireError(t, a, status, want)
	}
	const ms = time.Millisecond
	f("", "first_token: 100ms", 504, "upstream_timeout", 100*ms)
	f("", "total: 100ms", 504, "upstream_timeout", 100*ms)
	f("HTTP/1.1 200 OK\r\n", "first_token: 100ms", 504, "upstream_timeout", 100*ms)
	f(sseHead, "first_token: 100ms", 504, "upstream_timeout", 100*ms)
	f(sseHead+chunkOf(": hi\n\n"), "first_token: 100ms", 504, "upstream_timeout", 100*ms)
	f(sseHead+chunkOf(ev1[:20]), "first_token: 100ms", 504, "upstream_timeout", 100*ms)
	f(sseHead+chunkOf(ev1), "idle: 150ms", 200, ev1+stallFrame, 150*ms)
	f(sseHead+chunkOf(ev1+ev2[:20]), "idle: 150ms", 200, ev1+stallFrame, 150*ms)
	f(sseHead+chunkOf(ev1), "total: 150ms", 200, ev1+stallFrame, 150*ms)
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "idle: 150ms", 504, "upstream_timeout", 150*ms)
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "total: 150ms", 504, "upstream_timeout", 150*ms)
}

// requireTook holds the time since began to want: hardly less, and not much
// more than a busy machine makes of it.
func requireTook(t testing.TB, began time.Time, want time.Duration) {
	t.Helper()
	took := time.Since(began)
	require.GreaterOrEqual(t, took, want-want/8)
	require.Less(t, took, want+15*time.Second)
}

// A drip never ends a stream by idleness, and ends at the total.
func TestDripIsNoStall(t *testing.T) {
	w := newWorld(t, open("idle: 1s, total: 2500ms, keepalive: 0s", newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		for {
			select {
			case <-a.left:
				return false
			case <-time.After(30 * time.Millisecond):
				a.write(chunkOf(ev2))
			}
		}
	})))
	began := time.Now()
	a := w.ask(t, chat(streaming))
	requireTook(t, began, 2500*time.Millisecond)
	assert.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
	assert.Equal(t, ev1+strings.Repeat(ev2, strings.Count(a.body, ev2))+stallFrame, a.body)
	assert.Positive(t, strings.Count(a.body, ev2))
}

func TestKeepAliveComments(t *testing.T) {
	const gap = 500 * time.Millisecond
	f := func(keepalive string, pieces []string, least, most int) {
		t.Helper()
		w := newWorld(t, open("keepalive: "+keepalive, newBackend(t, func(a *asked) bool {
			a.write(sseHead)
			for i, p := range pieces {
				if i > 0 {
					<-time.After(gap)
				}
				a.write(chunkOf(p))
			}
			a.write(lastChunk)
			return true
		})))
		began := time.Now()
		a := w.ask(t, chat(streaming))
		require.NoError(t, a.err)
		busy := int((time.Since(began) - gap*time.Duration(len(pieces)-1)) / (40 * time.Millisecond))
		comments := strings.Count(a.body, ": keep-alive\n\n")
		assert.Equal(t, strings.Join(pieces, ""), strings.ReplaceAll(a.body, ": keep-alive\n\n", ""))
		for block := range strings.SplitSeq(strings.TrimSuffix(a.body, "\n\n"), "\n\n") {
			assert.Regexp(t, `^(data: .*|: keep-alive)$`, block, "a comment stands between events only")
		}
		assert.GreaterOrEqual(t, comments, least)
		assert.LessOrEqual(t, comments, most+busy)
	}
	end := evFin + evDone
	f("50ms", []string{ev1, ev2, end}, 6, 20)
	f("50ms", []string{ev1 + ev2[:30], ev2[30:] + end}, 3, 10)
	f("10s", []string{ev1, ev2, end}, 0, 0)
	f("0s", []string{ev1, end}, 0, 0)
}

// A client that does not read stops the reading from its backend; when it reads
// again it gets everything.
func TestSlowReader(t *testing.T) {
	var sent atomic.Int64
	event := "data: " + strings.Repeat("x", 8000) + "\n\n"
	const count = 8000 // 64 MB, far above what sockets hold
	url := newBackend(t, func(a *asked) bool {
		a.write(sseHead)
		text := chunkOf(event)
		for range count {
			if _, err := io.WriteString(a.conn, text); err != nil {
				return false
			}
			sent.Add(int64(len(event)))
		}
		a.write(chunkOf(evFin+evDone) + lastChunk)
		return true
	})
	w := newWorld(t, open("", url))
	c := w.dial(t)
	_, err := io.WriteString(c, chat(streaming))
	require.NoError(t, err)
	last := requireHeldBack(t, &sent)
	assert.Less(t, last, int64(40<<20))
	resp, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<20), nil)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, resp.Body)
	assert.NoError(t, err)
	assert.EqualValues(t, count*len(event)+len(evFin+evDone), n)
}

// requireHeldBack waits until no more is sent, and returns how much was.
func requireHeldBack(t testing.TB, sent *atomic.Int64) (last int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		now := sent.Load()
		still := now > 0 && now == last
		last = now
		return still
	}, 20*time.Second, 100*time.Millisecond, "the backend is never held back")
	return last
}

// Large answers that are no streams pass piece by piece; a cut one is never
// given a proper end, a short one becomes an error.
func TestLargeAnswers(t *testing.T) {
	big := "[" + strings.Repeat("0123456789", 200_000)[1:]
	f := func(text string, status int, want string, wantErr error) {
		t.Helper()
		a := newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write(text); return false }))).ask(t, chat(simple))
		require.Equal(t, status, a.status)
		assert.ErrorIs(t, a.err, wantErr)
		if wantErr == nil {
			assert.True(t, a.body == want, "%d bytes", len(a.body))
		} else { // of a cut answer, fasthttp may keep the last buffer to itself
			assert.True(t, strings.HasPrefix(want, a.body) && len(want)-len(a.body) < 64<<10, "%d bytes", len(a.body))
		}
	}
	const json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	f(jsonAnswer(big), 200, big, nil)
	f(json+"Transfer-Encoding: chunked\r\n\r\n"+chunkOf(big[:1_000_000])+chunkOf(big[1_000_000:])+lastChunk, 200, big, nil)
	f(json+"\r\n"+big, 200, big, nil)
	f(json+"Content-Length: 2000001\r\n\r\n"+big, 200, big, io.ErrUnexpectedEOF)
	f(json+"Transfer-Encoding: chunked\r\n\r\n"+chunkOf(big), 200, big, io.ErrUnexpectedEOF)
	for _, cut := range []string{
		json + "Content-Length: 100\r\n\r\n{",
		json + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		json + "Content-Length: 100\r\n\r\n",
		"nonsense\r\n\r\n",
	} {
		a := newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write(cut); return false }))).ask(t, chat(simple))
		requireError(t, a, 502, "upstream_error")
	}
}

// The connection to the client serves again after whole answers.
func TestKeepAliveAfterEveryKindOfAnswer(t *testing.T) {
	url := newBackend(t, func(a *asked) bool {
		if strings.Contains(a.body, `"stream":true`) {
			a.write(sseHead + chunkOf(ev1+evFin+evDone) + lastChunk)
		} else {
			a.write(jsonAnswer(`{"a":1}`))
		}
		return true
	})
	w := newWorld(t, open("", url))
	c := w.dial(t)
	br := bufio.NewReader(c)
	for range 3 {
		for _, r := range []struct {
			raw    string
			status int
		}{
			{chat(simple), 200},
			{chat(streaming), 200},
			{chat(`{"model":"nobody"}`), 404},
			{chat(`{`), 400},
			{"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 200},
			{"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404},
			{postTo("/v1/models", "{}"), 405},
		} {
			_, err := io.WriteString(c, r.raw)
			require.NoError(t, err)
			a := readAnswer(t, br)
			require.NoError(t, a.err)
			require.Equal(t, r.status, a.status, a.body)
			require.NotEmpty(t, a.header.Get("x-request-id"))
		}
	}
}

// To the client, a backend that drips one event is as silent as one that sleeps.
func TestKeepAliveDuringADrip(t *testing.T) {
	w := newWorld(t, open("keepalive: 50ms", newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		for i := range 30 {
			<-time.After(10 * time.Millisecond)
			a.write(chunkOf(ev2[i : i+1]))
		}
		a.write(chunkOf(ev2[30:]+evFin+evDone) + lastChunk)
		return true
	})))
	a := w.ask(t, chat(streaming))
	require.NoError(t, a.err)
	comments := strings.Count(a.body, ": keep-alive\n\n")
	assert.Equal(t, ev1+strings.Repeat(": keep-alive\n\n", comments)+ev2+evFin+evDone, a.body)
	assert.GreaterOrEqual(t, comments, 3)
}

// A backend that says its last word and then neither ends nor closes holds up
// the client for a moment only, and its connection never serves again.
func TestNothingBehindTheLastWord(t *testing.T) {
	left := make(chan struct{}, 1)
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1+evFin+evDone))
		<-a.left
		left <- struct{}{}
		return false
	})))
	began := time.Now()
	a := w.ask(t, chat(streaming))
	assert.Less(t, time.Since(began), 10*time.Second, "idle is 30 s")
	require.NoError(t, a.err)
	assert.Equal(t, ev1+evFin+evDone, a.body)
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Fatal("the connection was kept")
	}
}

// Callers who say that they have no patience learn nothing about a backend: it
// stays in, where the same silence beyond the operator's limit takes it out.
func TestImpatienceIsNoFault(t *testing.T) {
	f := func(timeouts, patience string, healthy bool) {
		t.Helper()
		w := newWorld(t, open(timeouts, newBackend(t, stalls("")), newBackend(t, stalls(""))))
		for range 24 { // a silence counts half, and each backend sees every other one
			requireError(t, w.ask(t, chat(streaming, patience)), 504, "upstream_timeout")
		}
		whole := true
		for _, s := range w.fleet.Status() {
			whole = whole && s.State == backends.Healthy
		}
		assert.Equal(t, healthy, whole)
	}
	f("total: 1m", "x-stainless-read-timeout: 0.001", true)
	f("total: 1m, first_token: 100ms", "x-stainless-read-timeout: 600", false)
}
