package backends

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseProxy(t *testing.T) {
	f := func(raw, want, wantAuth string) {
		t.Helper()
		p, err := ParseProxy(raw)
		require.NoError(t, err, raw)
		for _, format := range []string{"%v", "%+v", "%s", "%#v"} {
			assert.Equal(t, want, fmt.Sprintf(format, p))
		}
		assert.Equal(t, wantAuth, p.auth.Reveal())
	}
	f("http://proxy:3128", "http://proxy:3128", "")
	f("HTTP://Proxy/", "http://proxy", "")
	f("https://[::1]:8443", "https://[::1]:8443", "")
	f("http://user:sesame@proxy:3128", "http://proxy:3128", "Basic dXNlcjpzZXNhbWU=")
	f("http://user@proxy", "http://proxy", "Basic dXNlcjo=")
	f("http://u:a%40b%3Ac:d@proxy", "http://proxy", "Basic dTphQGI6Yzpk") // u:a@b:c:d
	f("http://u:a@b@proxy", "http://proxy", "Basic dTphQGI=")             // u:a@b
}

func TestParseProxyRefuses(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		p, err := ParseProxy(raw)
		require.Error(t, err, raw)
		assert.Nil(t, p)
		assert.ErrorContains(t, err, want, raw)
		assert.NotContains(t, err.Error(), "sesame", raw)
		assert.NotContains(t, err.Error(), "c2VzYW1l", raw)
	}
	f("", "must begin with http:// or https://")
	f("proxy:3128", "must begin with http:// or https://")
	f("u:sesame@proxy:3128", "cannot use proxy")
	f("socks5://u:sesame@proxy:1080", "SOCKS is not supported")
	f("SOCKS5h://proxy", "SOCKS is not supported")
	f("ftp://u:sesame@proxy", "must begin with http:// or https://")
	f("http://u:sesame@proxy:0", "port")
	f("http://u:sesame@", "host is missing")
	f("http://u:sesame@proxy/path", "has a path")
	f("http://u:se/sesame@proxy", "cannot use proxy")
	f("http://u:sesame/x@proxy", "cannot use proxy")
	f("http://u:ses?sesame@proxy", "cannot use proxy")
	f("http://u:sesame#x@proxy", "cannot use proxy")
	f("http://u:sesame%zz@proxy", "broken %-escape")
	f("http://u%3Av:sesame@proxy", "user has a colon")
}

// connectProxy answers CONNECT as told and joins the two sides; it keeps the
// head of each request.
type connectProxy struct {
	mu    sync.Mutex
	heads []string
}

func (p *connectProxy) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heads[len(p.heads)-1]
}

// handle answers with the text and, if it says 2xx, dials through to target.
func (p *connectProxy) handle(answer, target string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		head := ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head += line
		}
		p.mu.Lock()
		p.heads = append(p.heads, head)
		p.mu.Unlock()
		if target == "" {
			_, _ = io.WriteString(conn, answer)
			return
		}
		backend, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer)
		var group sync.WaitGroup
		group.Go(func() {
			_, _ = io.Copy(backend, r)
			_ = backend.Close()
		})
		_, _ = io.Copy(conn, backend)
		_ = conn.Close()
		group.Wait()
	}
}

func proxyOf(t *testing.T, raw string) *Proxy {
	t.Helper()
	p, err := ParseProxy(raw)
	require.NoError(t, err)
	return p
}

func TestDialThroughConnect(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Time{}, "api.example", "::1")
	port := serve(t, "127.0.0.1:0", echoTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, "behind"))
	f := func(host, proxyScheme, userinfo, wantTarget, wantAuth string) {
		t.Helper()
		proxy := &connectProxy{}
		_, _, proxyPair := ca.issue(t, time.Time{}, "127.0.0.1")
		handle := proxy.handle("HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n", "127.0.0.1:"+port)
		if proxyScheme == "https" {
			plain := handle
			handle = func(conn net.Conn) { plain(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{proxyPair}})) }
		}
		proxyPort := serve(t, "127.0.0.1:0", handle)
		o := tlsTo(t, host, port, "", ca.pem)
		o.Proxy = proxyOf(t, proxyScheme+"://"+userinfo+"127.0.0.1:"+proxyPort)
		o.ProxyTLS = o.TLS.Clone()
		o.ProxyTLS.ServerName = ""
		o.Lookup = newDNS("!the proxy resolves").lookup
		d := dialerFor(t, o)
		assert.False(t, d.AbsoluteForm())
		assert.Empty(t, d.ProxyAuthorization()) // else the backend would read it
		var raw net.Conn
		conn, err := d.Dial(until(t, soon()), func(c net.Conn) { raw = c })
		require.NoError(t, err)
		assert.IsType(t, &net.TCPConn{}, raw)
		requireEcho(t, conn, "behind")
		require.NoError(t, conn.Close())
		target := wantTarget + ":" + port
		assert.Equal(t, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n"+wantAuth+"\r\n", proxy.last())
	}
	const auth = "Proxy-Authorization: Basic dXNlcjpzZXNhbWU=\r\n"
	f("api.example", "http", "", "api.example", "")
	f("API.example.", "http", "user:sesame@", "api.example", auth)
	f("[::1]", "http", "", "[::1]", "")
	f("api.example", "https", "user:sesame@", "api.example", auth)
}

func TestDialConnectFailures(t *testing.T) {
	ca := newTestCA(t)
	f := func(answer, wantErr string) {
		t.Helper()
		proxyPort := serve(t, "127.0.0.1:0", (&connectProxy{}).handle(answer, ""))
		o := tlsTo(t, "api.example", "443", "", ca.pem)
		o.Proxy = proxyOf(t, "http://user:sesame@127.0.0.1:"+proxyPort)
		_, err := dialerFor(t, o).Dial(until(t, soon()), nil)
		requireDialError(t, err, "proxy", "127.0.0.1:"+proxyPort)
		assert.ErrorContains(t, err, wantErr)
		assert.NotContains(t, err.Error(), "sesame")
	}
	f("HTTP/1.1 407 sesame\r\nProxy-Authenticate: Basic\r\n\r\n", "status 407: it wants other credentials")
	f("HTTP/1.0 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad", "answered CONNECT with status 502")
	f("HTTP/1.1 100\r\n\r\n", "status 100")
	f("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP/1")
	f("HTTP/1.1 2000\r\n\r\n", "not HTTP/1")
	f("HTTP/1.1 20x OK\r\n\r\n", "not HTTP/1")
	f("HTTP/2 200\r\n\r\n", "not HTTP/1")
	f("\r\n\r\n", "not HTTP/1")
	f("", "unexpected EOF")
	f("HTTP/1.1 200 OK\r\nx: y\r\n", "unexpected EOF")
	f("HTTP/1.1 200 OK\r\n"+strings.Repeat("x: y\r\n", maxProxyHead), "is above 16384 bytes")

	// Nobody at the proxy's address, and one that never answers.
	o := tlsTo(t, "api.example", "443", "", ca.pem)
	refused := refusedPort(t)
	o.Proxy = proxyOf(t, "http://127.0.0.1:"+refused)
	_, err := dialerFor(t, o).Dial(until(t, soon()), nil)
	requireDialError(t, err, "connect", "127.0.0.1:"+refused)

	muted := serve(t, "127.0.0.1:0", mute)
	o.Proxy = proxyOf(t, "http://127.0.0.1:"+muted)
	d := dialerFor(t, o)
	_, err = d.Dial(until(t, time.Now().Add(50*time.Millisecond)), nil)
	assert.True(t, requireDialError(t, err, "proxy", "127.0.0.1:"+muted).Timeout())

	var group sync.WaitGroup
	_, err = d.Dial(until(t, soon()), func(raw net.Conn) { group.Go(func() { _ = raw.Close() }) })
	group.Wait()
	requireDialError(t, err, "proxy", "127.0.0.1:"+muted)
	assert.ErrorIs(t, err, net.ErrClosed)

	// A certificate the proxy has no right to, and a wrong one behind the tunnel.
	_, _, wrong := ca.issue(t, time.Time{}, "wrong.example")
	wrongPort := serve(t, "127.0.0.1:0", echoTLS(&tls.Config{Certificates: []tls.Certificate{wrong}}, ""))
	o.Proxy = proxyOf(t, "https://127.0.0.1:"+wrongPort)
	o.ProxyTLS = o.TLS.Clone()
	o.ProxyTLS.ServerName = ""
	_, err = dialerFor(t, o).Dial(until(t, soon()), nil)
	requireDialError(t, err, "proxy", "127.0.0.1:"+wrongPort)
	assert.ErrorContains(t, err, "cannot agree on TLS with it")

	proxyPort := serve(t, "127.0.0.1:0", (&connectProxy{}).handle("HTTP/1.1 200 OK\r\n\r\n", "127.0.0.1:"+wrongPort))
	o.Proxy = proxyOf(t, "http://127.0.0.1:"+proxyPort)
	_, err = dialerFor(t, o).Dial(until(t, soon()), nil)
	requireDialError(t, err, "tls", "api.example:443")
	assert.ErrorContains(t, err, "valid for wrong.example")
}

func TestDialAbsoluteForm(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Time{}, "127.0.0.1")
	secure := tlsTo(t, "127.0.0.1", "443", "", ca.pem).TLS
	f := func(handle func(net.Conn), scheme string) {
		t.Helper()
		port := serve(t, "127.0.0.1:0", handle)
		d := dialerFor(t, DialOptions{
			Address:  addressOf(t, "http://backend.example:8000"),
			Proxy:    proxyOf(t, scheme+"://user:sesame@127.0.0.1:"+port),
			ProxyTLS: secure,
		})
		assert.True(t, d.AbsoluteForm())
		assert.Equal(t, "Basic dXNlcjpzZXNhbWU=", d.ProxyAuthorization())
		conn, err := d.Dial(until(t, soon()), nil)
		require.NoError(t, err)
		requireEcho(t, conn, "proxy") // no CONNECT was sent
		require.NoError(t, conn.Close())
	}
	f(echo("proxy"), "http")
	f(echoTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, "proxy"), "https")
}

// However the proxy's bytes are cut, what follows its head reaches the tunnel.
func TestTunnelLosesNothing(t *testing.T) {
	const head, ahead = "HTTP/1.1 200 OK\r\nx: \r\r\n\r\n", "early bytes\r\n\r\n"
	f := func(wrap func(io.Reader) io.Reader) {
		t.Helper()
		client, server := net.Pipe()
		defer func() { _ = client.Close() }()
		defer func() { _ = server.Close() }()
		go func() { _, _ = server.Read(make([]byte, 1024)) }()
		from := wrap(strings.NewReader(head + ahead))
		conn, err := proxyOf(t, "http://p").tunnel(readFrom{client, from}, "h:443")
		require.NoError(t, err)
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Equal(t, ahead, string(got))
	}
	f(func(r io.Reader) io.Reader { return r })
	f(iotest.OneByteReader)
	f(iotest.HalfReader)
	f(iotest.DataErrReader)
}

type readFrom struct {
	net.Conn
	r io.Reader
}

func (c readFrom) Read(p []byte) (int, error) { return c.r.Read(p) }
