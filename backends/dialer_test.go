package backends

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serve listens until the test ends and hands each connection to handle, which
// must return when the connection is closed.
func serve(t *testing.T, hostPort string, handle func(net.Conn)) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", hostPort)
	require.NoError(t, err)
	var group sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			group.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	_, port, err = net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

func echo(name string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, name+"\n")
		_, _ = io.Copy(conn, conn)
	}
}

// mute accepts and says nothing.
func mute(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// echoTLS is echo over TLS.
func echoTLS(c *tls.Config, name string) func(net.Conn) {
	return func(conn net.Conn) { echo(name)(tls.Server(conn, c)) }
}

func dialerFor(t *testing.T, o DialOptions) *Dialer {
	t.Helper()
	d := NewDialer(o)
	t.Cleanup(d.Close)
	return d
}

func addressOf(t *testing.T, rawURL string) Address {
	t.Helper()
	a, err := ParseAddress(rawURL)
	require.NoError(t, err)
	return a
}

func soon() time.Time { return time.Now().Add(10 * time.Second) }

// until is a context that ends then, and with the test.
func until(t testing.TB, deadline time.Time) context.Context {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// requireEcho proves that conn works and leads to the server of that name.
func requireEcho(t *testing.T, conn net.Conn, name string) {
	t.Helper()
	require.NoError(t, conn.SetDeadline(soon()))
	_, err := io.WriteString(conn, "hello\n")
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	for _, want := range []string{name + "\n", "hello\n"} {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want, line)
	}
}

func requireDialError(t *testing.T, err error, phase, addr string) *DialError {
	t.Helper()
	var failure *DialError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, phase, failure.Phase, err)
	require.Equal(t, addr, failure.Addr, err)
	require.Contains(t, err.Error(), "cannot dial "+addr+" ("+phase+"): ")
	return failure
}

func TestDialPlain(t *testing.T) {
	f := func(host, at string) {
		t.Helper()
		port := serve(t, at+":0", echo("plain"))
		d := dialerFor(t, DialOptions{Address: addressOf(t, "http://"+host+":"+port)})
		assert.False(t, d.AbsoluteForm())
		assert.Empty(t, d.ProxyAuthorization())
		var raw net.Conn
		conn, err := d.Dial(until(t, soon()), func(c net.Conn) { raw = c })
		require.NoError(t, err)
		assert.Same(t, raw, conn)
		assert.IsType(t, &net.TCPConn{}, conn) // vectored writes need it
		requireEcho(t, conn, "plain")
		require.NoError(t, conn.Close())
	}
	f("127.0.0.1", "127.0.0.1")
	f("localhost", "127.0.0.1") // by the system's resolver
	f(loopback6(t), loopback6(t))
}

// loopback6 is the host of a second loopback address in URL form: [::1], or
// 127.0.0.2 on a machine without IPv6.
func loopback6(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return "127.0.0.2"
	}
	require.NoError(t, listener.Close())
	return "[::1]"
}

// refusedPort returns a port of 127.0.0.1 where nobody listens.
func refusedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port
}

func TestDialFailures(t *testing.T) {
	port := refusedPort(t)
	d := dialerFor(t, DialOptions{Address: addressOf(t, "http://127.0.0.1:"+port)})
	_, err := d.Dial(until(t, soon()), nil)
	failure := requireDialError(t, err, "connect", "127.0.0.1:"+port)
	assert.ErrorContains(t, err, "connection refused")
	assert.False(t, failure.Timeout())

	_, err = d.Dial(until(t, time.Now().Add(-time.Second)), nil)
	assert.True(t, requireDialError(t, err, "connect", "127.0.0.1:"+port).Timeout())

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = d.Dial(ctx, nil)
	assert.False(t, requireDialError(t, err, "connect", "127.0.0.1:"+port).Timeout())
	assert.ErrorIs(t, err, context.Canceled)

	d = dialerFor(t, DialOptions{Address: addressOf(t, "http://gone.example:81"), Lookup: newDNS("!no such host").lookup})
	_, err = d.Dial(until(t, soon()), nil)
	assert.False(t, requireDialError(t, err, "resolve", "gone.example:81").Timeout())
	assert.ErrorContains(t, d.ResolveErr(), "no such host")

	hanging := newDNS("127.0.0.1")
	hanging.delay.Store(int64(time.Hour))
	d = dialerFor(t, DialOptions{Address: addressOf(t, "http://slow.example:81"), Lookup: hanging.lookup})
	_, err = d.Dial(until(t, time.Now().Add(20*time.Millisecond)), nil)
	assert.True(t, requireDialError(t, err, "resolve", "slow.example:81").Timeout())
}

// tlsTo makes the options for an https backend at the port, with its name
// resolving to loopback.
func tlsTo(t *testing.T, host, port, serverName string, ca []byte) DialOptions {
	t.Helper()
	a := addressOf(t, "https://"+host+":"+port)
	c, err := NewTLSConfig("ca.pem", "", "", serverName, a.Host, filesOf(map[string][]byte{"ca.pem": ca}))
	require.NoError(t, err)
	return DialOptions{Address: a, TLS: c, Lookup: newDNS("127.0.0.1").lookup}
}

func TestDialTLSVerifies(t *testing.T) {
	ca, foreign := newTestCA(t), newTestCA(t)
	past := time.Now().Add(-time.Hour)
	v6 := loopback6(t)
	f := func(signer *testCA, notAfter time.Time, certName, host, serverName, wantErr string) {
		t.Helper()
		_, _, pair := signer.issue(t, notAfter, certName)
		at := "127.0.0.1"
		if host == v6 {
			at = v6
		}
		port := serve(t, at+":0", echoTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, "secure"))
		d := dialerFor(t, tlsTo(t, host, port, serverName, ca.pem))
		conn, err := d.Dial(until(t, soon()), nil)
		if wantErr == "" {
			require.NoError(t, err)
			requireEcho(t, conn, "secure")
			require.NoError(t, conn.Close())
			return
		}
		failure := requireDialError(t, err, "tls", addressOf(t, "https://"+host+":"+port).HostPort())
		assert.ErrorContains(t, err, wantErr)
		assert.False(t, failure.Timeout())
		var bad *tls.CertificateVerificationError
		assert.ErrorAs(t, err, &bad)
	}
	v6name := strings.Trim(v6, "[]")
	f(ca, time.Time{}, "a.example", "a.example", "", "")
	f(ca, time.Time{}, "a.example", "A.Example.", "", "")
	f(ca, time.Time{}, "127.0.0.1", "127.0.0.1", "", "")
	f(ca, time.Time{}, v6name, v6, "", "")
	f(ca, time.Time{}, "b.example", "a.example", "b.example", "")
	f(ca, time.Time{}, "b.example", "127.0.0.1", "B.example.", "")

	f(foreign, time.Time{}, "a.example", "a.example", "", "unknown authority")
	f(ca, past, "a.example", "a.example", "", "certificate has expired")
	f(ca, time.Time{}, "a.example", "a.example", "b.example", "not b.example")
	// Whatever the spelling of the host, the name is checked.
	for _, host := range []string{"a.example", "A.EXAMPLE", "a.example.", "under_score", "xn--bcher-kva.example"} {
		f(ca, time.Time{}, "wrong.example", host, "", "valid for wrong.example")
		f(foreign, time.Time{}, strings.ToLower(strings.TrimSuffix(host, ".")), host, "", "unknown authority")
	}
	f(ca, time.Time{}, "wrong.example", "127.0.0.1", "", "127.0.0.1")
	f(ca, time.Time{}, "wrong.example", v6, "", v6name)
	f(ca, time.Time{}, "10.0.0.1", v6, "", v6name)
	f(ca, time.Time{}, "127.0.0.1", "a.example", "", "a.example")
}

func TestDialTLSNeverSkipsVerification(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Time{}, "127.0.0.1")
	port := serve(t, "127.0.0.1:0", echoTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, "secure"))
	f := func(c *tls.Config, wantErr string) {
		t.Helper()
		d := dialerFor(t, DialOptions{Address: addressOf(t, "https://127.0.0.1:"+port), TLS: c})
		conn, err := d.Dial(until(t, soon()), nil)
		if wantErr == "" {
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			return
		}
		requireDialError(t, err, "tls", "127.0.0.1:"+port)
		assert.ErrorContains(t, err, wantErr)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	f(nil, "x509: ") // the system's roots do not know this CA
	f(&tls.Config{InsecureSkipVerify: true}, "x509: ")
	f(&tls.Config{RootCAs: roots, InsecureSkipVerify: true, ServerName: "h"}, "x509: ")
	f(&tls.Config{RootCAs: roots}, "")
}

func TestDialTLSClientCertificate(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Time{}, "127.0.0.1")
	cert, key, _ := ca.issue(t, time.Time{}, "router")
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	read := filesOf(map[string][]byte{"ca": ca.pem, "cert": cert, "key": key})
	f := func(version uint16, certFile, keyFile string, wantOK bool) {
		t.Helper()
		port := serve(t, "127.0.0.1:0", echoTLS(&tls.Config{
			Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, MaxVersion: version,
		}, "mutual"))
		a := addressOf(t, "https://127.0.0.1:"+port)
		c, err := NewTLSConfig("ca", certFile, keyFile, "", a.Host, read)
		require.NoError(t, err)
		d := dialerFor(t, DialOptions{Address: a, TLS: c})
		conn, err := d.Dial(until(t, soon()), nil)
		if wantOK {
			require.NoError(t, err)
			requireEcho(t, conn, "mutual")
			require.NoError(t, conn.Close())
			return
		}
		if version == tls.VersionTLS13 { // the client is done before the server has judged it
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			require.NoError(t, errors.Join(conn.Close()))
		}
		assert.ErrorContains(t, err, "remote error: tls: ")
	}
	f(tls.VersionTLS13, "cert", "key", true)
	f(tls.VersionTLS12, "cert", "key", true)
	f(tls.VersionTLS13, "", "", false)
	f(tls.VersionTLS12, "", "", false)
}

func TestDialTLSRefusesOldAndForeign(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Time{}, "127.0.0.1")
	pairs := []tls.Certificate{pair}
	f := func(handle func(net.Conn), wantErr string) {
		t.Helper()
		port := serve(t, "127.0.0.1:0", handle)
		d := dialerFor(t, tlsTo(t, "127.0.0.1", port, "", ca.pem))
		_, err := d.Dial(until(t, soon()), nil)
		requireDialError(t, err, "tls", "127.0.0.1:"+port)
		assert.ErrorContains(t, err, wantErr)
	}
	f(echoTLS(&tls.Config{Certificates: pairs, MaxVersion: tls.VersionTLS11}, ""), "protocol version")
	f(echoTLS(&tls.Config{Certificates: pairs, NextProtos: []string{"h3"}}, ""), "no application protocol")
	f(echo("HTTP/1.1 400 Bad Request"), "does not look like a TLS handshake")
	f(func(net.Conn) {}, "")
}

func TestDialTLSResumes(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Time{}, "127.0.0.1")
	port := serve(t, "127.0.0.1:0", echoTLS(&tls.Config{Certificates: []tls.Certificate{pair}}, "secure"))
	o := tlsTo(t, "127.0.0.1", port, "", ca.pem)
	f := func(d *Dialer, want bool) {
		t.Helper()
		conn, err := d.Dial(until(t, soon()), nil)
		require.NoError(t, err)
		requireEcho(t, conn, "secure")
		assert.Equal(t, want, conn.(*tls.Conn).ConnectionState().DidResume)
		require.NoError(t, conn.Close())
	}
	d := dialerFor(t, o)
	f(d, false)
	f(d, true)
	f(dialerFor(t, o), false) // sessions are not shared
}

func TestDialHandshakeIsBounded(t *testing.T) {
	ca := newTestCA(t)
	port := serve(t, "127.0.0.1:0", mute)
	d := dialerFor(t, tlsTo(t, "127.0.0.1", port, "", ca.pem))

	begin := time.Now()
	_, err := d.Dial(until(t, begin.Add(100*time.Millisecond)), nil)
	assert.True(t, requireDialError(t, err, "tls", "127.0.0.1:"+port).Timeout())
	assert.Less(t, time.Since(begin), 20*time.Second)

	// The client hangs up: its watcher closes what onRaw was given.
	begin = time.Now()
	var wait sync.WaitGroup
	_, err = d.Dial(until(t, soon()), func(raw net.Conn) {
		wait.Go(func() { _ = raw.Close() })
	})
	wait.Wait()
	assert.False(t, requireDialError(t, err, "tls", "127.0.0.1:"+port).Timeout())
	assert.ErrorIs(t, err, net.ErrClosed)

	// The same by ctx.
	ctx, cancel := context.WithCancel(context.Background())
	_, err = d.Dial(ctx, func(net.Conn) { wait.Go(cancel) })
	wait.Wait()
	requireDialError(t, err, "tls", "127.0.0.1:"+port)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Less(t, time.Since(begin), 20*time.Second)
}

func TestDialLeavesNoDeadline(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Time{}, "127.0.0.1")
	release := make(chan struct{})
	slow := func(conn net.Conn) {
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
		if secured.Handshake() == nil {
			<-release
			_, _ = io.WriteString(secured, "late")
		}
	}
	port := serve(t, "127.0.0.1:0", slow)
	d := dialerFor(t, tlsTo(t, "127.0.0.1", port, "", ca.pem))
	deadline := time.Now().Add(500 * time.Millisecond)
	conn, err := d.Dial(until(t, deadline), nil)
	require.NoError(t, err)
	time.AfterFunc(time.Until(deadline)+100*time.Millisecond, func() { close(release) })
	got := make([]byte, 4)
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	assert.Equal(t, "late", string(got))
	require.NoError(t, conn.Close())
}

func TestDialDualStack(t *testing.T) {
	second := strings.Trim(loopback6(t), "[]")
	f := func(listenAt, addrs, want string) {
		t.Helper()
		port := serve(t, net.JoinHostPort(listenAt, "0"), echo("dual"))
		d := dialerFor(t, DialOptions{Address: addressOf(t, "http://dual.example:"+port), Lookup: newDNS(addrs).lookup})
		for range 4 { // both addresses get to be the first
			conn, err := d.Dial(until(t, soon()), nil)
			require.NoError(t, err)
			assert.Equal(t, net.JoinHostPort(want, port), conn.RemoteAddr().String())
			requireEcho(t, conn, "dual")
			require.NoError(t, conn.Close())
		}
	}
	f("127.0.0.1", second+" 127.0.0.1", "127.0.0.1")
	f(second, second+" 127.0.0.1", second)
	f(second, "127.0.0.1 127.0.0.3 "+second, second)
}

func TestDialErrorText(t *testing.T) {
	err := &DialError{Phase: "connect", Addr: "h:80", Err: errors.New("boom")}
	assert.EqualError(t, err, "cannot dial h:80 (connect): boom")
	assert.False(t, err.Timeout())
	assert.True(t, (&DialError{Err: context.DeadlineExceeded}).Timeout())
}

func BenchmarkDialPlain(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	})
	a, err := ParseAddress("http://" + listener.Addr().String())
	require.NoError(b, err)
	d := NewDialer(DialOptions{Address: a})
	b.ReportAllocs()
	for b.Loop() {
		conn, err := d.Dial(context.Background(), nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
	d.Close()
	_ = listener.Close()
	group.Wait()
}
