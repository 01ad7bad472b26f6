package router

// Websockets through a whole router, with an independent client and server.

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	frames "github.com/helixflow/helixflow/internal/websocket"
)

// socketBackend serves websockets until the test ends; then none may be open.
func socketBackend(t testing.TB, o *websocket.AcceptOptions, serve func(ctx context.Context, c *websocket.Conn, r *http.Request)) (url string) {
	t.Helper()
	var open sync.WaitGroup
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Done()
		c, err := websocket.Accept(w, r, o)
		if err != nil {
			return
		}
		c.SetReadLimit(-1)
		serve(context.Background(), c, r)
		_ = c.CloseNow()
	}))
	t.Cleanup(func() {
		s.Close()
		open.Wait()
	})
	return s.URL
}

// echo sends every message back.
func echo(ctx context.Context, c *websocket.Conn, _ *http.Request) {
	for {
		kind, p, err := c.Read(ctx)
		if err != nil {
			return
		}
		if c.Write(ctx, kind, p) != nil {
			return
		}
	}
}

// sockets is open, with websockets served.
func sockets(bounds string, urls ...string) string {
	return strings.Replace(open("", urls...), "server: {max_body: 1MiB}",
		"server: {max_body: 1MiB, websockets: {"+bounds+"}}\npassthrough: [{prefix: /v1/realtime}, {prefix: /v1/responses}]", 1)
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// socket opens a websocket as a client does.
func (w *world) socket(t testing.TB, path string, o *websocket.DialOptions) (*websocket.Conn, *http.Response) {
	t.Helper()
	scheme := "ws://"
	if o != nil && o.HTTPClient != nil {
		scheme = "wss://"
	}
	c, resp, err := websocket.Dial(within(t), scheme+w.addr+path, o)
	require.NoError(t, err)
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c, resp
}

const realtime = "/v1/realtime?model=m"

func TestRealtime(t *testing.T) {
	heads := make(chan *http.Request, 1)
	url := socketBackend(t, &websocket.AcceptOptions{Subprotocols: []string{"realtime"}}, func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		heads <- r
		echo(ctx, c, r)
	})
	w := newWorld(t, sockets("", url))
	c, resp := w.socket(t, realtime+"&x=y&api-version=1", &websocket.DialOptions{
		Subprotocols: []string{"realtime", "openai-beta.realtime-v1"},
		HTTPHeader:   http.Header{"X-Request-Id": {"mine"}, "Cookie": {"a=b"}, "Openai-Beta": {"realtime=v1"}},
	})
	r := <-heads
	assert.Equal(t, "/v1/realtime?model=m&x=y", r.URL.String())
	assert.Equal(t, "realtime=v1", r.Header.Get("Openai-Beta"))
	assert.Equal(t, "mine", r.Header.Get("X-Request-Id"))
	assert.Empty(t, r.Header.Get("Cookie"))
	assert.Equal(t, "realtime", c.Subprotocol())
	assert.Equal(t, "mine", resp.Header.Get("X-Request-Id"))

	ctx := within(t)
	for _, size := range []int{0, 1, 125, 126, 4090, 4096, 65535, 65536, 1 << 20, 9<<20 + 3} {
		message := []byte(strings.Repeat("x", size))
		go func() { _ = c.Write(ctx, websocket.MessageBinary, message) }()
		kind, got, err := c.Read(ctx)
		require.NoError(t, err)
		assert.Equal(t, websocket.MessageBinary, kind)
		require.Equal(t, len(message), len(got))
	}
	go func() { _, _, _ = c.Read(ctx) }()
	require.NoError(t, c.Ping(ctx))
	require.NoError(t, c.Close(websocket.StatusNormalClosure, "bye"))
	w.requireEnded(t, `endpoint="realtime",end="client"} 1`)
	w.requireMetric(t, `helixflow_requests_total{endpoint="realtime",model="m",stream="false",code="101"} 1`)
	w.requireMetric(t, `helixflow_websockets_open{endpoint="realtime"} 0`)
}

func (w *world) scrapeNow() string {
	var b strings.Builder
	w.metrics.WritePrometheus(&b)
	return b.String()
}

func (w *world) requireMetric(t testing.TB, line string) {
	t.Helper()
	name, _, _ := strings.Cut(line, "{")
	scrape := w.scrapeNow()
	if !strings.Contains(scrape, line) {
		t.Errorf("no %s in\n%s", line, strings.Join(regexp.MustCompile("(?m)^"+name+".*$").FindAllString(scrape, -1), "\n"))
	}
}

// requireEnded waits until every websocket has ended, these ones so.
func (w *world) requireEnded(t testing.TB, labels ...string) {
	t.Helper()
	require.Eventually(t, func() bool { return w.srv.sockets.Load() == 0 && w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
	for _, l := range labels {
		w.requireMetric(t, "helixflow_websockets_total{"+l)
	}
	assert.NotContains(t, w.log.String(), "panic")
}

func requireEcho(t testing.TB, c *websocket.Conn) {
	t.Helper()
	ctx := within(t)
	require.NoError(t, c.Write(ctx, websocket.MessageText, []byte("hello")))
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p))
}

// Bytes that came with either handshake are the first of their direction.
func TestSocketEarlyBytes(t *testing.T) {
	url := newBackend(t, func(a *asked) bool {
		accept := frames.AppendAccept(nil, []byte(a.req.Header.Get("Sec-Websocket-Key")))
		a.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + string(accept) +
			"\r\n\r\n\x81\x05early\x81")
		a.write("\x04late")
		return false
	})
	w := newWorld(t, sockets("", url))
	c := w.dial(t)
	_, err := io.WriteString(c, upgrade(realtime)+string(frames.AppendFrame(nil, frames.Text, []byte("pipelined"), true)))
	require.NoError(t, err)
	text, _ := io.ReadAll(c)
	_, body, found := strings.Cut(string(text), "\r\n\r\n")
	require.True(t, found)
	assert.True(t, strings.HasPrefix(body, "\x81\x05early\x81\x04late"), "%q", body)
	w.requireEnded(t, `endpoint="realtime",end="cut"`)
}

func TestSocketPipelined(t *testing.T) {
	w := newWorld(t, sockets("", socketBackend(t, nil, echo)))
	c := w.dial(t)
	_, err := io.WriteString(c, upgrade(realtime)+string(frames.AppendFrame(nil, frames.Text, []byte("pipelined"), true)))
	require.NoError(t, err)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	require.NoError(t, err)
	assert.Equal(t, 101, resp.StatusCode)
	b := make([]byte, 11)
	_, err = io.ReadFull(br, b)
	require.NoError(t, err)
	assert.Equal(t, "\x81\x09pipelined", string(b))
}

// Whoever closes, the other side hears its words.
func TestSocketClose(t *testing.T) {
	heard := make(chan error, 1)
	ours := make(chan struct{})
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		if r.URL.Query().Has("close") {
			_ = c.Close(4321, "the backend's reason")
			return
		}
		if r.URL.Query().Has("die") {
			_ = c.CloseNow()
			return
		}
		_, _, err := c.Read(ctx)
		heard <- err
		<-ours
	})
	w := newWorld(t, sockets("", url))
	c, _ := w.socket(t, realtime, nil)
	go func() { close(ours) }()
	require.NoError(t, c.Close(4000, "mine"))
	assertClosed(t, <-heard, 4000, "mine")
	w.requireEnded(t, `endpoint="realtime",end="client"`)

	c, _ = w.socket(t, realtime+"&close=1", nil)
	_, _, err := c.Read(within(t))
	assertClosed(t, err, 4321, "the backend's reason")
	w.requireEnded(t, `endpoint="realtime",end="backend"`)

	c, _ = w.socket(t, realtime+"&die=1", nil)
	_, _, err = c.Read(within(t))
	assertClosed(t, err, websocket.StatusInternalError, "the backend hung up")
	w.requireEnded(t, `endpoint="realtime",end="cut"`)

	c, _ = w.socket(t, realtime, nil)
	_ = c.CloseNow()
	assertClosed(t, <-heard, websocket.StatusGoingAway, "")
	w.requireEnded(t, `endpoint="realtime",end="left"`)
}

func assertClosed(t testing.TB, err error, status websocket.StatusCode, reason string) {
	t.Helper()
	var closed websocket.CloseError
	if assert.ErrorAs(t, err, &closed) {
		assert.Equal(t, status, closed.Code)
		assert.Equal(t, reason, closed.Reason)
	}
}

// A client that leaves, over TCP or TLS, idle or while the backend takes nothing,
// frees its backend at once.
func TestSocketHangUp(t *testing.T) {
	opened, gone := make(chan struct{}), make(chan time.Time, 1)
	url := newBackend(t, func(a *asked) bool {
		accept := frames.AppendAccept(nil, []byte(a.req.Header.Get("Sec-Websocket-Key")))
		a.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + string(accept) + "\r\n\r\n")
		opened <- struct{}{}
		<-a.left
		gone <- time.Now()
		return false
	})
	var took []time.Duration
	for _, secure := range []bool{false, true} {
		w := newWorld(t, sockets("", url), func(o *Options) {
			if secure {
				o.TLS = selfSigned(t)
			}
		})
		for _, reset := range []bool{false, true} {
			for range 5 {
				raw := w.dial(t)
				var c net.Conn = raw
				if secure {
					c = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
				}
				_, err := io.WriteString(c, upgrade(realtime))
				require.NoError(t, err)
				_, err = http.ReadResponse(bufio.NewReader(c), nil)
				require.NoError(t, err)
				<-opened
				if reset {
					_ = raw.SetLinger(0)
				}
				began := time.Now()
				_ = raw.Close()
				took = append(took, (<-gone).Sub(began))
			}
		}
		w.requireEnded(t, `endpoint="realtime",end="left"} 10`)
	}
	slices.Sort(took)
	assert.Less(t, took[len(took)/2], leavesWithin, "%v", took)
}

func TestSocketBounds(t *testing.T) {
	w := newWorld(t, sockets("idle: 3s, max: 1", socketBackend(t, nil, echo)))
	c, _ := w.socket(t, realtime, nil)
	requireEcho(t, c)
	a := w.ask(t, upgrade(realtime))
	requireError(t, a, 503, "too_many_websockets")
	assert.Equal(t, "1", a.header.Get("Retry-After"))
	began := time.Now()
	_, _, err := c.Read(within(t))
	assertClosed(t, err, websocket.StatusGoingAway, "silent for too long")
	assert.Greater(t, time.Since(began), time.Second)
	w.requireEnded(t, `endpoint="realtime",end="idle"`)

	w = newWorld(t, sockets("total: 1s", socketBackend(t, nil, echo)))
	c, _ = w.socket(t, realtime, nil)
	for err = error(nil); err == nil; {
		if err = c.Write(within(t), websocket.MessageText, []byte("x")); err == nil {
			_, _, err = c.Read(within(t))
		}
	}
	assertClosed(t, err, websocket.StatusGoingAway, "open for too long")
	w.requireEnded(t, `endpoint="realtime",end="total"`)
}

// The end of a drain is said to both sides, between two frames.
func TestSocketDrain(t *testing.T) {
	heard := make(chan error, 2)
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		if r.URL.Query().Has("talk") { // frames without an end
			go func() {
				for c.Write(ctx, websocket.MessageBinary, make([]byte, 100<<10)) == nil {
				}
			}()
		}
		_, _, err := c.Read(ctx)
		heard <- err
	})
	w := newWorld(t, sockets("", url))
	quiet, _ := w.socket(t, realtime, nil)
	loud, _ := w.socket(t, realtime+"&talk=1", nil)
	drained := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(drained)
		w.srv.Drain(t.Context(), 100*time.Millisecond, 3*time.Second)
	}()
	require.Eventually(t, w.srv.draining.Load, 20*time.Second, time.Millisecond)
	requireError(t, w.ask(t, upgrade(realtime)), 503, "draining")
	var err error
	for err == nil {
		_, _, err = loud.Read(within(t))
	}
	assertClosed(t, err, websocket.StatusGoingAway, "going away")
	_, _, err = quiet.Read(within(t))
	assertClosed(t, err, websocket.StatusGoingAway, "going away")
	assert.Greater(t, time.Since(began), 2500*time.Millisecond, "what is open lives until drain_timeout")
	for range 2 {
		assertClosed(t, <-heard, websocket.StatusGoingAway, "going away")
	}
	<-drained
	w.requireEnded(t, `endpoint="realtime",end="drain"} 2`)
}

// Who never reads does not hold the drain up.
func TestSocketDrainStalled(t *testing.T) {
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		for c.Write(ctx, websocket.MessageBinary, make([]byte, 1<<20)) == nil {
		}
	})
	w := newWorld(t, sockets("", url))
	c := w.dial(t)
	_, err := io.WriteString(c, upgrade(realtime))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return strings.Contains(w.scrapeNow(), `helixflow_websockets_open{endpoint="realtime"} 1`)
	}, 20*time.Second, time.Millisecond)
	began := time.Now()
	w.srv.Drain(t.Context(), 0, 200*time.Millisecond)
	assert.Less(t, time.Since(began), 20*time.Second)
	w.requireEnded(t, `endpoint="realtime",end="drain"`)
}

// Frames that make no sense end the websocket, on both sides with a close frame.
func TestSocketBrokenFrames(t *testing.T) {
	heard := make(chan error, 1)
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		_, _, err := c.Read(ctx)
		heard <- err
	})
	w := newWorld(t, sockets("", url))
	f := func(frame string) {
		t.Helper()
		c := w.dial(t)
		_, err := io.WriteString(c, upgrade(realtime)+frame)
		require.NoError(t, err)
		br := bufio.NewReader(c)
		_, err = http.ReadResponse(br, nil)
		require.NoError(t, err)
		text, _ := io.ReadAll(br)
		assert.Equal(t, string(frames.AppendClose(nil, 1002, "malformed frame", false)), string(text))
		assertClosed(t, <-heard, websocket.StatusGoingAway, "malformed frame")
	}
	f("\x81\x05hello")                                        // not masked
	f("\x89\xfe\x00\x7eabcd" + strings.Repeat("x", 126))      // a control frame of 126 bytes
	f("\x09\x80abcd")                                         // a fragment of one
	f("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd12345678") // a length above 2^63
	w.requireEnded(t, `endpoint="realtime",end="protocol"} 4`)

	url = newBackend(t, func(a *asked) bool {
		accept := frames.AppendAccept(nil, []byte(a.req.Header.Get("Sec-Websocket-Key")))
		a.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + string(accept) + "\r\n\r\n\x81\x85abcdhello")
		<-a.left
		return false
	})
	w = newWorld(t, sockets("", url))
	c, _ := w.socket(t, realtime, nil)
	_, _, err := c.Read(within(t))
	assertClosed(t, err, websocket.StatusInternalError, "malformed frame")
	w.requireEnded(t, `endpoint="realtime",end="backend_protocol"`)
}

// An operator who is done with a backend ends its websockets in words.
func TestSocketBackendDrained(t *testing.T) {
	w := newWorld(t, strings.Replace(sockets("", socketBackend(t, nil, echo)), "balance: round_robin", "balance: round_robin\n    drain_timeout: 1ms", 1))
	c, _ := w.socket(t, realtime, nil)
	requireEcho(t, c)
	pool := w.srv.snapshot.Load().pools[0]
	assert.EqualValues(t, 1, pool.endpoints[0].Load.InFlight())
	w.fleet.Retain()
	_, _, err := c.Read(within(t))
	assertClosed(t, err, websocket.StatusGoingAway, "going away")
	w.requireEnded(t, `endpoint="realtime",end="drain"`)
}

// A client that is silent in the middle of a handshake, or a backend that is.
func TestSocketSilentBackend(t *testing.T) {
	url := newBackend(t, func(a *asked) bool { <-a.left; return false })
	w := newWorld(t, strings.Replace(sockets("", url), "timeouts: {", "timeouts: {first_token: 100ms, ", 1))
	requireError(t, w.ask(t, upgrade(realtime)), 504, "upstream_timeout")
	w.requireEnded(t)
}
