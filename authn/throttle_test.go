package authn

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThrottle(t *testing.T) {
	th := NewThrottle()
	at := now
	f := func(addr string, after, want time.Duration) {
		t.Helper()
		at = at.Add(after)
		assert.Equal(t, want, th.Failed(netip.MustParseAddr(addr), 6, at), "%s", addr)
	}
	for range 6 { // all of a minute's at once
		f("192.0.2.1", 0, 0)
	}
	f("192.0.2.1", 0, 10*time.Second)
	f("192.0.2.1", 3*time.Second, 7*time.Second) // asking in vain costs nothing more
	f("::ffff:192.0.2.1", 0, 7*time.Second)
	f("192.0.2.1", 7*time.Second, 0)
	f("192.0.2.1", 0, 10*time.Second)
	f("192.0.2.2", 0, 0)
	f("192.0.2.1", time.Minute, 0) // and all of it is there again
	for range 5 {
		f("192.0.2.1", 0, 0)
	}
	f("192.0.2.1", 0, 10*time.Second)
	assert.Zero(t, th.Failed(netip.MustParseAddr("192.0.2.1"), 0, at), "no bound")
	assert.Equal(t, time.Minute, th.Failed(netip.MustParseAddr("192.0.2.1"), 1, at), "a smaller allowance counts what was")
}

func TestThrottleByNetwork(t *testing.T) {
	th := NewThrottle()
	f := func(addr string, limited bool) {
		t.Helper()
		assert.Equal(t, limited, th.Failed(netip.MustParseAddr(addr), 1, now) > 0, addr)
	}
	f("2001:db8::1", false)
	f("2001:db8::2", true)
	f("2001:db8:0:0:ffff::2", true)
	f("2001:db8:0:1::1", false)
	f("192.0.2.1", false)
	f("192.0.2.1", true)
	f("fe80::1%eth0", false)
	f("fe80::1%eth1", true)
	assert.Zero(t, th.Failed(netip.Addr{}, 1, now), "an address that is not known is one like others")
	assert.Positive(t, th.Failed(netip.Addr{}, 1, now))
}

// TestThrottleIsBounded: a million addresses change nothing for one that fails
// all the time, whatever they make the throttle forget of each other.
func TestThrottleIsBounded(t *testing.T) {
	th := NewThrottle()
	busy := netip.MustParseAddr("192.0.2.1")
	for th.Failed(busy, 20, now) == 0 {
	}
	flood := func(i uint32) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0a000000+i)
		th.Failed(netip.AddrFrom4(a), 20, now)
	}
	for i := range uint32(1 << 20) {
		flood(i)
	}
	assert.Positive(t, th.Failed(busy, 20, now), "the fullest are forgotten last")
	require.Zero(t, testing.AllocsPerRun(100, func() { flood(1 << 21) }))
}

func BenchmarkThrottle(b *testing.B) {
	th := NewThrottle()
	var a [4]byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint32(a[:], uint32(i)*2654435761)
		th.Failed(netip.AddrFrom4(a), 20, now)
	}
}
