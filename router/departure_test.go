package router

// On whose goroutine a flight is, which nobody else may notice.

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// flier is the connection whose goroutine flies; nil: none.
func (w *world) flier() (found *clientConn) {
	w.srv.each(func(c *clientConn) {
		if c.flies.Load() != nil {
			found = c
		}
	})
	return found
}

// Who asks for a whole answer flies itself; who asks for a stream, or gives up sooner
// than others, does not.
func TestFlier(t *testing.T) {
	s, url := newStaged(t, "", jsonAnswer(whole))
	w := newWorld(t, remembering(url, ""))
	f := func(flies bool, body string, headers ...string) {
		t.Helper()
		asked := s.asked.Load()
		_, br := w.send(t, chat(body, headers...))
		require.Eventually(t, func() bool { return s.asked.Load() > asked }, 20*time.Second, time.Millisecond)
		assert.Equal(t, flies, w.flier() != nil)
		s.steps <- struct{}{}
		require.Equal(t, 200, readAnswer(t, br).status)
		assert.Nil(t, w.flier())
		w.assertLanded(t)
	}
	f(true, zero)
	f(true, zero, "x-stainless-read-timeout: 600")
	f(false, zero, "x-stainless-read-timeout: 300")
	f(false, zeroStream)
}

// Who flies and gives up, by its client or by the router's need, is off at once; the
// others get their answer, and when there are none the backend is told.
func TestFlierLeaves(t *testing.T) {
	f := func(name string, leave func(*world, io.Closer)) {
		s, url := newStaged(t, "", jsonAnswer(whole))
		w := newWorld(t, remembering(url, ""))
		one, _ := w.send(t, chat(zero))
		w.followers(t, 1)
		_, two := w.send(t, chat(zero))
		w.followers(t, 2)
		leave(w, one)
		w.followers(t, 1)
		s.steps <- struct{}{}
		a := readAnswer(t, two)
		assert.Equal(t, whole, a.body, name)
		assert.Equal(t, "coalesced", a.header.Get(cachedHeader), name)
		assert.Equal(t, "hit", w.ask(t, chat(zero)).header.Get(cachedHeader), name)
		w.assertLanded(t)

		one, _ = w.send(t, chat(zero))
		w.followers(t, 1)
		last, _ := w.send(t, chat(zero))
		w.followers(t, 2)
		require.Eventually(t, func() bool { return s.asked.Load() == 2 }, 20*time.Second, time.Millisecond)
		require.NoError(t, last.Close())
		w.followers(t, 1)
		assert.Zero(t, s.left.Load(), name)
		leave(w, one)
		require.Eventually(t, func() bool { return s.left.Load() == 1 }, 20*time.Second, time.Millisecond, name)
		w.assertLanded(t)
		w.assertBooksEmpty(t)
	}
	f("hangs up", func(_ *world, one io.Closer) { _ = one.Close() })
	f("is given up", func(w *world, _ io.Closer) {
		require.Eventually(t, func() bool { return w.flier() != nil }, 20*time.Second, time.Millisecond)
		w.flier().giveUp()
	})
}

// One that gives up before the others does not make them wait, or go.
func TestFlightImpatient(t *testing.T) {
	s, url := newStaged(t, "", jsonAnswer(whole))
	w := newWorld(t, remembering(url, ""))
	_, one := w.send(t, chat(zero, "x-stainless-read-timeout: 2"))
	w.followers(t, 1)
	_, two := w.send(t, chat(zero))
	w.followers(t, 2)
	requireError(t, readAnswer(t, one), 504, "upstream_timeout")
	s.steps <- struct{}{}
	assert.Equal(t, whole, readAnswer(t, two).body)
	assert.EqualValues(t, 1, s.asked.Load())
	w.assertLanded(t)
}

// What turns out to come piece by piece does not wait for whoever asked for it first.
func TestFlightHandedOver(t *testing.T) {
	const pieces, size = 32, 1 << 20 // more than sockets and the window take in
	filler := strings.Repeat("x", size)
	hold := make(chan struct{})
	url := newBackend(t, func(a *asked) bool {
		<-hold
		a.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkOf(`{"id":"`))
		for range pieces {
			a.write(chunkOf(filler))
		}
		a.write(chunkOf(`"}`) + lastChunk)
		return true
	})
	w := newWorld(t, remembering(url, ""))
	_, slowly := w.send(t, chat(zero))
	w.followers(t, 1)
	_, fast := w.send(t, chat(zero))
	w.followers(t, 2)
	close(hold)
	resp, err := http.ReadResponse(fast, nil)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	assert.EqualValues(t, pieces*size+9, n)
	require.NoError(t, resp.Body.Close())
	slow, err := http.ReadResponse(slowly, nil)
	require.NoError(t, err)
	n, err = io.Copy(io.Discard, slow.Body)
	require.Error(t, err, "it lost what the window left")
	assert.Less(t, n, int64(pieces*size+9))
	_ = slow.Body.Close()
	w.assertLanded(t)
}
