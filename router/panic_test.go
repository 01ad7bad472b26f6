package router

// A panic ends one request, with an error its client can read, and nothing else.

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// broken is a copy of the world's plan whose model m was changed by how.
func broken(w *world, how func(n *publicName)) *Snapshot {
	old := w.srv.snapshot.Load()
	s := *old
	s.names = make(map[string]*publicName)
	for k, n := range old.names {
		route, name := *n.route, *n
		pool := *route.targets[0].pool
		route.targets = []target{route.targets[0]}
		route.targets[0].pool = &pool
		name.route = &route
		how(&name)
		s.names[k] = &name
	}
	return &s
}

type panickyPolicy struct{ balancer.Policy }

func (panickyPolicy) Pick(*balancer.Request, []balancer.Candidate) int { panic("no choice") }

func TestPanicsEndOneRequestOnly(t *testing.T) {
	proceed := make(chan struct{})
	url := newBackend(t, func(a *asked) bool {
		if strings.Contains(a.body, `"user":"other"`) {
			a.write(sseHead + chunkOf(ev1))
			<-proceed
			a.write(chunkOf(evFin+evDone) + lastChunk)
			return true
		}
		a.write(sseHead + chunkOf(ev1+evFin+evDone) + lastChunk)
		return true
	})
	w := newWorld(t, open("", url))
	whole := w.srv.snapshot.Load()
	load := &whole.names["m"].route.targets[0].pool.endpoints[0].Load

	other := w.dial(t)
	_, err := io.WriteString(other, chat(`{"model":"m","stream":true,"user":"other"}`))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(other), nil)
	require.NoError(t, err)

	f := func(what string, how func(n *publicName), unary bool) {
		t.Helper()
		w.srv.Publish(broken(w, how))
		defer w.srv.Publish(whole)
		if unary {
			requireError(t, w.ask(t, chat(streaming)), 500, "internal_error")
		} else { // its head may be out already
			c := w.dial(t)
			_, err := io.WriteString(c, chat(streaming))
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, c)
		}
		require.Eventually(t, func() bool { return w.srv.inflight.Load() == 1 && load.InFlight() == 1 }, 20*time.Second, time.Millisecond,
			"%s: %d in flight, %d on the backend", what, w.srv.inflight.Load(), load.InFlight())
		assert.Contains(t, w.log.String(), "panic", what)
	}
	f("no pool", func(n *publicName) { n.route.targets[0].pool = nil }, true)
	f("no policy", func(n *publicName) { n.route.targets[0].pool.policy = panickyPolicy{} }, true)
	f("no endpoint", func(n *publicName) { n.route.targets[0].pool.endpoints = nil }, true)
	_ = f

	// The next request, on the same plan as before, is served; so is the stream.
	w.srv.Publish(whole)
	assert.Equal(t, ev1+evFin+evDone, w.ask(t, chat(streaming)).body)
	close(proceed)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, ev1+evFin+evDone, string(body))
}

// A panic at the very end, in the books, costs the connection at most.
func TestPanicInTheBooks(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })))
	whole := w.srv.snapshot.Load()
	w.srv.Publish(broken(w, func(n *publicName) { n.route.series = nil }))
	for range 3 {
		assert.Equal(t, "{}", w.ask(t, chat(simple)).body)
	}
	w.srv.Publish(whole)
	assert.Equal(t, "{}", w.ask(t, chat(simple)).body)
	assert.Contains(t, w.log.String(), "panic")
	assert.Eventually(t, func() bool { return w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond, "requests in flight: a drain would wait for them")
	w.srv.inflight.Store(0)
}

// panickyConn panics when it is written to.
type panickyConn struct{ net.Conn }

func (panickyConn) Write([]byte) (int, error) { panic("the writer broke") }

// A panic while the answer is being written costs the connection at most.
func TestPanicInAWrite(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"))
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.srv.attach(panickyConn{far}).serve()
	}()
	_, err := io.WriteString(near, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	_, err = near.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF, "closed")
	<-done
	assert.Contains(t, w.log.String(), "the writer broke")
	assert.Zero(t, w.srv.inflight.Load())
}
