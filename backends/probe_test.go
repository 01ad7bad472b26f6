package backends

// Checks over real sockets: what counts as well, what the reasons say, and what
// is sent.

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/metric"
)

// checked makes one check of a backend.
func checked(t *testing.T, s Spec, c Checks) (reason, warning string) {
	t.Helper()
	ep := adopt(t, s)
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return ep.probe.ask(t.Context(), &c)
}

func TestCheckJudgesAnswers(t *testing.T) {
	f := func(answer, wantReason, wantWarning string) {
		t.Helper()
		e := newEngine(t, says(answer, false))
		reason, warning := checked(t, Spec{URL: e.url}, Checks{Path: "/health"})
		assert.Equal(t, wantReason, reason, "%q", answer)
		assert.Equal(t, wantWarning, warning, "%q", answer)
	}
	f("HTTP/1.1 200 OK\r\n\r\n", "", "")
	f("HTTP/1.0 200\r\n\r\n", "", "")
	f("HTTP/1.1 204 No Content\n\n", "", "")
	f("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "", "")
	f("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("y", 100_000)+"\r\n\r\n", "", "")
	f("HTTP/1.1 200 "+strings.Repeat("y", 100_000), "", "")
	f("HTTP/1.1 401 No\r\n\r\n", "", "health.path /health is answered with HTTP 401 Unauthorized, which counts as alive")
	f("HTTP/1.1 404 No\r\n\r\n", "", "health.path /health is answered with HTTP 404 Not Found, which counts as alive")
	f("HTTP/1.1 405 No\r\n\r\n", "", "health.path /health is answered with HTTP 405 Method Not Allowed, which counts as alive")
	f("HTTP/1.1 500 Oops\r\n\r\n", "HTTP 500 Internal Server Error", "")
	f("HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n", "HTTP 503 Service Unavailable", "")
	f("HTTP/1.1 999 What\r\n\r\n", "HTTP 999", "")
	f("HTTP/1.1 101 Switch\r\n\r\n", "HTTP 101 Switching Protocols", "")
	f("", "connection closed without an answer", "")
	f("HTTP/1.1 20", "connection closed without an answer", "")
	f("SSH-2.0-OpenSSH_9.6\r\n", "its answer is not HTTP/1", "")
	f("HTTP/2.0 200 OK\r\n\r\n", "its answer is not HTTP/1", "")
	f("HTTP/1.1 2000 OK\r\n\r\n", "its answer is not HTTP/1", "")
	f("HTTP/1.1 2x0 OK\r\n\r\n", "its answer is not HTTP/1", "")
	f(strings.Repeat("\x00", 4096), "its answer is not HTTP/1", "")
}

func TestCheckOfWhatDoesNotAnswer(t *testing.T) {
	stalls := newEngine(t, func(c net.Conn, _ call) bool {
		_, _ = io.Copy(io.Discard, c)
		return false
	})
	reason, _ := checked(t, Spec{URL: stalls.url}, Checks{Path: "/health", Timeout: 50 * time.Millisecond})
	assert.Equal(t, "no answer to GET /health within 50ms", reason)
	reason, _ = checked(t, Spec{URL: stalls.url}, Checks{})
	assert.Empty(t, reason, "it takes connections, and more was not asked")

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	reason, _ = checked(t, Spec{URL: "http://" + ln.Addr().String()}, Checks{})
	assert.Equal(t, "connection refused", reason)
}

func TestCheckRequest(t *testing.T) {
	f := func(path, proxy, want string) {
		t.Helper()
		e := newEngine(t, says("HTTP/1.1 200 OK\r\n\r\n", false))
		s := Spec{URL: e.url + path}
		if proxy != "" {
			var err error
			s.URL = "http://backend.example" + path
			s.Proxy, err = ParseProxy(strings.Replace(e.url, "://", "://"+proxy+"@", 1))
			require.NoError(t, err)
		}
		reason, _ := checked(t, s, Checks{Path: "/health"})
		require.Empty(t, reason)
		calls, _ := e.seen()
		require.Len(t, calls, 1)
		assert.Equal(t, want, strings.ReplaceAll(calls[0].head, strings.TrimPrefix(e.url, "http://"), "HOST"))
	}
	const rest = "User-Agent: helixflow-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	f("", "", "GET /health HTTP/1.1\r\nHost: HOST\r\n"+rest)
	f("/v1", "", "GET /health HTTP/1.1\r\nHost: HOST\r\n"+rest)
	f("/gpu-a/v1", "", "GET /gpu-a/health HTTP/1.1\r\nHost: HOST\r\n"+rest)
	f("/gpu-a", "", "GET /gpu-a/health HTTP/1.1\r\nHost: HOST\r\n"+rest)
	f("", "u:p", "GET http://backend.example/health HTTP/1.1\r\nHost: backend.example\r\nProxy-Authorization: Basic dTpw\r\n"+rest)
}

// A backend whose certificate has run out is not well, and why is said; one that
// is good tells until when.
func TestCheckOfCertificates(t *testing.T) {
	ca, foreign := newTestCA(t), newTestCA(t)
	f := func(signer *testCA, end time.Time, name, want string) {
		t.Helper()
		_, _, pair := signer.issue(t, end, name)
		port := serve(t, "127.0.0.1:0", func(c net.Conn) {
			_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
		})
		s := Spec{URL: "https://127.0.0.1:" + port, TLS: tlsTo(t, "127.0.0.1", port, "", ca.pem).TLS}
		ep := adopt(t, s)
		reason, _ := ep.probe.ask(t.Context(), &Checks{Timeout: 5 * time.Second})
		assert.Regexp(t, want, reason)
		if want == "^$" {
			assert.Equal(t, end.Unix(), ep.certificateEnd().Unix())
			status := ep.Status(time.Now())
			days, ok := status.CertificateDays(time.Now())
			assert.True(t, ok)
			assert.Equal(t, 2, days)
			assert.Equal(t, "its certificate runs out on "+end.UTC().Format(time.DateOnly), status.Warning)
		}
	}
	f(ca, time.Now().Add(71*time.Hour), "127.0.0.1", "^$")
	f(ca, time.Now().Add(-time.Hour), "127.0.0.1", "^its certificate is not valid now: from .* to ")
	f(ca, time.Now().Add(time.Hour), "other.example", "^its certificate is not accepted: x509: .*127.0.0.1")
	f(foreign, time.Now().Add(time.Hour), "127.0.0.1", "^its certificate is not accepted: x509: certificate signed by unknown authority")
}

func TestCertificateDays(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	f := func(left time.Duration, want int) {
		t.Helper()
		days, ok := (&EndpointStatus{Certificate: now.Add(left)}).CertificateDays(now)
		assert.True(t, ok)
		assert.Equal(t, want, days)
	}
	f(0, 0)
	f(23*time.Hour, 0)
	f(24*time.Hour, 1)
	f(-time.Second, -1)
	f(-24*time.Hour, -1)
	f(-25*time.Hour, -2)
	_, ok := (&EndpointStatus{}).CertificateDays(now)
	assert.False(t, ok)
}

// The whole of it, over sockets: a backend dies, and comes back on its port.
func TestDeathAndReturnOverSockets(t *testing.T) {
	fleet := NewFleet(metric.New())
	defer fleet.Close()
	listen := func(addr string) (*net.TCPListener, chan struct{}) {
		ln, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				_ = c.Close()
			}
		}()
		return ln.(*net.TCPListener), done
	}
	ln, done := listen("127.0.0.1:0")
	addr := ln.Addr().String()
	address, err := ParseAddress("http://" + addr)
	require.NoError(t, err)
	ep := fleet.Adopt(Spec{Pool: "p", URL: "http://" + addr, Address: address})
	m := fleet.Members("p", DefaultRules(), []*Endpoint{ep})
	fleet.Retain(m)
	up := func() bool { return !m.Eligible(time.Now()).Empty() }
	require.True(t, up())
	require.NoError(t, ln.Close())
	<-done
	began := time.Now()
	for range 2 {
		pass, ok := m.Enter(0, time.Now())
		require.True(t, ok)
		_, err := ep.dialer.Dial(t.Context(), nil)
		require.Error(t, err)
		ep.Report(Report{Pass: pass, Evidence: Unreachable, Err: err}, time.Now())
	}
	require.Eventually(t, func() bool { return !up() }, 20*time.Second, time.Millisecond)
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.Equal(t, "connection refused", ep.Status(time.Now()).Reason)

	ln, done = listen(addr)
	defer func() {
		_ = ln.Close()
		<-done
	}()
	began = time.Now()
	require.Eventually(t, up, 20*time.Second, 5*time.Millisecond)
	t.Logf("back after %v", time.Since(began))
}

func TestReasonsAreShort(t *testing.T) {
	assert.Len(t, shortened(strings.Repeat("x", 5000)), 300+len("…"))
	assert.Equal(t, "timed out (connect)", reasonOf(&DialError{Phase: "connect", Err: context.DeadlineExceeded}))
	assert.Equal(t, "DNS: gpu.example: no such host", reasonOf(&DialError{Phase: "resolve", Err: &net.DNSError{Name: "gpu.example", Err: "no such host", IsNotFound: true}}))
	assert.Equal(t, "its head is malformed", reasonOf(errHead))
}
