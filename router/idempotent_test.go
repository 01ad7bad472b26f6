package router

// A request with a key of its caller's is answered once, whatever happens in
// between.

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counted answers with what script says, and counts.
type counted struct {
	asked  atomic.Int32
	script atomic.Pointer[func(a *asked) bool]
}

func newCounted(t testing.TB) (*counted, string) {
	c := &counted{}
	url := newBackend(t, func(a *asked) bool { c.asked.Add(1); return (*c.script.Load())(a) })
	return c, url
}

func (c *counted) answers(text string) {
	f := func(a *asked) bool { a.write(text); return !strings.Contains(text, "[close]") }
	c.script.Store(&f)
}

// keyed is open with a lifetime for idempotency keys.
func keyed(url, lifetime string) string {
	return strings.Replace(open("", url), "[{name: all}]", "[{name: all, idempotency: "+lifetime+"}]", 1)
}

func withIdempotencyKey(body, key string) string { return chat(body, "Idempotency-Key: "+key) }

const replayed = "X-Helixflow-Idempotent-Replay"

func TestIdempotencyKey(t *testing.T) {
	c, url := newCounted(t)
	w := newWorld(t, keyed(url, "1h"))
	n := int32(0)
	// f asks twice; the second is answered by the backend again, or from memory.
	f := func(name, text, body string, again bool) {
		t.Helper()
		c.answers(text)
		key := fmt.Sprint("key ", n)
		first := w.ask(t, withIdempotencyKey(body, key))
		assert.Empty(t, first.header.Get(replayed), name)
		second := w.ask(t, withIdempotencyKey(body, key))
		assert.Equal(t, first.status, second.status, name)
		assert.Equal(t, first.body, second.body, name)
		assert.Equal(t, first.header.Get("Content-Type"), second.header.Get("Content-Type"), name)
		assert.Equal(t, first.header.Get("X-Accel-Buffering"), second.header.Get("X-Accel-Buffering"), name)
		n++
		if again {
			n++
			assert.Empty(t, second.header.Get(replayed), name)
		} else {
			assert.Equal(t, "true", second.header.Get(replayed), name)
		}
		require.Equal(t, n, c.asked.Load(), name)
	}
	stream := func(events ...string) string {
		text := sseHead
		for _, e := range events {
			text += chunkOf(e)
		}
		return text + lastChunk
	}
	const answer = `{"id":"1","choices":[{"index":0}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`
	f("unary", jsonAnswer(answer), simple, false)
	f("large", jsonAnswer(`{"id":"`+strings.Repeat("x", 600_000)+`"}`), simple, false)
	f("large, in chunks", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"+chunkOf(`{"id":"`+strings.Repeat("x", 600_000)+`"}`)+lastChunk, simple, false)
	f("too large", jsonAnswer(`{"id":"`+strings.Repeat("x", 2_000_000)+`"}`), simple, true)
	f("stream", stream(ev1, ev2, evFin, evUse, evDone), streaming, false)
	f("stream made whole", stream(ev1, evFin), streaming, false)
	f("a fault of the request", answerOf(422, jsonType, `{"detail":"no"}`), simple, false)
	f("a fault of the backend", answerOf(500, jsonType, `{"detail":"no"}`), simple, true)
	f("too many", answerOf(429, jsonType, `{"detail":"no"}`), simple, true)
	f("not found", answerOf(404, jsonType, `{"detail":"no"}`), simple, true)
	f("no sense", answerOf(200, "text/html", "<html>"), simple, true)
	f("cut", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{[close]", simple, true)
	f("a cut stream", sseHead+chunkOf(ev1)+chunkOf(": [close]\n\n"), streaming, true)
	f("an error in a stream", stream(ev1, errFrame, evDone), streaming, true)

	// Usage counts once, and an answer from memory is no work of a backend's.
	metrics := w.scrape(t)
	assert.Contains(t, metrics, `helixflow_tokens_total{model="m",type="input"} 14`+"\n") // unary and stream
	assert.Contains(t, metrics, `helixflow_idempotency_requests_total{result="replayed"} 6`+"\n")
	assert.Contains(t, metrics, "helixflow_idempotency_answers 6\n")
	assert.Contains(t, metrics, `helixflow_idempotency_dropped_total{reason="refused"} 2`+"\n")
}

func TestIdempotencyKeyOfAnother(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(`{"id":"1"}`))
	w := newWorld(t, keyed(url, "1h"))
	require.Equal(t, 200, w.ask(t, withIdempotencyKey(simple, "k")).status)
	for _, other := range []string{
		withIdempotencyKey(simple+" ", "k"), withIdempotencyKey(streaming, "k"),
		postTo("/v1/embeddings", simple, "Idempotency-Key: k"),
		postTo("/openai/deployments/m/chat/completions", simple, "Idempotency-Key: k"),
	} {
		a := w.ask(t, other)
		requireError(t, a, 422, "idempotency_key_reused")
		assert.Equal(t, "false", a.header.Get("X-Should-Retry"))
	}
	assert.EqualValues(t, 1, c.asked.Load())
	for _, key := range []string{"", strings.Repeat("k", 256), "caf\xe9"} {
		requireError(t, w.ask(t, withIdempotencyKey(simple, key)), 400, "invalid_idempotency_key")
	}
	requireError(t, w.ask(t, chat(simple, "Idempotency-Key: k", "Idempotency-Key: k")), 400, "invalid_idempotency_key")
	assert.Equal(t, 200, w.ask(t, withIdempotencyKey(simple, strings.Repeat("k", 255))).status)
	assert.EqualValues(t, 2, c.asked.Load())
	requireError(t, w.ask(t, withIdempotencyKey(`{"model":"m"`, "k")), 400, "invalid_json")
	requireError(t, w.ask(t, withIdempotencyKey(`{"model":"x"}`, "k")), 404, "model_not_found")
}

// No backend sees a key, whether its tenant has use for it or not.
func TestIdempotencyKeyStays(t *testing.T) {
	url := newBackend(t, echoes)
	for _, config := range []string{open("", url), keyed(url, "1h"), remembering(url, "")} {
		w := newWorld(t, config)
		for _, name := range []string{"Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"} {
			a := w.ask(t, chat(simple, "X-Before: a", name+": k"+name, "X-After: b"))
			assert.Equal(t, 200, a.status)
			assert.NotContains(t, strings.ToLower(a.body), "idempotency")
			assert.Contains(t, a.body, "X-Before: a\r\nX-After: b\r\n")
		}
	}
}

// One of many that ask at once does the work; the others are told to come again,
// and those that do read its answer.
func TestIdempotencyKeyWhileRunning(t *testing.T) {
	c, url := newCounted(t)
	release := make(chan struct{})
	began := make(chan struct{}, 1)
	slow := func(a *asked) bool {
		began <- struct{}{}
		a.write(sseHead + chunkOf(ev1))
		<-release
		a.write(chunkOf(evFin+evDone) + lastChunk)
		return true
	}
	c.script.Store(&slow)
	w := newWorld(t, keyed(url, "1h"))
	first := make(chan answer)
	go func() { first <- w.ask(t, withIdempotencyKey(streaming, "k")) }()
	<-began
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			a := w.ask(t, withIdempotencyKey(streaming, "k"))
			requireError(t, a, 409, "idempotency_in_progress")
			assert.Equal(t, "1", a.header.Get("Retry-After"))
			assert.Equal(t, "true", a.header.Get("X-Should-Retry"))
			requireError(t, w.ask(t, withIdempotencyKey(simple, "k")), 422, "idempotency_key_reused")
		})
	}
	wait.Wait()
	w.srv.Publish(w.compile(t, keyed(url, "2h"))) // a reload forgets nothing
	close(release)
	whole := <-first
	require.Equal(t, ev1+evFin+evDone, whole.body)
	for range 8 {
		wait.Go(func() {
			a := w.ask(t, withIdempotencyKey(streaming, "k"))
			assert.Equal(t, "true", a.header.Get(replayed))
			assert.Equal(t, whole.body, a.body)
		})
	}
	wait.Wait()
	assert.EqualValues(t, 1, c.asked.Load())
	w.srv.Publish(w.compile(t, open("", url)))
	c.answers(sseHead + chunkOf(evFin+evDone) + lastChunk)
	assert.Empty(t, w.ask(t, withIdempotencyKey(streaming, "k")).header.Get(replayed), "it is off now")
}

// A client that leaves before the end frees its key, and so does a panic.
func TestIdempotencyKeyOfWhoLeft(t *testing.T) {
	c, url := newCounted(t)
	left := make(chan struct{})
	hang := func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		<-a.left
		close(left)
		return false
	}
	c.script.Store(&hang)
	w := newWorld(t, keyed(url, "1h"))
	conn := w.dial(t)
	_, err := io.WriteString(conn, withIdempotencyKey(streaming, "k"))
	require.NoError(t, err)
	_, err = bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	<-left
	c.answers(sseHead + chunkOf(ev1+evFin+evDone) + lastChunk)
	w.settled(t)
	assert.Zero(t, w.srv.answers.Stats().Bytes)
	a := w.ask(t, withIdempotencyKey(streaming, "k"))
	assert.Equal(t, 200, a.status)
	assert.Empty(t, a.header.Get(replayed))
	assert.EqualValues(t, 2, c.asked.Load())
}

// Comments that the router sends meanwhile are no part of the answer.
func TestIdempotencyKeyAndKeepalive(t *testing.T) {
	c, url := newCounted(t)
	drips := func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		<-time.After(500 * time.Millisecond)
		a.write(chunkOf(evFin+evDone) + lastChunk)
		return true
	}
	c.script.Store(&drips)
	w := newWorld(t, strings.Replace(keyed(url, "1h"), "timeouts: {", "timeouts: {keepalive: 20ms, ", 1))
	first := w.ask(t, withIdempotencyKey(streaming, "k"))
	require.Contains(t, first.body, ": keep-alive")
	second := w.ask(t, withIdempotencyKey(streaming, "k"))
	assert.Equal(t, "true", second.header.Get(replayed))
	assert.Equal(t, ev1+evFin+evDone, second.body)
}

// Tenants do not meet, whatever their keys are.
func TestIdempotencyKeysOfTenants(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(`{"id":"1"}`))
	config, key := withKey(t, url)
	config = strings.Replace(config, "[{name: all, ", "[{name: other, idempotency: 1h}, {name: all, idempotency: 1h, ", 1)
	w := newWorld(t, "auth: {anonymous: other}\n"+config)
	for _, headers := range [][]string{{"Idempotency-Key: k"}, {"Idempotency-Key: k", "Authorization: Bearer " + key}} {
		assert.Empty(t, w.ask(t, chat(simple, headers...)).header.Get(replayed))
		assert.Equal(t, "true", w.ask(t, chat(simple, headers...)).header.Get(replayed))
	}
	assert.EqualValues(t, 2, c.asked.Load())
}
