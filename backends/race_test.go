package backends

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// countedConn is a connection that only knows who opened it and whether it was
// closed.
type countedConn struct {
	net.Conn
	addr string
	open *atomic.Int32
}

func (c *countedConn) Close() error {
	c.open.Add(-1)
	return nil
}

// scriptedNet connects as told: "10.0.0.1 300ms" answers after that time, "!300ms"
// fails then, "hole" never answers, "late" connects although it was cancelled.
type scriptedNet struct {
	plan  map[string]string
	open  atomic.Int32
	tried atomic.Int32
}

func (s *scriptedNet) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	s.tried.Add(1)
	addr := to.Addr().String()
	step := s.plan[addr]
	if step == "hole" || step == "late" {
		<-ctx.Done()
		if step == "hole" {
			return nil, ctx.Err()
		}
		s.open.Add(1)
		return &countedConn{addr: addr, open: &s.open}, nil
	}
	text, bad := strings.CutPrefix(step, "!")
	wait, err := time.ParseDuration(text)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if bad {
		return nil, errors.New("refused by " + addr)
	}
	s.open.Add(1)
	return &countedConn{addr: addr, open: &s.open}, nil
}

// raceDialer is a Dialer for many.example at the addresses of plan, in order:
// "10.0.0.1=hole 10.0.0.2=1ms".
func raceDialer(plan string) (*Dialer, *scriptedNet) {
	s := &scriptedNet{plan: map[string]string{}}
	addrs := ""
	for word := range strings.FieldsSeq(plan) {
		addr, step, _ := strings.Cut(word, "=")
		s.plan[addr] = step
		addrs += " " + addr
	}
	a := Address{Scheme: "http", Host: "many.example", Port: "80"}
	d := NewDialer(DialOptions{Address: a, Lookup: newDNS(addrs).lookup})
	d.connect = s.connect
	return d, s
}

func TestRace(t *testing.T) {
	// want is the winner or the error's text, after is when Dial returns.
	f := func(plan, want string, after time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d, s := raceDialer(plan)
			defer d.Close()
			begin := time.Now()
			conn, err := d.Dial(until(t, begin.Add(time.Second)), nil)
			assert.Equal(t, after, time.Since(begin), plan)
			if err != nil {
				assert.EqualError(t, err, "cannot dial many.example:80 (connect): "+want, plan)
				assert.Zero(t, s.open.Load(), plan)
				return
			}
			assert.Equal(t, want, conn.(*countedConn).addr, plan)
			assert.EqualValues(t, 1, s.open.Load(), plan) // the losers are closed
		})
	}
	f("10.0.0.1=1ms 10.0.0.2=1ms", "10.0.0.1", time.Millisecond)
	f("10.0.0.1=249ms 10.0.0.2=0s", "10.0.0.1", 249*time.Millisecond)
	f("10.0.0.1=hole 10.0.0.2=1ms", "10.0.0.2", 251*time.Millisecond)
	f("10.0.0.1=300ms 10.0.0.2=100ms", "10.0.0.1", 300*time.Millisecond)
	f("10.0.0.1=!5ms 10.0.0.2=1ms", "10.0.0.2", 6*time.Millisecond)
	f("10.0.0.1=hole 10.0.0.2=hole 10.0.0.3=hole 10.0.0.4=1ms", "10.0.0.4", 751*time.Millisecond)
	f("10.0.0.1=hole 10.0.0.2=!10ms 10.0.0.3=1ms", "10.0.0.3", 261*time.Millisecond)
	f("10.0.0.1=late 10.0.0.2=1ms", "10.0.0.2", 251*time.Millisecond)
	f("10.0.0.1=!5ms 10.0.0.2=!7ms 10.0.0.3=!0s", "refused by 10.0.0.1 (and 2 more addresses failed)", 12*time.Millisecond)
	f("10.0.0.1=hole 10.0.0.2=hole", "context deadline exceeded (and 1 more addresses failed)", time.Second)
	f("10.0.0.1=hole", "context deadline exceeded", time.Second)
	f("2001:db8::1=hole 10.0.0.1=1ms", "10.0.0.1", 251*time.Millisecond)
}

func TestRaceCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, s := raceDialer("10.0.0.1=hole 10.0.0.2=late 10.0.0.3=1ms")
		defer d.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		begin := time.Now()
		_, err := d.Dial(ctx, nil)
		assert.Equal(t, 300*time.Millisecond, time.Since(begin))
		assert.ErrorIs(t, err, context.Canceled)
		assert.Zero(t, s.open.Load())
		assert.EqualValues(t, 2, s.tried.Load())
		assert.Empty(t, d.avoid) // the asker left: no address is to blame

		_, err = d.Dial(ctx, nil)
		assert.ErrorIs(t, err, context.Canceled)
		assert.EqualValues(t, 2, s.tried.Load())
	})
}

// A dead address among several costs its delay once, not in every n-th dial.
func TestRaceAvoidsDeadAddresses(t *testing.T) {
	f := func(dead string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d, s := raceDialer("10.0.0.1=" + dead + " 10.0.0.2=1ms 10.0.0.3=1ms")
			defer d.Close()
			dial := func() (winner string, took time.Duration) {
				begin := time.Now()
				conn, err := d.Dial(until(t, begin.Add(time.Second)), nil)
				require.NoError(t, err)
				return conn.(*countedConn).addr, time.Since(begin)
			}
			_, took := dial()
			assert.Greater(t, took, time.Millisecond)
			met := map[string]int{}
			for range 30 {
				winner, took := dial()
				met[winner]++
				assert.Equal(t, time.Millisecond, took)
			}
			assert.Len(t, met, 2)
			s.plan["10.0.0.1"] = "1ms"
			time.Sleep(avoidFor)
			met = map[string]int{}
			for range 30 {
				winner, _ := dial()
				met[winner]++
			}
			assert.Equal(t, map[string]int{"10.0.0.1": 10, "10.0.0.2": 10, "10.0.0.3": 10}, met)
			assert.Empty(t, d.avoid)
		})
	}
	f("hole")
	f("!20ms")
}

func TestOrder(t *testing.T) {
	d := &Dialer{}
	now := time.Unix(1000, 0)
	f := func(after time.Duration, want string) {
		t.Helper()
		assert.Equal(t, want, formatAddrs(d.order(parseAddrs("10.0.0.1 10.0.0.2 10.0.0.3"), now.Add(after))))
	}
	f(0, "10.0.0.1 10.0.0.2 10.0.0.3")
	f(0, "10.0.0.2 10.0.0.3 10.0.0.1")
	d.markBad(netip.MustParseAddr("10.0.0.3"), now)
	f(0, "10.0.0.1 10.0.0.2 10.0.0.3")
	f(0, "10.0.0.1 10.0.0.2 10.0.0.3")
	f(0, "10.0.0.2 10.0.0.1 10.0.0.3")
	f(avoidFor, "10.0.0.3 10.0.0.1 10.0.0.2")
	d.markBad(netip.MustParseAddr("10.0.0.1"), now)
	d.markBad(netip.MustParseAddr("10.0.0.2"), now)
	d.markBad(netip.MustParseAddr("10.0.0.3"), now)
	f(0, "10.0.0.1 10.0.0.2 10.0.0.3") // all bad: none is left out
	d.markGood(netip.MustParseAddr("10.0.0.3"))
	f(0, "10.0.0.3 10.0.0.2 10.0.0.1")

	// Hostile DNS cannot make it grow.
	for addr, n := netip.MustParseAddr("10.1.0.1"), 0; n < 100_000; addr, n = addr.Next(), n+1 {
		d.markBad(addr, now)
	}
	assert.LessOrEqual(t, len(d.avoid), 2*maxAddresses+1)
}
