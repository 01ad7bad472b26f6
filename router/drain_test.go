package router

// The end of a router: who is welcome until when, and what the rest is told.

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDrain(t *testing.T) {
	reached := make(chan struct{}, 4)
	proceed := make(chan struct{})
	url := newBackend(t, func(a *asked) bool {
		switch a.req.Header.Get("X-Play") {
		case "prefill":
			reached <- struct{}{}
			<-a.left
			return false
		case "stream":
			a.write(sseHead + chunkOf(ev1))
			reached <- struct{}{}
			<-a.left
			return false
		case "finishes":
			a.write(sseHead + chunkOf(ev1))
			reached <- struct{}{}
			<-proceed
			a.write(chunkOf(evFin+evDone) + lastChunk)
			return true
		}
		a.write(jsonAnswer(`{}`))
		return true
	})
	w := newWorld(t, open("", url))
	play := func(name, body string) *bufio.Reader {
		c := w.dial(t)
		_, err := io.WriteString(c, chat(body, "X-Play: "+name))
		require.NoError(t, err)
		<-reached
		return bufio.NewReader(c)
	}
	prefill, stream, finishes := play("prefill", streaming), play("stream", streaming), play("finishes", streaming)
	idle := w.dial(t)
	_, err := io.WriteString(idle, chat(simple))
	require.NoError(t, err)
	idleReader := bufio.NewReader(idle)
	require.Equal(t, 200, readAnswer(t, idleReader).status)

	ready, _ := w.srv.Ready()
	require.True(t, ready)
	began := time.Now()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.srv.Drain(t.Context(), 1500*time.Millisecond, 4*time.Second)
	}()
	require.Eventually(t, func() bool { ready, _ := w.srv.Ready(); return !ready }, 20*time.Second, time.Millisecond)
	// The lame duck serves on, and says that it goes.
	a := w.ask(t, chat(simple))
	assert.Equal(t, 200, a.status)
	_, err = io.WriteString(idle, chat(simple))
	require.NoError(t, err)
	resp, err := http.ReadResponse(idleReader, nil)
	require.NoError(t, err)
	assert.True(t, resp.Close, "no Connection: close while draining")

	require.Eventually(t, w.srv.stopping.Load, 20*time.Second, time.Millisecond)
	close(proceed)
	a = readAnswer(t, finishes)
	assert.NoError(t, a.err, "what can finish, finishes")
	assert.Equal(t, ev1+evFin+evDone, a.body)

	a = readAnswer(t, stream)
	assert.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
	assert.Equal(t, ev1+`data: {"error":{"message":"The router is shutting down.","type":"server_error","param":null,"code":"draining"}}`+"\n\n", a.body)
	requireError(t, readAnswer(t, prefill), 503, "draining")
	<-drained
	requireTook(t, began, 4*time.Second)
	assert.Zero(t, w.srv.inflight.Load())
}

// A connection that was accepted before the drain gets an answer to the request
// that was on its way.
func TestDrainAnswersWhoHasJustCome(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })))
	c := w.dial(t)
	require.Eventually(t, func() bool { return w.srv.open() == 1 }, 20*time.Second, time.Millisecond)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		w.srv.Drain(t.Context(), 0, 20*time.Second)
	}()
	require.Eventually(t, w.srv.stopping.Load, 20*time.Second, time.Millisecond)
	_, err := io.WriteString(c, chat(simple))
	require.NoError(t, err)
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Contains(t, string(text), "HTTP/1.1 200 OK\r\n")
	assert.Contains(t, string(text), "\r\nConnection: close\r\n")
	<-drained
}
