package router

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/pressure"
)

// pressed is a router with a tenant of each class whose backend answers at once.
func pressed(t *testing.T) *classed {
	t.Helper()
	url := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	c := newClassed(t, "queue: off", &scripted{url: url})
	t.Cleanup(func() { c.srv.SetPressure(pressure.Calm) })
	return c
}

func (c *classed) as(tenant string) string { return "Authorization: Bearer " + c.keys[tenant] }

// TestPressureRefusesByClass: the ladder's upper steps, and the way down.
func TestPressureRefusesByClass(t *testing.T) {
	c := pressed(t)
	f := func(l pressure.Level, tenant string, status int, code string) {
		t.Helper()
		c.srv.SetPressure(l)
		a := c.ask(t, chat(simple, c.as(tenant)))
		assert.Equal(t, status, a.status, "%s %s: %s", l, tenant, a.body)
		if code != "" {
			requireError(t, a, status, code)
			assert.Equal(t, "2", a.header.Get("Retry-After")[:1])
			assert.Equal(t, "true", a.header.Get("X-Should-Retry"))
		}
	}
	for _, tenant := range []string{"batch", "default", "interactive"} {
		f(pressure.Calm, tenant, 200, "")
		f(pressure.Trim, tenant, 200, "")
		f(pressure.Lean, tenant, 200, "")
		f(pressure.Refuse, tenant, 503, "router_overloaded")
		f(pressure.Calm, tenant, 200, "")
	}
	c.srv.SetPressure(pressure.Shed)
	for _, tenant := range []string{"batch", "default"} {
		a := c.refusedUnread(t, tenant)
		requireReason(t, a, 429, "overloaded", "pressure_priority")
		assert.Contains(t, a.body, "short of memory")
	}
	f(pressure.Shed, "interactive", 200, "")
	assert.Contains(t, c.scrape(t), `helixflow_requests_shed_total{class="batch"} 1`)
}

func TestPressureInReadiness(t *testing.T) {
	c := pressed(t)
	f := func(l pressure.Level, wantReady bool, wantState string) {
		t.Helper()
		c.srv.SetPressure(l)
		ready, state := c.srv.Ready()
		assert.Equal(t, wantReady, ready)
		assert.Equal(t, wantState, state)
	}
	f(pressure.Shed, true, "ready")
	f(pressure.Refuse, false, "overloaded")
	f(pressure.Shed, true, "ready")
}

// TestPressureRefusesLargeBodies: before they are read, however they are framed.
func TestPressureRefusesLargeBodies(t *testing.T) {
	c := pressed(t)
	c.srv.SetPressure(pressure.Lean)
	f := func(framing, body string) {
		t.Helper()
		nc := c.dial(t)
		defer func() { _ = nc.Close() }()
		go func() {
			_, _ = fmt.Fprintf(nc, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n%s\r\n\r\n%s", c.as("interactive"), framing, body)
		}()
		requireReason(t, readAnswer(t, bufio.NewReader(nc)), 503, "router_overloaded", "pressure_body")
	}
	f("Content-Length: 2000000", "")
	f("Transfer-Encoding: chunked", chunkOf(`{"model":"m","messages":["`)+strings.Repeat(chunkOf(strings.Repeat("x", 64<<10)), 20))
	assert.Equal(t, 200, c.ask(t, chat(simple, c.as("interactive"))).status)
}

// TestNoRoomForBodies: what is left of memory is asked for before a large body takes
// it, and small ones ask nobody.
func TestNoRoomForBodies(t *testing.T) {
	var left atomic.Int64
	url := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	w := newWorld(t, open("", url), func(o *Options) { o.Room = func(n int64) bool { return left.Add(-n) >= 0 } })
	f := func(size int, framing string, room int64, status int) {
		t.Helper()
		left.Store(room)
		body := `{"model":"m","messages":["` + strings.Repeat("x", size) + `"]}`
		raw := chat(body)
		if framing == "chunked" {
			raw = strings.Replace(strings.Replace(raw, fmt.Sprint("Content-Length: ", len(body)), "Transfer-Encoding: chunked", 1), body, chunkOf(body)+lastChunk, 1)
		}
		c := w.dial(t)
		go func() { _, _ = io.WriteString(c, raw) }()
		a := readAnswer(t, bufio.NewReader(c))
		if assert.Equal(t, status, a.status, a.body); status == 503 {
			requireReason(t, a, 503, "router_overloaded", "pressure_body")
		}
	}
	for _, framing := range []string{"", "chunked"} {
		f(10_000, framing, 0, 200)
		f(60_000, framing, 0, 200)
		f(200_000, framing, 2_000_000, 200)
		f(200_000, framing, 100_000, 503)
		f(900_000, framing, 1_000_000, 503)
		f(900_000, framing, 10_000_000, 200)
	}
}

// TestPressureLetsGoOfConnections: idle ones at once, and from Lean on each behind
// its answer.
func TestPressureLetsGoOfConnections(t *testing.T) {
	c := pressed(t)
	nc := c.dial(t)
	br := bufio.NewReader(nc)
	_, err := io.WriteString(nc, chat(simple, c.as("interactive")))
	require.NoError(t, err)
	require.Equal(t, 200, readAnswer(t, br).status)
	idle := func() (n int) {
		c.srv.each(func(conn *clientConn) {
			if conn.state.Load() == connIdle {
				n++
			}
		})
		return n
	}
	require.Eventually(t, func() bool { return idle() == 1 }, 20*time.Second, time.Millisecond)
	c.srv.SetPressure(pressure.Trim)
	_, err = br.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	assert.Equal(t, trimIdle, c.srv.idleFor())

	c.srv.SetPressure(pressure.Lean)
	nc = c.dial(t)
	br = bufio.NewReader(nc)
	_, err = io.WriteString(nc, chat(simple, c.as("interactive")))
	require.NoError(t, err)
	a := readAnswer(t, br)
	assert.Equal(t, 200, a.status)
	_, err = br.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	c.srv.SetPressure(pressure.Calm)
	assert.Equal(t, idleTime, c.srv.idleFor())
}
