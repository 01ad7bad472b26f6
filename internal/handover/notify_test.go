//go:build linux || darwin || freebsd

package handover

// A pretended systemd that listens.

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manager receives notifications at address.
func manager(t *testing.T, address string) (next func() string) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return func() string {
		b := make([]byte, 4096)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, err := c.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
}

func notifier(t *testing.T, socket, usec, pid string) *Notifier {
	t.Helper()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", usec)
	t.Setenv("WATCHDOG_PID", pid)
	n, err := NewNotifier()
	require.NoError(t, err)
	return n
}

func TestNotify(t *testing.T) {
	addresses := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		addresses = append(addresses, fmt.Sprintf("@helixflow-test-%d", os.Getpid()))
	}
	for _, address := range addresses {
		next := manager(t, address)
		n := notifier(t, address, "", "")
		f := func(err error, want string) {
			t.Helper()
			require.NoError(t, err)
			assert.Equal(t, want, next())
		}
		f(n.Ready("serving"), "READY=1\nSTATUS=serving")
		f(n.Status("2 pools"), "STATUS=2 pools")
		f(n.Status("a\nMAINPID=1\x00\x7f"), "STATUS=a MAINPID=1  ")
		f(n.Status(strings.Repeat("é", 400)), "STATUS="+strings.Repeat("é", 256))
		f(n.Stopping("draining"), "STOPPING=1\nSTATUS=draining")
		require.NoError(t, n.Reloading())
		if runtime.GOOS == "linux" {
			assert.Regexp(t, `^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`, next())
		} else {
			assert.Equal(t, "RELOADING=1", next())
		}
	}
}

func TestNotifyNobody(t *testing.T) {
	f := func(n *Notifier) {
		t.Helper()
		require.NoError(t, n.Ready(""))
		require.NoError(t, n.Reloading())
		n.Watch(t.Context(), func() bool { panic("asked without a watchdog") })
	}
	f(nil)
	f(notifier(t, "", "1000", ""))
	gone := filepath.Join(t.TempDir(), "gone")
	require.ErrorContains(t, notifier(t, gone, "", "").Ready(""), "cannot notify the service manager: ")
}

func TestNotifierRefuses(t *testing.T) {
	f := func(socket, usec, want string) {
		t.Helper()
		t.Setenv("NOTIFY_SOCKET", socket)
		t.Setenv("WATCHDOG_USEC", usec)
		t.Setenv("WATCHDOG_PID", "")
		_, err := NewNotifier()
		require.ErrorContains(t, err, want)
	}
	f("vsock:2:1234", "", `cannot use NOTIFY_SOCKET "vsock:2:1234": it is neither a path nor an abstract socket`)
	for _, usec := range []string{"0", "-1", "soon", "99999999999999999999", "9223372036854775807"} {
		f("/run/x", usec, `cannot use WATCHDOG_USEC "`+usec+`": not a number of microseconds`)
	}
}

func TestWatchdog(t *testing.T) {
	f := func(usec, pid string, want time.Duration) {
		t.Helper()
		assert.Equal(t, want, notifier(t, "/run/x", usec, pid).watchdog)
	}
	f("", "", 0)
	f("30000000", "", 30*time.Second)
	f("30000000", fmt.Sprint(os.Getpid()), 30*time.Second)
	f("30000000", "1", 0) // another process's

	address := filepath.Join(t.TempDir(), "notify")
	next := manager(t, address)
	n := notifier(t, address, "20000", "")
	ctx, cancel := context.WithCancel(t.Context())
	asked, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		n.Watch(ctx, func() bool { asked++; return asked > 2 })
	}()
	assert.Equal(t, "WATCHDOG=1", next())
	assert.Equal(t, "WATCHDOG=1", next())
	cancel()
	<-ended
	assert.GreaterOrEqual(t, asked, 4, "while it is not alive it says nothing")
}
