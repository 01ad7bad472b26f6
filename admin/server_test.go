// These tests talk to a listening server, with net/http where a client would
// and with raw bytes where only an attacker would.
package admin_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/admin"
)

func TestHealthAndReadiness(t *testing.T) {
	w := newWorld()
	w.state = "starting"
	addr := start(t, "127.0.0.1:9090", w.deps())
	f := func(path string, status int, body string) {
		t.Helper()
		resp, got := get(t, addr, path, addr)
		assert.Equal(t, status, resp.StatusCode)
		assert.JSONEq(t, body, got)
		assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	}
	f("/healthz", 200, `{"status":"ok"}`)
	f("/readyz", 503, `{"status":"starting"}`)
	w.set(func(w *world) { w.state = "ready" })
	f("/readyz", 200, `{"status":"ready"}`)
	f("/readyz?verbose=1", 200, `{"status":"ready"}`)
	w.set(func(w *world) { w.state = "draining" })
	f("/readyz", 503, `{"status":"draining"}`)
	f("/healthz", 200, `{"status":"ok"}`)
}

func TestMetrics(t *testing.T) {
	addr := start(t, "localhost:0", newWorld().deps())
	resp, body := get(t, addr, "/metrics", addr)
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "text/plain; version=0.0.4; charset=utf-8", resp.Header.Get("Content-Type"))
	assert.Equal(t, "up 1\n", body)

	resp, body = exchange(t, addr, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Empty(t, body)
}

func TestUnknownPaths(t *testing.T) {
	addr := start(t, "127.0.0.1:0", newWorld().deps())
	for _, path := range []string{"/health", "/healthz/", "//healthz", "/../healthz", "/metrics/x", "/debug/pprof", "/debug/pprof/cmdline", "/-", "/-/reload/", "//", "/-/page.html", "/page/page.css", "/v1/models", "/%00", "/HEALTHZ"} {
		resp, body := get(t, addr, path, addr)
		assertRefusal(t, 404, resp, body)
	}
}

func TestOddMethods(t *testing.T) {
	addr := start(t, "127.0.0.1:0", newWorld().deps())
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get"} {
		resp, body := exchange(t, addr, method+" /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
		assertRefusal(t, 405, resp, body)
		assert.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
	resp, body := exchange(t, addr, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
	assertRefusal(t, 404, resp, body)
	resp, body = exchange(t, addr, "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n")
	assertRefusal(t, 404, resp, body)
}

func TestHostHeader(t *testing.T) {
	addr := start(t, "Router.internal:9090", newWorld().deps())
	f := func(host string, allowed bool) {
		t.Helper()
		resp, body := get(t, addr, "/healthz", host)
		if allowed {
			assert.Equal(t, 200, resp.StatusCode, host)
			return
		}
		assertRefusal(t, 421, resp, body)
		assert.NotContains(t, body, "router.internal", "the refusal names no host that would have passed")
	}
	for _, host := range []string{
		"localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:9090", "127.255.255.254", "[::1]", "[::1]:9090",
		"[::ffff:127.0.0.1]:80", "router.internal", "ROUTER.INTERNAL:9090",
	} {
		f(host, true)
	}
	for _, host := range []string{
		"evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "localhost.",
		"127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::]", "10.0.0.1", "169.254.169.254", ":9090",
		"router.internal.evil.example", "xrouter.internal",
	} {
		f(host, false)
	}

	// The target of the request line beats the header.
	resp, body := get(t, addr, "http://evil.example/metrics", "localhost")
	assertRefusal(t, 421, resp, body)

	// No Host at all is HTTP/1.0, which no browser speaks.
	resp, _ = exchange(t, addr, "GET /healthz HTTP/1.0\r\n\r\n")
	assert.Equal(t, 200, resp.StatusCode)
}

func TestBrokenRequests(t *testing.T) {
	addr := start(t, "127.0.0.1:0", newWorld().deps())
	f := func(raw string, status int) {
		t.Helper()
		resp, _ := exchange(t, addr, raw)
		assert.Equal(t, status, resp.StatusCode)
	}
	f("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("a", 64<<10)+"\r\n\r\n", 431)
	f("GET /healthz HTTP/1.1\r\n\r\n", 400)
	f("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)
	f("GET /healthz HTTP/1.1\r\nHost: local host\r\n\r\n", 400)
	f("\x16\x03\x01\x02\x00\r\n\r\n", 400)
	f("GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)
	f("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200) // and it still lives
}

func TestPanicIsAnAnswer(t *testing.T) {
	var log bytes.Buffer
	d := newWorld().deps()
	d.WriteMetrics = func(io.Writer) { panic("gauge broke") }
	d.Log = slog.New(slog.NewTextHandler(&log, nil))
	addr := start(t, "127.0.0.1:0", d)
	resp, body := get(t, addr, "/metrics", addr)
	assertRefusal(t, 500, resp, body)
	assert.NotContains(t, body, "gauge")
	assert.Contains(t, log.String(), "gauge broke")
	resp, _ = get(t, addr, "/healthz", addr)
	assert.Equal(t, 200, resp.StatusCode)
}

func TestOffLoopbackIsRefused(t *testing.T) {
	f := func(listen, want string) {
		t.Helper()
		_, err := admin.New(listen, newWorld().deps())
		if want == "" {
			assert.NoError(t, err, listen)
			return
		}
		assert.ErrorContains(t, err, want, listen)
		assert.ErrorContains(t, err, listen)
	}
	f("127.0.0.1:9090", "")
	f("127.3.2.1:0", "")
	f("[::1]:9090", "")
	f("[::ffff:127.0.0.1]:9090", "")
	f("localhost:9090", "")
	f(":9090", "it is not a loopback address")
	f("0.0.0.0:9090", "it is not a loopback address")
	f("[::]:9090", "it is not a loopback address")
	f("10.1.2.3:9090", "it is not a loopback address")
	f("[::ffff:10.1.2.3]:9090", "it is not a loopback address")
	f("9090", "cannot use the admin address")
	f("", "cannot use the admin address")
}

// fixedAddr is a listener that claims an address; it never accepts.
type fixedAddr struct {
	net.Listener
	addr   net.Addr
	closed bool
}

func (l *fixedAddr) Addr() net.Addr { return l.addr }

func (l *fixedAddr) Close() error {
	l.closed = true
	return nil
}

// TestServeLooksAtTheBoundAddress: a name may lead anywhere, so that the check
// of the configured text is not enough.
func TestServeLooksAtTheBoundAddress(t *testing.T) {
	s, err := admin.New("some-name:9090", newWorld().deps())
	require.NoError(t, err)
	l := &fixedAddr{addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9090}}
	require.ErrorContains(t, s.Serve(l), "cannot listen on the admin address 192.0.2.1:9090: it is not a loopback address")
	assert.True(t, l.closed)
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	d := newWorld().deps()
	d.WriteMetrics = func(io.Writer) {
		close(entered)
		<-release
	}
	s, err := admin.New("127.0.0.1:0", d)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	<-entered

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.Canceled)
	require.NoError(t, <-done)
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	close(release)
}
