package backends

import (
	"context"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// blackHole returns the port of a socket on ip that takes no connection: its
// queue is full, and the kernel drops further SYNs.
func blackHole(t *testing.T, ip [4]byte) (port string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: ip}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	port = strconv.Itoa(name.(*syscall.SockaddrInet4).Port)
	target := net.JoinHostPort(net.IP(ip[:]).String(), port)
	for range 16 { // until one hangs
		conn, err := net.DialTimeout("tcp", target, 500*time.Millisecond)
		if err != nil {
			return port
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	require.Fail(t, "the queue of the socket never got full")
	return ""
}

func TestDialBlackHole(t *testing.T) {
	port := blackHole(t, [4]byte{127, 0, 0, 2})

	alone := dialerFor(t, DialOptions{Address: addressOf(t, "http://127.0.0.2:"+port)})
	begin := time.Now()
	_, err := alone.Dial(until(t, begin.Add(100*time.Millisecond)), nil)
	assert.True(t, requireDialError(t, err, "connect", "127.0.0.2:"+port).Timeout())
	assert.Less(t, time.Since(begin), 20*time.Second, "the system waits for minutes")

	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = alone.Dial(ctx, nil)
	requireDialError(t, err, "connect", "127.0.0.2:"+port)
	assert.ErrorIs(t, err, context.Canceled)

	// With a second address the dial succeeds.
	serve(t, "127.0.0.1:"+port, echo("alive"))
	pair := dialerFor(t, DialOptions{Address: addressOf(t, "http://pair.example:"+port), Lookup: newDNS("127.0.0.2 127.0.0.1").lookup})
	begin = time.Now()
	conn, err := pair.Dial(until(t, soon()), nil)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(begin), raceDelay)
	requireEcho(t, conn, "alive")
	require.NoError(t, conn.Close())
}

// Here, as other systems have one IPv4 loopback address only.
func TestDialSpreads(t *testing.T) {
	port := serve(t, "127.0.0.1:0", echo("a"))
	for _, other := range []string{"127.0.0.2", "127.0.0.3"} {
		serve(t, other+":"+port, echo("a"))
	}
	d := dialerFor(t, DialOptions{
		Address: addressOf(t, "http://many.example:"+port), Lookup: newDNS("127.0.0.1 127.0.0.2 127.0.0.3").lookup,
	})
	met := map[string]int{}
	for range 9 {
		conn, err := d.Dial(until(t, soon()), nil)
		require.NoError(t, err)
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		require.NoError(t, err)
		met[host]++
		require.NoError(t, conn.Close())
	}
	assert.Equal(t, map[string]int{"127.0.0.1": 3, "127.0.0.2": 3, "127.0.0.3": 3}, met)
}

func TestSocketOptions(t *testing.T) {
	port := serve(t, "127.0.0.1:0", mute)
	d := dialerFor(t, DialOptions{Address: addressOf(t, "http://127.0.0.1:"+port)})
	conn, err := d.Dial(until(t, soon()), nil)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	f := func(level, option, want int) {
		t.Helper()
		var got int
		var failed error
		require.NoError(t, raw.Control(func(fd uintptr) { got, failed = syscall.GetsockoptInt(int(fd), level, option) }))
		require.NoError(t, failed)
		assert.Equal(t, want, got)
	}
	f(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	f(syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	f(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 10)
	f(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 5)
	f(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 3)
	f(syscall.IPPROTO_TCP, tcpUserTimeout, 20_000)
}
