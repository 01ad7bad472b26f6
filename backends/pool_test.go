package backends

// Which connections serve again, in what order, and until when.

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/metric"
)

func TestPooling(t *testing.T) {
	f := func(text string, pooled int) {
		t.Helper()
		e := newEngine(t, says(text, true))
		ep := adopt(t, Spec{URL: e.url})
		o := post(`{}`)
		o.FirstByte = 300 * time.Millisecond
		a := roundTrip(t, ep, o)
		assert.Equal(t, pooled, ep.idleCount(), "%q: %+v", text, a)
	}
	f(okAnswer, 1)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n", 1)
	f("HTTP/1.1 204 No Content\r\n\r\n", 1)
	f("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", 1)
	f("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", 1)

	f("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 0)
	f("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\n{}", 0)
	f("HTTP/1.1 200 OK\r\nConnection: foo, close\r\nContent-Length: 2\r\n\r\n{}", 0)
	f("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 0)
	f(okAnswer+"extra", 0)
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}\r\n", 0)
	f(okAnswer+okAnswer, 0)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nextra", 0)
	f("HTTP/1.1 204 No Content\r\n\r\nextra", 0)
	f("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", 0)
}

// Only a whole answer that was Served leaves a connection.
func TestPoolingByOutcome(t *testing.T) {
	f := func(o Outcome, read bool, want int) {
		t.Helper()
		ep := adopt(t, Spec{URL: newEngine(t, says(okAnswer, true)).url})
		var l Lease
		var head fasthttp.ResponseHeader
		require.True(t, ep.Acquire(&l, 1))
		require.False(t, ep.Acquire(new(Lease), 1), "the limit is 1")
		require.NoError(t, l.RoundTrip(post(`{}`), &head))
		if read {
			_, err := l.Next()
			require.NoError(t, err)
		}
		l.Finish(o, time.Now())
		assert.Equal(t, want, ep.idleCount())
		assert.Zero(t, ep.Load.InFlight())
		l.Finish(o, time.Now()) // harmless
		assert.Zero(t, ep.Load.InFlight())
		assert.Nil(t, l.Endpoint())
	}
	f(Served, true, 1)
	f(Served, false, 0)
	f(Ignored, true, 0)
	f(Dropped, true, 0)
	f(Failed, true, 0)
}

func TestAcquireWhileHeldPanics(t *testing.T) {
	ep := adopt(t, Spec{URL: "http://127.0.0.1:1"})
	var l Lease
	l.Finish(Served, time.Now()) // the zero Lease holds nothing
	require.True(t, ep.Acquire(&l, 0))
	assert.Panics(t, func() { ep.Acquire(&l, 0) })
	assert.EqualValues(t, 1, ep.Load.InFlight())
	l.Finish(Served, time.Now())
}

func TestPoolIsLIFO(t *testing.T) {
	e := newEngine(t, says(okAnswer, true))
	ep := adopt(t, Spec{URL: e.url})
	leases := served(t, ep, 3)
	for i := range leases {
		leases[i].Finish(Served, time.Now())
	}
	for range 4 {
		require.NoError(t, roundTrip(t, ep, post(`{}`)).err)
	}
	calls, opened := e.seen()
	assert.Equal(t, 3, opened)
	for _, c := range calls[3:] {
		assert.Equal(t, calls[2].conn, c.conn, "the connection used last serves again")
	}
}

// idle puts a connection into the pool as if it had served at that time.
func idle(ep *Endpoint, nc net.Conn, since time.Time) *Conn {
	l := leaseOver(nc)
	ep.put(l.conn, since)
	return l.conn
}

func TestIdleSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := NewFleet(metric.New())
		ep := fleet.Adopt(Spec{Pool: "p", URL: "http://127.0.0.1:1", Address: Address{Scheme: "http", Host: "127.0.0.1", Port: "1"}})
		require.Same(t, ep, fleet.Adopt(Spec{Pool: "p", URL: "http://127.0.0.1:1"}), "adopted by identity")
		require.NotSame(t, ep, fleet.Adopt(Spec{Pool: "q", URL: "http://127.0.0.1:1"}))
		var flags [2]atomic.Bool
		closed := func() []bool { return []bool{flags[0].Load(), flags[1].Load()} }
		for i := range flags {
			near, far := net.Pipe()
			go func() {
				_, _ = far.Read(make([]byte, 1))
				flags[i].Store(true)
				_ = far.Close()
			}()
			idle(ep, near, time.Now())
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		require.Equal(t, []bool{false, false}, closed())
		time.Sleep(idleMax - 2*time.Second)
		synctest.Wait()
		assert.Equal(t, []bool{true, false}, closed(), "idle for 4 to 6 s, and for 2 to 4 s")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, []bool{true, true}, closed())
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()
		c := idle(ep, near, time.Now().Add(-idleMax-time.Millisecond))
		assert.Nil(t, ep.take(time.Now(), false), "too old to be used")
		fleet.Close()
		_, err := c.nc.Write([]byte("x"))
		assert.Error(t, err, "Close leaves nothing open")
		near2, far2 := net.Pipe()
		defer func() { _ = far2.Close() }()
		c = idle(ep, near2, time.Now())
		_, err = c.nc.Write([]byte("x"))
		assert.ErrorIs(t, err, io.ErrClosedPipe, "a lease that outlives the fleet pools nothing")
	})
}

// A request that meets a dead pooled connection is replayed once; one that
// began to be answered is not.
func TestStaleReplay(t *testing.T) {
	var mu sync.Mutex // guards second
	var second func(net.Conn)
	e := newEngine(t, func(c net.Conn, r call) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.nth == 2 && second != nil {
			second(c)
			second = nil
			return false
		}
		_, _ = io.WriteString(c, okAnswer)
		return true
	})
	ep := adopt(t, Spec{URL: e.url})
	f := func(what func(net.Conn), wantCalls int, wantPhase Phase, ok bool) {
		t.Helper()
		ep.dropIdle(time.Now().Add(time.Hour))
		require.NoError(t, roundTrip(t, ep, post(`{}`)).err)
		mu.Lock()
		second = what
		mu.Unlock()
		before, _ := e.seen()
		a := roundTrip(t, ep, post(`{}`))
		after, _ := e.seen()
		assert.Equal(t, wantCalls, len(after)-len(before))
		if ok {
			assert.NoError(t, a.err)
			assert.Equal(t, "{}", a.body)
			return
		}
		require.Error(t, a.err)
		assert.Equal(t, wantPhase, failureOf(t, a.err).Phase)
	}
	reset := func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }
	f(func(net.Conn) {}, 2, 0, true)
	f(reset, 2, 0, true)
	f(func(c net.Conn) { _, _ = io.WriteString(c, "H") }, 1, PhaseHead, false)
	f(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n") }, 1, PhaseHead, false)
	f(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{") }, 1, PhaseBody, false)
}

// A fresh connection that dies before an answer is not ours to replay: judge decides.
func TestFreshConnectionIsNotReplayed(t *testing.T) {
	for _, how := range []func(net.Conn){
		func(net.Conn) {},
		func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
	} {
		e := newEngine(t, func(c net.Conn, _ call) bool { how(c); return false })
		f := failureOf(t, roundTrip(t, adopt(t, Spec{URL: e.url}), post(`{}`)).err)
		assert.Equal(t, PhaseWait, f.Phase, "%v", f)
		assert.False(t, f.Timeout || f.Gone)
		calls, opened := e.seen()
		assert.Equal(t, []int{1, 1}, []int{len(calls), opened})
	}
}

// The backend restarts: of ten pooled connections, none costs a request.
func TestRestartCostsNoRequest(t *testing.T) {
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	e := newEngine(t, func(c net.Conn, _ call) bool {
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		_, _ = io.WriteString(c, okAnswer)
		return true
	})
	ep := adopt(t, Spec{URL: e.url})
	leases := served(t, ep, 10)
	for i := range leases {
		leases[i].Finish(Served, time.Now())
	}
	require.Equal(t, 10, ep.idleCount())
	mu.Lock()
	for _, c := range conns {
		_ = c.Close()
	}
	mu.Unlock()
	for range 20 {
		assert.NoError(t, roundTrip(t, ep, post(`{}`)).err)
	}
}

// served is n leases side by side whose answers were read to their ends.
func served(t *testing.T, ep *Endpoint, n int) []Lease {
	t.Helper()
	leases := make([]Lease, n)
	for i := range leases {
		var head fasthttp.ResponseHeader
		require.True(t, ep.Acquire(&leases[i], 0))
		require.NoError(t, leases[i].RoundTrip(post(`{}`), &head))
		_, err := leases[i].Next()
		require.NoError(t, err)
	}
	return leases
}

// A connection is looked at even where the wait for the answer is over before it
// could begin.
func TestUnsolicitedBytesBehindADeadline(t *testing.T) {
	said := make(chan struct{})
	e := newEngine(t, func(c net.Conn, r call) bool {
		_, _ = io.WriteString(c, okAnswer)
		said <- struct{}{}
		_, _ = io.WriteString(c, okAnswer)
		said <- struct{}{}
		return true
	})
	ep := adopt(t, Spec{URL: e.url})
	leases := served(t, ep, 1)
	leases[0].Finish(Served, time.Now())
	<-said
	<-said
	c := ep.take(time.Now(), false)
	require.NotNil(t, c)
	defer c.close()
	require.NoError(t, c.nc.SetReadDeadline(time.Now().Add(-time.Second)))
	request := buf.Get(16)
	request.B = append(request.B, "POST"...)
	_, err := c.write(request)
	assert.Equal(t, errUnasked, err)
}

// What came unasked while a connection was idle is nobody's answer, however the
// request that meets it is written.
func TestUnsolicitedBytesAreNobodysAnswer(t *testing.T) {
	for _, size := range []int{2, copyBelow, copyBelow + 1} {
		late, said := make(chan struct{}), make(chan struct{})
		e := newEngine(t, func(c net.Conn, r call) bool {
			_, _ = io.WriteString(c, okAnswer)
			if r.conn <= 2 && r.nth == 1 { // twice: the one behind it on the stack is looked at, too
				<-late
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
				said <- struct{}{}
			}
			return true
		})
		ep := adopt(t, Spec{URL: e.url})
		leases := served(t, ep, 2)
		for i := range leases {
			leases[i].Finish(Served, time.Now())
			late <- struct{}{}
			<-said
		}
		require.Equal(t, 2, ep.idleCount())
		a := roundTrip(t, ep, post(strings.Repeat("x", size)))
		require.NoError(t, a.err)
		assert.Equal(t, "{}", a.body, "%d bytes", size)
		_, opened := e.seen()
		assert.Equal(t, 3, opened)
	}
}

// Over TLS, too, a connection serves again after a pause, and one that the
// backend has closed costs no request.
func TestPoolingOverTLS(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Now().Add(time.Hour), "127.0.0.1")
	e := &engine{}
	closed := make(chan struct{}, 1)
	port := serve(t, "127.0.0.1:0", func(c net.Conn) {
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
		e.run(secure, func(c net.Conn, r call) bool {
			_, _ = io.WriteString(c, okAnswer)
			if r.conn == 1 && r.nth == 3 {
				_ = c.Close() // with a close_notify, as a server that ends an idle connection
				closed <- struct{}{}
				return false
			}
			return true
		})
	})
	ep := adopt(t, Spec{URL: "https://127.0.0.1:" + port, TLS: tlsTo(t, "127.0.0.1", port, "", ca.pem).TLS})
	pause := func() {
		ep.mu.Lock()
		defer ep.mu.Unlock()
		require.Len(t, ep.idle, 1)
		ep.idle[0].idleSince = time.Now().Add(-time.Second)
	}
	for i := range 4 {
		require.NoError(t, roundTrip(t, ep, post(`{}`)).err, "request %d", i)
		if i == 2 {
			<-closed
		}
		pause()
	}
	calls, opened := e.seen()
	assert.Len(t, calls, 4)
	assert.Equal(t, 2, opened)
}

// stays is a Hangup of an asker who never leaves.
type stays struct{}

func (stays) Arm(*Conn) bool    { return true }
func (stays) Disarm(*Conn) bool { return true }

// leaseOver is a lease whose answer was read to its end.
func leaseOver(nc net.Conn) *Lease {
	c := &Conn{raw: nc, nc: nc, br: bufio.NewReaderSize(nc, readBufferSize)}
	return &Lease{ep: &Endpoint{url: "http://fake"}, conn: c, hangup: stays{}}
}
