package netloop

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"
)

func startLoop(t testing.TB) *Loop {
	l, err := Start()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l
}

// dial returns both ends of a connection.
func dial() (here, there *net.TCPConn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = ln.Close() }()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	b, err := ln.Accept()
	if err != nil {
		return nil, nil, err
	}
	return a.(*net.TCPConn), b.(*net.TCPConn), nil
}

// pair is a connection of the loop and its peer.
func pair(t testing.TB, l *Loop) (*Conn, *net.TCPConn) {
	t.Helper()
	here, there, err := dial()
	require.NoError(t, err)
	c, err := l.Take(here)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = c.Close(), there.Close() })
	return c, there
}

func TestConnIsANetConn(t *testing.T) {
	l := startLoop(t)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		here, there, err := dial()
		if err != nil {
			return nil, nil, nil, err
		}
		a, err := l.Take(here)
		if err != nil {
			return nil, nil, nil, err
		}
		b, err := l.Take(there)
		return a, b, func() { _, _ = a.Close(), b.Close() }, err
	})
}

// gather is a step that reads all there is.
type gather struct {
	c    *Conn
	got  []byte
	err  error // why it ended
	upTo int   // bytes, then it is done; 0: at the end
	size int   // of one reading
}

func (g *gather) step() bool {
	p := make([]byte, max(g.size, 1))
	for {
		n, err := g.c.Read(p)
		g.got = append(g.got, p[:n]...)
		switch {
		case err == ErrNotYet:
			return false
		case err != nil:
			g.err = err
			return true
		case g.upTo > 0 && len(g.got) >= g.upTo:
			return true
		}
	}
}

func soon() time.Time { return time.Now().Add(10 * time.Second) }

// Many connections at once, pieces and pauses of any size, and an end that may come
// together with the last piece.
func TestRunMissesNothing(t *testing.T) {
	l := startLoop(t)
	var all sync.WaitGroup
	for i := range 200 {
		c, peer := pair(t, l)
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		text := make([]byte, rng.IntN(20_000))
		for i := range text {
			text[i] = byte(rng.Uint32())
		}
		size := 1 + rng.IntN(5000)
		all.Go(func() {
			g := gather{c: c, size: size}
			for {
				err := c.Run(g.step, time.Now().Add(3*time.Millisecond))
				if err == nil {
					break
				}
				if !assert.ErrorIs(t, err, os.ErrDeadlineExceeded) {
					return
				}
			}
			assert.Equal(t, io.EOF, g.err)
			assert.Equal(t, text, g.got)
		})
		all.Go(func() {
			for rest := text; len(rest) > 0; {
				n := 1 + rng.IntN(min(len(rest), 3000))
				_, err := peer.Write(rest[:n])
				assert.NoError(t, err)
				if rest = rest[n:]; rng.IntN(3) == 0 {
					time.Sleep(time.Duration(rng.IntN(int(5 * time.Millisecond))))
				}
			}
			assert.NoError(t, peer.Close())
		})
	}
	all.Wait()
}

// An end in the packet of the last bytes is no event of its own.
func TestEndWithTheLastBytes(t *testing.T) {
	l := startLoop(t)
	for range 300 {
		c, peer := pair(t, l)
		g := gather{c: c, size: 100}
		ran := make(chan error)
		go func() { ran <- c.Run(g.step, soon()) }()
		_, err := peer.Write([]byte("last"))
		require.NoError(t, err)
		require.NoError(t, peer.Close())
		require.NoError(t, <-ran)
		require.Equal(t, io.EOF, g.err)
		require.Equal(t, "last", string(g.got))
	}
}

func TestRunEnds(t *testing.T) {
	l := startLoop(t)
	c, peer := pair(t, l)
	g := gather{c: c, size: 100, upTo: 5}

	began := time.Now()
	err := c.Run(g.step, began.Add(20*time.Millisecond))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout())
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond)

	// Nobody steps any more: what comes now is for the reader.
	_, err = peer.Write([]byte("one"))
	require.NoError(t, err)
	p := make([]byte, 10)
	n, err := c.Read(p)
	require.NoError(t, err)
	require.Equal(t, "one", string(p[:n]))
	require.Empty(t, g.got)

	// A step that is done leaves the rest.
	_, err = peer.Write([]byte("12345rest"))
	require.NoError(t, err)
	g.size = 5
	require.NoError(t, c.Run(g.step, soon()))
	require.Equal(t, "12345", string(g.got))
	n, err = c.Read(p)
	require.NoError(t, err)
	require.Equal(t, "rest", string(p[:n]))

	// So does an end in the past; the step is asked once all the same.
	calls := 0
	require.ErrorIs(t, c.Run(func() bool { calls++; return false }, time.Now().Add(-time.Hour)), os.ErrDeadlineExceeded)
	require.Equal(t, 1, calls)
}

func TestCloseEndsARun(t *testing.T) {
	l := startLoop(t)
	before := openFiles(t)
	for _, inStep := range []bool{false, true} {
		c, peer := pair(t, l)
		stepping, goOn := make(chan bool), make(chan bool)
		ran := make(chan error)
		go func() {
			ran <- c.Run(func() bool {
				if _, err := c.Read(make([]byte, 10)); err == nil {
					stepping <- true
					<-goOn
				}
				return false
			}, soon())
		}()
		if inStep {
			_, err := peer.Write([]byte("x"))
			require.NoError(t, err)
			<-stepping
		} else {
			time.Sleep(5 * time.Millisecond)
		}
		require.NoError(t, c.Close(), "who closes never waits for a step")
		close(goOn)
		require.ErrorIs(t, <-ran, net.ErrClosed)
		require.ErrorIs(t, c.Run(func() bool { panic("not called") }, soon()), net.ErrClosed)
		require.ErrorIs(t, c.Close(), net.ErrClosed)
		require.NoError(t, peer.Close())
	}
	require.Equal(t, before, openFiles(t))
}

// A panic is for who ran the step; the loop goes on for all others.
func TestPanicInAStep(t *testing.T) {
	l := startLoop(t)
	c, peer := pair(t, l)
	var inLoop atomic.Bool
	ran := make(chan any)
	go func() {
		defer func() { ran <- recover() }()
		_ = c.Run(func() bool {
			if inLoop.Swap(true) {
				panic("boom")
			}
			return false
		}, soon())
	}()
	time.Sleep(5 * time.Millisecond)
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, "boom", <-ran)

	other, peer := pair(t, l)
	g := gather{c: other, size: 10, upTo: 1}
	_, err = peer.Write([]byte("y"))
	require.NoError(t, err)
	require.NoError(t, other.Run(g.step, soon()))
}

// When much has happened, helpers see to a part of it at the same time.
func TestHelpers(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	l := startLoop(t)
	const n = 100
	var all sync.WaitGroup
	var peers []*net.TCPConn
	var waits, now, most atomic.Int32
	for range n {
		c, peer := pair(t, l)
		peers = append(peers, peer)
		all.Go(func() {
			assert.NoError(t, c.Run(func() bool {
				if _, err := c.Read(make([]byte, 10)); err == ErrNotYet {
					waits.Add(1)
					return false
				}
				if at := now.Add(1); at > most.Load() {
					most.Store(at)
				}
				time.Sleep(2 * time.Millisecond) // so that the others have something, too
				now.Add(-1)
				return true
			}, soon()))
		})
	}
	require.Eventually(t, func() bool { return waits.Load() == n }, 10*time.Second, time.Millisecond)
	for _, p := range peers {
		_, err := p.Write([]byte("x"))
		require.NoError(t, err)
	}
	all.Wait()
	assert.GreaterOrEqual(t, most.Load(), int32(2))
}

func TestTakeLeavesNothingBehind(t *testing.T) {
	before := openFiles(t)
	l, err := Start()
	require.NoError(t, err)
	here, there, err := dial()
	require.NoError(t, err)
	local, remote := here.LocalAddr().String(), here.RemoteAddr().String()
	c, err := l.Take(here)
	require.NoError(t, err)
	assert.Equal(t, local, c.LocalAddr().String())
	assert.Equal(t, remote, c.RemoteAddr().String())
	assert.ErrorIs(t, here.Close(), net.ErrClosed)
	_, err = l.Take(here)
	require.ErrorIs(t, err, net.ErrClosed)

	require.NoError(t, l.Close(), "and what it has left")
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = there.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.NoError(t, there.Close())
	require.Equal(t, before, openFiles(t))
}

// A raw reading is called at once, and again when more has come.
func TestRawRead(t *testing.T) {
	l := startLoop(t)
	c, peer := pair(t, l)
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	calls := 0
	require.NoError(t, raw.Read(func(fd uintptr) bool {
		calls++
		p := make([]byte, 10)
		n, err := syscall.Read(int(fd), p)
		if calls == 1 {
			assert.Equal(t, syscall.EAGAIN, err)
			_, err := peer.Write([]byte("x"))
			assert.NoError(t, err)
		}
		return n > 0
	}))
	require.GreaterOrEqual(t, calls, 2)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
	require.ErrorIs(t, raw.Read(func(uintptr) bool { return false }), os.ErrDeadlineExceeded)
	require.NoError(t, c.Close())
	require.ErrorIs(t, raw.Control(func(uintptr) { t.Error("called") }), net.ErrClosed)
}

// What is passed on in the loop costs no memory.
func TestRunAllocatesNothing(t *testing.T) {
	l := startLoop(t)
	c, peer := pair(t, l)
	p, piece := make([]byte, 100), []byte("a piece")
	steps := 0
	taken := make(chan bool, 1)
	step := func() bool {
		for {
			if _, err := c.Read(p); err != nil {
				return false
			}
			steps++
			taken <- true
			if steps%100 == 0 {
				return true
			}
		}
	}
	round := func() {
		go func() {
			for range 100 {
				_, _ = peer.Write(piece)
				<-taken
			}
		}()
		if err := c.Run(step, soon()); err != nil {
			panic(err)
		}
	}
	if n := testing.AllocsPerRun(20, round); n > 5 { // the goroutine that sends
		t.Errorf("%v allocations for 100 pieces", n)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

func BenchmarkPass(b *testing.B) {
	for _, way := range []string{"run", "read"} {
		b.Run(fmt.Sprintf("%s/100 connections", way), func(b *testing.B) { benchmarkPass(b, way == "run") })
	}
}

func benchmarkPass(b *testing.B, run bool) {
	l := startLoop(b)
	var peers []*net.TCPConn
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		c, peer := pair(b, l)
		peers = append(peers, peer)
		p := make([]byte, 1000)
		all.Go(func() {
			if !run {
				for {
					if _, err := c.Read(p); err != nil {
						return
					}
					passed.Add(1)
				}
			}
			_ = c.Run(func() bool {
				for {
					if _, err := c.Read(p); err != nil {
						return err != ErrNotYet
					}
					passed.Add(1)
				}
			}, time.Now().Add(time.Hour))
		})
	}
	piece := make([]byte, 200)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		_, _ = peers[i%len(peers)].Write(piece)
	}
	b.StopTimer()
	for _, p := range peers {
		_ = p.Close()
	}
	all.Wait()
}
