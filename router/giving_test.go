package router

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// padded is a request whose body is about so large.
func padded(stream bool, size int) string {
	return fmt.Sprintf(`{"model":"m","messages":[],"stream":%t,"user":%q}`, stream, strings.Repeat("x", size))
}

const chunkEvent = `data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}` + "\n\n"

// holding waits until n connections hold so much.
func (w *world) holding(t *testing.T, n int, least int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		held := 0
		w.srv.each(func(c *clientConn) {
			if c.held.Load() >= least {
				held++
			}
		})
		return held == n
	}, 20*time.Second, time.Millisecond)
}

// TestGiveUp: what holds most memory goes first, and no more than that takes: those
// who wait for an answer get one, those who have begun to read one are told. Who
// holds little stays.
func TestGiveUp(t *testing.T) {
	came, goOn := make(chan string, 10), make(chan struct{})
	url := newBackend(t, func(a *asked) bool {
		who := a.req.Header.Get("X-Who")
		switch who {
		case "small":
			a.write(sseHead + chunkOf(chunkEvent))
		case "event": // that goes on
			a.write(sseHead + chunkOf(chunkEvent) + chunkOf("data: "+strings.Repeat("x", 300_000)))
		}
		came <- who
		if who != "small" {
			<-a.left
			return false
		}
		<-goOn
		a.write(chunkOf("data: [DONE]\n\n") + lastChunk)
		return true
	})
	w := newWorld(t, open("", url))
	ask := func(who, body string) <-chan answer {
		c := &crowd{world: w}
		_, got := c.begin(t, body, "X-Who: "+who)
		require.Equal(t, who, <-came)
		return got
	}
	large := ask("large", padded(false, 900_000))
	middle := ask("middle", padded(true, 200_000))
	small, event := ask("small", streaming), ask("event", streaming)
	w.holding(t, 3, 200_000)
	w.holding(t, 2, 300_000)
	give := func(excess int64, wantN int, least int64) {
		t.Helper()
		n, freed := w.srv.GiveUp(excess)
		assert.Equal(t, wantN, n)
		assert.GreaterOrEqual(t, freed, least)
	}
	give(0, 0, 0)
	give(1, 1, 900_000)
	a := <-large
	requireReason(t, a, 503, "router_overloaded", "pressure_given_up")
	assert.Equal(t, "2", a.header.Get("Retry-After"))
	w.holding(t, 2, 200_000)
	give(250_000, 1, 300_000)
	a = <-event
	assert.Equal(t, 200, a.status)
	assert.Contains(t, a.body, chunkEvent+`data: {"error":{`)
	assert.Contains(t, a.body, `"code":"router_overloaded"`)
	assert.NotContains(t, a.body, "[DONE]")
	require.Error(t, a.err, "a cut never looks like an end")
	give(1<<40, 1, 200_000)
	requireError(t, <-middle, 503, "router_overloaded")
	give(1<<40, 0, 0)
	close(goOn)
	a = <-small
	require.NoError(t, a.err)
	assert.True(t, strings.HasSuffix(a.body, "data: [DONE]\n\n"))
	assert.Contains(t, w.scrape(t), "helixflow_requests_given_up_total 3\n")
}

// TestGiveUpWaiting: who waits for room on a backend with a large body.
func TestGiveUpWaiting(t *testing.T) {
	c := newCrowd(t, "{wait: 20s, size: 10}", "")
	_, first := c.begin(t, simple)
	<-c.came
	_, large := c.begin(t, padded(false, 900_000))
	c.waitFor(t, 1)
	n, _ := c.srv.GiveUp(1)
	require.Equal(t, 1, n)
	requireError(t, <-large, 503, "router_overloaded")
	c.waitFor(t, 0)
	c.answer <- struct{}{}
	assert.Equal(t, 200, (<-first).status)
}

// TestGiveUpOnSlowReader: a client that does not read keeps nothing.
func TestGiveUpOnSlowReader(t *testing.T) {
	const size = 64 << 20 // more than any socket's buffers take
	url := newBackend(t, func(a *asked) bool {
		_, _ = fmt.Fprintf(a.conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{\"x\":\"", size+6)
		piece := strings.Repeat("x", 1<<20)
		for range size >> 20 {
			a.write(piece)
		}
		return true
	})
	w := newWorld(t, open("", url))
	nc := w.dial(t)
	_, err := io.WriteString(nc, chat(simple))
	require.NoError(t, err)
	w.holding(t, 1, heldFrom)
	n, _ := w.srv.GiveUp(1)
	require.Equal(t, 1, n)
	w.settled(t)
	a := readAnswer(t, bufio.NewReader(nc))
	assert.Equal(t, 200, a.status)
	assert.Less(t, len(a.body), size)
	require.Error(t, a.err)
}

// TestGiveUpTooLate: a request that had ended by then costs its connection one
// request at most, which is answered.
func TestGiveUpTooLate(t *testing.T) {
	url := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	w := newWorld(t, open("", url))
	nc := w.dial(t)
	br := bufio.NewReader(nc)
	_, err := io.WriteString(nc, chat(simple))
	require.NoError(t, err)
	require.Equal(t, 200, readAnswer(t, br).status)
	w.settled(t)
	w.srv.each(func(c *clientConn) { c.giveUp() })
	_, err = io.WriteString(nc, chat(simple))
	require.NoError(t, err)
	a := readAnswer(t, br)
	assert.Equal(t, 200, a.status)
	_, err = br.ReadByte()
	assert.ErrorIs(t, err, io.EOF)
}
