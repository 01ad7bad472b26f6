//go:build integration && linux

package deploy

// What the tests share: the binary, and processes that say where they listen.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/tests/outside"
)

const (
	root     = "../.."
	patience = 30 * time.Second
)

// binary is what TestMain was given or has built.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) != "" {
		os.Exit(playService())
	}
	os.Exit(withBinary(m))
}

func withBinary(m *testing.M) int {
	if binary = os.Getenv("HELIXFLOW_BIN"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "helixflow-deploy")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "helixflow")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, root+"/cmd/helixflow")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build the binary: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is a service in the background.
type process struct {
	*exec.Cmd
	out, log outside.Output
	exited   chan struct{} // closed when it has ended
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.log
	require.NoError(t, cmd.Start())
	go func() { defer close(p.exited); _ = cmd.Wait() }() // ProcessState says how
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.exited
		if t.Failed() {
			t.Logf("%s said:\n%s%s", cmd.Path, p.out.String(), p.log.String())
		}
	})
	return p
}

// addresses are where a router serves, as its log says.
func (p *process) addresses(t *testing.T) (clients, admin string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for line := range strings.Lines(p.log.String()) {
			var entry struct{ Msg, Clients, Admin string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				clients, admin = entry.Clients, entry.Admin
			}
		}
		return clients != ""
	}, patience, 5*time.Millisecond, "it does not serve")
	return clients, admin
}

// stop asks p to end and wants exit code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.exited:
	case <-time.After(patience):
		require.Fail(t, "it does not end")
	}
	require.Zero(t, p.ProcessState.ExitCode())
}

// status is what a GET is answered with; 0 for no answer.
func status(url string) int {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// freeAddress finds a port; that it stays free until used is likely, not certain.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := outside.Address()
	require.NoError(t, err)
	return address
}

// run returns what a command prints, and its exit code.
func run(ctx context.Context, name string, args ...string) (string, int) {
	cmd := exec.CommandContext(ctx, name, args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}
