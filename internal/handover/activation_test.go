//go:build linux || darwin || freebsd

package handover

// Sockets as systemd hands them: descriptors from 3 on, in a real process.

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestActivated(t *testing.T) {
	var files []*os.File
	var addresses []string
	for range 3 {
		l := listen(t).(*net.TCPListener)
		f, err := l.File()
		require.NoError(t, err)
		defer func() { _ = f.Close() }()
		files, addresses = append(files, f), append(addresses, l.Addr().String())
	}
	text, err := os.Open("doc.go")
	require.NoError(t, err)
	defer func() { _ = text.Close() }()
	run := func(files []*os.File, env ...string) string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), append(env, roleVariable+"=activated", "GORACE=atexit_sleep_ms=0")...)
		cmd.ExtraFiles = files
		out, _ := cmd.CombinedOutput() // it prints what is wrong
		return strings.TrimSpace(string(out))
	}
	f := func(want string, n int, env ...string) {
		t.Helper()
		assert.Equal(t, want, run(files[:n], env...))
	}
	f("", 0)
	f("", 0, "LISTEN_FDS=0")
	f("", 1, "LISTEN_FDS=1", "LISTEN_PID=1")
	f("clients "+addresses[0], 1, "LISTEN_FDS=1")
	f("clients "+addresses[0], 1, "LISTEN_FDS=1", "LISTEN_FDNAMES=helixflow.socket")
	f("admin "+addresses[0]+"\nclients "+addresses[1], 2, "LISTEN_FDS=2", "LISTEN_FDNAMES=admin:clients")
	f("admin "+addresses[1]+"\nclients "+addresses[0], 2, "LISTEN_FDS=2", "LISTEN_FDNAMES=helixflow.socket:helixflow.socket")
	const prefix = "error: cannot take sockets from systemd: "
	f(prefix+`LISTEN_FDS is "two"`, 0, "LISTEN_FDS=two")
	f(prefix+`LISTEN_FDS is "100000"`, 0, "LISTEN_FDS=100000")
	f(prefix+`2 sockets have 1 names: LISTEN_FDNAMES is "clients"`, 2, "LISTEN_FDS=2", "LISTEN_FDNAMES=clients")
	f(prefix+`3 sockets without known names, and use for 2: ["clients" "admin"]`, 3, "LISTEN_FDS=3")

	got := run([]*os.File{files[0], text}, "LISTEN_FDS=2")
	assert.True(t, strings.HasPrefix(got, `error: cannot take socket 2 of 2 from systemd as "admin": not a socket: `), got)
}

func TestAssign(t *testing.T) {
	f := func(n int, labels, want string) {
		t.Helper()
		roles, err := assign(n, labels, []string{"clients", "admin"})
		got := strings.Join(roles, ":")
		if err != nil {
			got = err.Error()
		}
		assert.Equal(t, want, got)
	}
	f(1, "", "clients")
	f(2, "", "clients:admin")
	f(1, "admin", "admin")
	f(2, "unknown:unknown", "clients:admin")
	f(2, "clients:clients", `two sockets are named "clients"`)
	f(2, "clients:unknown", `some sockets have unknown names: "clients:unknown"; there are ["clients" "admin"]`)
	f(1, ":", `1 sockets have 2 names: LISTEN_FDNAMES is ":"`)
}

func TestFits(t *testing.T) {
	l := listen(t)
	port := l.Addr().(*net.TCPAddr).Port
	everywhere, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer func() { _ = everywhere.Close() }()
	wide := everywhere.Addr().(*net.TCPAddr).Port
	f := func(l net.Listener, address string, want bool) {
		t.Helper()
		assert.Equal(t, want, Fits(l, address), address)
	}
	f(l, fmt.Sprintf("127.0.0.1:%d", port), true)
	f(l, fmt.Sprintf("localhost:%d", port), true)
	f(l, "127.0.0.1:0", true)
	f(l, fmt.Sprintf("127.0.0.2:%d", port), false)
	f(l, fmt.Sprintf("127.0.0.1:%d", port^1), false)
	f(l, fmt.Sprintf(":%d", port), false)
	f(l, "nonsense", false)
	f(everywhere, fmt.Sprintf(":%d", wide), true)
	f(everywhere, fmt.Sprintf("0.0.0.0:%d", wide), true)
	f(everywhere, fmt.Sprintf("127.0.0.1:%d", wide), false)
}
