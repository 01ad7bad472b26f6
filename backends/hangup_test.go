package backends

// The asker may leave at any instant: what is broken never serves again, what
// serves again was never broken, and the books end at zero.

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// asker is a Hangup as the router's: one armed connection, taken out by a swap.
type asker struct {
	gone  atomic.Bool
	armed atomic.Pointer[Conn]
}

func (a *asker) Arm(c *Conn) bool {
	a.armed.Store(c)
	if a.gone.Load() {
		a.armed.Store(nil)
		return false
	}
	return true
}

func (a *asker) Disarm(c *Conn) bool { return a.armed.CompareAndSwap(c, nil) }

func (a *asker) leave() {
	a.gone.Store(true)
	if c := a.armed.Swap(nil); c != nil {
		c.Break()
	}
}

// fragile counts its closes; it echoes nothing and always has its answer ready.
type fragile struct {
	net.Conn
	closes atomic.Int32
}

func (f *fragile) Close() error {
	f.closes.Add(1)
	return nil
}

func TestHangupRace(t *testing.T) {
	ep := adopt(t, Spec{URL: "http://127.0.0.1:1"})
	var pooled int
	for i := range 20000 {
		nc := &fragile{}
		c := &Conn{raw: nc, nc: nc, br: bufio.NewReader(nc)}
		var l Lease
		require.True(t, ep.Acquire(&l, 0))
		a := &asker{}
		l.hangup, l.conn, l.reusable, l.armed = a, c, true, true
		var wait sync.WaitGroup
		wait.Go(func() {
			if i%3 == 0 {
				runtime.Gosched()
			}
			a.leave()
		})
		if a.Arm(c) {
			l.Finish(Served, time.Now())
		} else {
			c.close()
			l.conn = nil
			l.Finish(Ignored, time.Now())
		}
		wait.Wait()
		ep.mu.Lock()
		kept := len(ep.idle) == 1
		ep.idle = ep.idle[:0]
		ep.mu.Unlock()
		if kept {
			pooled++
			require.Zero(t, nc.closes.Load(), "a pooled connection was broken")
		} else {
			require.NotZero(t, nc.closes.Load(), "a connection that was not pooled was left open")
		}
	}
	t.Logf("pooled %d of 20000", pooled)
}

// The asker leaves in each phase: the call ends at once, nobody is blamed.
func TestHangupInEachPhase(t *testing.T) {
	f := func(text string, phase Phase) {
		t.Helper()
		left := make(chan struct{})
		reached := make(chan struct{})
		ep := adopt(t, Spec{URL: newEngine(t, func(c net.Conn, _ call) bool {
			_, _ = io.WriteString(c, text)
			close(reached)
			mute(c)
			close(left)
			return false
		}).url})
		a := &asker{}
		o := post(`{}`)
		o.Hangup = a
		began := time.Now()
		go func() {
			<-reached
			time.AfterFunc(300*time.Millisecond, a.leave) // by then what was written is read
		}()
		fail := failureOf(t, roundTrip(t, ep, o).err)
		<-left
		assert.Less(t, time.Since(began), 20*time.Second)
		assert.True(t, fail.Gone, "phase %d: %v", phase, fail)
		assert.False(t, fail.Timeout)
		assert.Equal(t, phase, fail.Phase)
		assert.Zero(t, ep.idleCount())
	}
	f("", PhaseWait)
	f("HTTP/1.1 200 OK\r\n", PhaseHead)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", PhaseBody)
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", PhaseBody)
}

// An asker who has left already costs no request.
func TestHangupBefore(t *testing.T) {
	e := newEngine(t, says(okAnswer, true))
	ep := adopt(t, Spec{URL: e.url})
	require.NoError(t, roundTrip(t, ep, post(`{}`)).err)
	for range 2 { // the first finds a pooled connection, the second dials
		a := &asker{}
		a.leave()
		o := post(`{}`)
		o.Hangup = a
		assert.True(t, failureOf(t, roundTrip(t, ep, o).err).Gone)
	}
	calls, _ := e.seen()
	assert.Len(t, calls, 1)
}

// A TLS handshake that hangs is broken off too.
func TestHangupInHandshake(t *testing.T) {
	ca := newTestCA(t)
	accepted := make(chan struct{})
	port := serve(t, "127.0.0.1:0", func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		close(accepted)
		mute(c)
	})
	ep := adopt(t, Spec{URL: "https://127.0.0.1:" + port, TLS: tlsTo(t, "127.0.0.1", port, "", ca.pem).TLS})
	a := &asker{}
	go func() {
		<-accepted
		a.leave()
	}()
	o := post(`{}`)
	o.Hangup = a
	f := failureOf(t, roundTrip(t, ep, o).err)
	assert.True(t, f.Gone, "%v", f)
	assert.Equal(t, PhaseConnect, f.Phase)
}

// Any history of answers, failures and hang-ups on one endpoint: every answer is
// the asked one's own, and nothing is left at the end.
func TestRandomHistory(t *testing.T) {
	e := newEngine(t, func(c net.Conn, r call) bool {
		answer := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n" + r.body + "\r\n0\r\n\r\n"
		switch r.body[0] {
		case 'c': // cut somewhere
			_, _ = io.WriteString(c, answer[:int(r.body[1])%len(answer)])
			return false
		case 'r':
			_ = c.(*net.TCPConn).SetLinger(0)
			return false
		case 's': // stall for as long as the peer stays
			_, _ = io.WriteString(c, answer[:int(r.body[1])%len(answer)])
			mute(c)
			return false
		}
		_, _ = io.WriteString(c, answer)
		return true
	})
	ep := adopt(t, Spec{URL: e.url})
	const letters = "aaaaaaaacrs"
	var wait sync.WaitGroup
	var served, left atomic.Int64
	for w := range 8 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 150 {
				canary := []byte{letters[random.IntN(len(letters))], byte('0' + random.IntN(70)), byte('a' + w), byte('a' + i%26), byte('a' + i/26), '.'}
				a := &asker{}
				o := post(string(canary))
				o.Hangup, o.FirstByte = a, 100*time.Millisecond
				if random.IntN(3) == 0 {
					after := time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, a.leave)
					defer after.Stop()
				}
				got := roundTrip(t, ep, o)
				if got.err == nil {
					served.Add(1)
					assert.Equal(t, string(canary), got.body)
				} else if f := failureOf(t, got.err); f.Gone {
					left.Add(1)
					assert.True(t, a.gone.Load(), "nobody left: %v", f)
				}
			}
		})
	}
	wait.Wait()
	assert.Zero(t, ep.Load.InFlight())
	assert.Greater(t, served.Load(), int64(300))
	t.Logf("served %d, left %d", served.Load(), left.Load())
}

// A warm round trip allocates nothing: head, chunks, pool and all.
func TestRoundTripDoesNotAllocate(t *testing.T) {
	unary := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	stream := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n"
	for name, answer := range map[string]string{"unary": unary, "stream": stream} {
		reply := []byte(answer)
		port := serve(t, "127.0.0.1:0", func(c net.Conn) {
			b := make([]byte, 64<<10)
			for {
				n, err := c.Read(b) // each request comes in one segment
				if err != nil || n == 0 {
					return
				}
				if _, err := c.Write(reply); err != nil {
					return
				}
			}
		})
		ep := adopt(t, Spec{URL: "http://127.0.0.1:" + port})
		o := post(string(make([]byte, 1000)))
		o.Hangup = &asker{}
		var l Lease
		var head fasthttp.ResponseHeader
		once := func() {
			o.Now = time.Now()
			ep.Acquire(&l, 0)
			if err := l.RoundTrip(o, &head); err != nil {
				t.Fatal(err)
			}
			l.Wait(o.Now, 5*time.Second)
			for {
				if _, err := l.Next(); err != nil {
					break
				}
			}
			l.Finish(Served, time.Now())
			head.Reset()
		}
		once()
		if raceEnabled {
			continue // the race detector allocates for itself
		}
		assert.Zero(t, testing.AllocsPerRun(500, once), name)
	}
}
