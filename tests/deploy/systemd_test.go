//go:build integration && linux

package deploy

// The units, as systemd reads them, and a service as systemd runs it.

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// installed copies the units to a directory, with our binary in the place of the
// one they start, and edited.
func installed(t *testing.T, edit func(string) string) (service, socket string) {
	t.Helper()
	dir := t.TempDir()
	place := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, "deploy/systemd", name))
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		unit := strings.ReplaceAll(edit(string(text)), "/usr/local/bin/helixflow", binary)
		require.NoError(t, os.WriteFile(path, []byte(unit), 0o600))
		return path
	}
	return place("helixflow.service"), place("helixflow.socket")
}

func TestUnits(t *testing.T) {
	f := func(old, replacement, want string) {
		t.Helper()
		service, socket := installed(t, func(s string) string { return strings.ReplaceAll(s, old, replacement) })
		out, code := run(t.Context(), "systemd-analyze", "verify", service, socket)
		if want == "" {
			assert.Zero(t, code)
			assert.Empty(t, out)
			return
		}
		assert.Contains(t, out, want)
	}
	f("", "", "")
	f("WatchdogSec=", "WachdogSec=", "'WachdogSec' in section")
	f("ListenStream=8080", "ListenStream=80800", "Failed to parse address value")
}

// As the unit is confined, says systemd, on a scale from 0 to 10.
func TestUnitIsConfined(t *testing.T) {
	service, _ := installed(t, func(s string) string { return s })
	out, code := run(t.Context(), "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", service)
	require.Zero(t, code, "exposed to more than 2.0:\n%s", out)
}

// The unit starts and reloads what the binary understands.
func TestUnitCommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy/systemd/helixflow.service"))
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/helixflow serve -c \S+$`).FindString(string(text))
	require.NotEmpty(t, line)
	out, code := run(t.Context(), binary, "serve", "-c", filepath.Join(t.TempDir(), "missing.yaml"))
	require.Equal(t, 1, code, "a problem, not a usage error: %s", out)
}

// subject is a service under test.
type subject struct {
	name    string
	command []string
	env     string // NAME=value
}

// subjects are the binary and, smaller, the service of this package.
func subjects() []subject {
	return []subject{
		{"small", []string{os.Args[0]}, roleVariable + "=service"},
		{"helixflow", []string{
			binary, "serve", "-c", filepath.Join(root, "configs/quickstart.yaml"),
			"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		}, "HOME=/"},
	}
}

// systemd opens the sockets, starts the service at the first connection, and
// that connection is answered.
func TestSocketActivation(t *testing.T) {
	f := func(s subject, first, second int, flags ...string) {
		t.Helper()
		a, b := freeAddress(t), freeAddress(t)
		args := append([]string{"-l", a, "-l", b, "-E", s.env}, flags...)
		p := start(t, exec.Command("systemd-socket-activate", append(args, s.command...)...))
		require.Eventually(t, func() bool { return strings.Count(p.log.String(), "Listening on") == 2 }, patience, 5*time.Millisecond)
		assert.Equal(t, first, status("http://"+a+"/healthz"), "%s %v", s.name, flags)
		assert.Equal(t, second, status("http://"+b+"/healthz"), "%s %v", s.name, flags)
		p.stop(t)
	}
	for _, s := range subjects() {
		clients := 401
		if s.name == "helixflow" {
			clients = 404 // no such path there
		}
		f(s, clients, 200)
		f(s, clients, 200, "--fdname=clients:admin")
		f(s, 200, clients, "--fdname=admin:clients")
	}
	bad := subjects()[0]
	out, code := activateAtOnce(t, bad, "--fdname=clients:clients")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, `cannot take sockets from systemd: two sockets are named "clients"`)
}

// activateAtOnce connects to make the service start, and waits for its end.
func activateAtOnce(t *testing.T, s subject, flags ...string) (string, int) {
	t.Helper()
	a, b := freeAddress(t), freeAddress(t)
	args := append([]string{"-l", a, "-l", b, "-E", s.env}, flags...)
	p := start(t, exec.Command("systemd-socket-activate", append(args, s.command...)...))
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", a)
		if err == nil {
			_ = c.Close()
		}
		select {
		case <-p.exited:
			return true
		default:
			return false
		}
	}, patience, 5*time.Millisecond)
	return p.log.String(), p.ProcessState.ExitCode()
}

// What Type=notify, ExecReload= and WatchdogSec= of the unit rely on.
func TestNotifications(t *testing.T) {
	for _, s := range subjects() {
		address := filepath.Join(t.TempDir(), "notify")
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		beats := 0
		until := func(want string) {
			t.Helper()
			b := make([]byte, 4096)
			for {
				require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
				n, err := c.Read(b)
				require.NoError(t, err, "%s: waiting for %s", s.name, want)
				switch said := string(b[:n]); {
				case strings.HasPrefix(said, want):
					return
				case said == "WATCHDOG=1":
					beats++
				case !strings.HasPrefix(said, "STATUS="):
					require.Fail(t, "unexpected", "%s: %q instead of %s", s.name, said, want)
				}
			}
		}
		cmd := exec.Command(s.command[0], s.command[1:]...)
		cmd.Env = append(os.Environ(), s.env, "NOTIFY_SOCKET="+address, "WATCHDOG_USEC=100000")
		p := start(t, cmd)
		until("READY=1\n")
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
		until("RELOADING=1\nMONOTONIC_USEC=")
		until("READY=1\n")
		for beats < 3 {
			before := beats
			require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
			b := make([]byte, 64)
			n, err := c.Read(b)
			require.NoError(t, err)
			if string(b[:n]) == "WATCHDOG=1" {
				beats = before + 1
			}
		}
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		until("STOPPING=1\n")
		<-p.exited
		require.Zero(t, p.ProcessState.ExitCode(), fmt.Sprint(s.name))
	}
}
