//go:build linux || darwin || freebsd

package handover

// What the tests share, and the processes they start: this binary again, in a
// role.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

const roleVariable = "HANDOVER_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		goleak.VerifyTestMain(m)
	case "router":
		os.Exit(exitCode(playRouter()))
	case "taker":
		os.Exit(exitCode(playTaker()))
	case "activated":
		os.Exit(exitCode(playActivated()))
	default:
		os.Exit(3)
	}
}

func exitCode(err error) int {
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

// playRouter serves its process id over HTTP, on listeners taken from the
// process before it if there is one, until they are given away or stdin ends.
func playRouter() error {
	path := os.Getenv("HANDOVER_TEST_PATH")
	var clients net.Listener
	taken, err := Take(path, 5*time.Second)
	switch {
	case errors.Is(err, ErrNobody):
		if clients, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		clients = taken.Listeners["clients"]
	}
	var server plain
	server.done.Go(func() { server.serve(clients) })
	if taken != nil {
		if err := taken.Commit(); err != nil {
			return err
		}
	}
	h, err := Serve(path, map[string]net.Listener{"clients": clients}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer h.Close()
	fmt.Println("ready", clients.Addr())
	orphaned := make(chan struct{})
	go func() { defer close(orphaned); _, _ = io.Copy(io.Discard, os.Stdin) }()
	select {
	case <-h.Given():
	case <-orphaned:
	}
	_ = clients.Close()
	server.done.Wait()
	return nil
}

// plain is a server that drains as one should: what was accepted is answered.
// (net/http's Shutdown drops a request whose header it reads meanwhile.)
type plain struct{ done sync.WaitGroup }

func (p *plain) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() {
			defer func() { _ = c.Close() }()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				body := strconv.Itoa(os.Getpid())
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
		})
	}
}

// playTaker takes and never commits.
func playTaker() error {
	if _, err := Take(os.Getenv("HANDOVER_TEST_PATH"), 5*time.Second); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// playActivated prints what systemd handed over.
func playActivated() error {
	if os.Getenv("LISTEN_PID") == "" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	listeners, err := Activated("clients", "admin")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(listeners)) {
		fmt.Println(name, listeners[name].Addr())
	}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "LISTEN_") {
			fmt.Println("left:", v)
		}
	}
	return nil
}

// process is this binary in a role.
type process struct {
	*exec.Cmd
	address string // what it said behind "ready"
	stdin   io.WriteCloser
	exited  chan struct{} // closed after err is set
	err     error
}

// start returns once the process is ready.
func start(t *testing.T, role, path string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), exited: make(chan struct{})}
	p.Env = append(os.Environ(), roleVariable+"="+role, "HANDOVER_TEST_PATH="+path,
		"GORACE=atexit_sleep_ms=0") // or each process of a race build takes a second to end
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	p.stdin, err = p.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	lines := bufio.NewReader(out)
	line, _ := lines.ReadString('\n')
	go func() {
		defer close(p.exited)
		_, _ = io.Copy(io.Discard, lines)
		p.err = p.Wait()
	}()
	t.Cleanup(p.kill)
	word, address, _ := strings.Cut(strings.TrimSpace(line), " ")
	require.Equal(t, "ready", word, "the %s said %q", role, line)
	p.address = address
	return p
}

func (p *process) kill() {
	_ = p.Process.Kill() // it may have ended
	<-p.exited
}

// descriptors is how many this process has open. The directory's own is one.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(list)
}

// unchanged fails the test when do leaves descriptors open.
func unchanged(t *testing.T, do func()) {
	t.Helper()
	before := descriptors(t)
	do()
	require.Eventually(t, func() bool { return descriptors(t) <= before }, 20*time.Second, 5*time.Millisecond, "descriptors were left open")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// offer serves one listener, "clients", on a socket.
func offer(t *testing.T, path string) (*Handler, net.Listener) {
	t.Helper()
	l := listen(t)
	h, err := Serve(path, map[string]net.Listener{"clients": l}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(h.Close)
	return h, l
}
