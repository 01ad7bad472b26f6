//go:build integration && linux

// The built binary as a process, and what it says of itself.

package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/tests/outside"
)

const patience = 30 * time.Second

// binary is what TestMain was given or has built.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "helixflow-chaos")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(dir string) (err error) {
	if given := os.Getenv("HELIXFLOW_BIN"); given != "" {
		binary, err = filepath.Abs(given)
		return err
	}
	binary = filepath.Join(dir, "helixflow")
	cmd := exec.Command("go", "build", "-o", binary, "../../cmd/helixflow")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build helixflow: %w\n%s", err, out)
	}
	return nil
}

// router is a router in the background.
type router struct {
	t           *testing.T
	cmd         *exec.Cmd
	file        string // its configuration
	url, admin  string
	key, hash   string
	out         outside.Output
	exited      chan struct{} // closed when it has ended
	adminClient *http.Client
}

// startRouter serves what config makes of a key's hash, until the test ends.
func startRouter(t *testing.T, config func(hash string) string) *router {
	t.Helper()
	return startRouterWith(t, 0, config)
}

// startRouterWith is startRouter of a process that may open so many files; 0: as many
// as this one.
func startRouterWith(t *testing.T, files int, config func(hash string) string) *router {
	t.Helper()
	r := &router{
		t: t, file: filepath.Join(t.TempDir(), "helixflow.yaml"), exited: make(chan struct{}),
		adminClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: patience},
	}
	said, err := exec.Command(binary, "keys", "new", "--json").Output()
	require.NoError(t, err)
	var made struct{ Key, Hash, ID string }
	require.NoError(t, json.Unmarshal(said, &made))
	r.key, r.hash = made.Key, made.Hash
	r.configure(config(r.hash))
	clients, admin := freeAddress(t), freeAddress(t)
	r.url, r.admin = "http://"+clients, "http://"+admin
	r.cmd = exec.Command(binary, "serve", "-c", r.file, "--listen", clients, "--admin", admin)
	if files > 0 {
		r.cmd = exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, files), "sh"}, r.cmd.Args...)...)
	}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	require.NoError(t, r.cmd.Start())
	go func() { defer close(r.exited); _ = r.cmd.Wait() }() // ProcessState says how
	t.Cleanup(r.end)
	require.Eventually(t, func() bool {
		resp, err := r.adminClient.Get(r.admin + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	}, patience, 10*time.Millisecond, "it is not ready")
	return r
}

func (r *router) end() {
	_ = r.cmd.Process.Kill() // it may have ended
	<-r.exited
	r.adminClient.CloseIdleConnections()
	said := r.out.String()
	for _, word := range []string{"panic", "BUG: ", r.key} {
		if strings.Contains(said, word) {
			r.t.Errorf("it said %q", word)
		}
	}
	if r.t.Failed() {
		r.t.Logf("it said:\n%.20000s", said)
	}
}

// configure replaces the file, whole.
func (r *router) configure(text string) {
	next := r.file + ".next"
	require.NoError(r.t, os.WriteFile(next, []byte(text), 0o600))
	require.NoError(r.t, os.Rename(next, r.file))
}

// terminate asks it to end and returns how long that took.
func (r *router) terminate(limit time.Duration) time.Duration {
	begin := time.Now()
	require.NoError(r.t, r.cmd.Process.Signal(syscall.SIGTERM))
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-r.exited:
	case <-timer.C:
		require.Fail(r.t, "it does not end")
	}
	require.Zero(r.t, r.cmd.ProcessState.ExitCode())
	return time.Since(begin)
}

// ask returns what the admin listener answers.
func (r *router) ask(method, path string) (int, string) {
	req, err := http.NewRequest(method, r.admin+path, http.NoBody)
	require.NoError(r.t, err)
	resp, err := r.adminClient.Do(req)
	require.NoError(r.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, string(body)
}

// state is a backend's, as /-/backends has it.
func (r *router) state(address string) string {
	_, body := r.ask(http.MethodGet, "/-/backends")
	var list struct {
		Backends []struct{ URL, State string }
	}
	require.NoError(r.t, json.Unmarshal([]byte(body), &list))
	for _, b := range list.Backends {
		if strings.HasSuffix(b.URL, address) {
			return b.State
		}
	}
	return ""
}

// counters are all series that may only grow.
func (r *router) counters() map[string]float64 {
	_, body := r.ask(http.MethodGet, "/metrics")
	found := make(map[string]float64)
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok {
			series, value, ok = strings.Cut(strings.TrimSpace(line), " ")
		}
		name, _, _ := strings.Cut(series, "{")
		if !ok || !strings.HasPrefix(name, "helixflow_") || !grows(name) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		require.NoError(r.t, err, line)
		found[series] = n
	}
	return found
}

func grows(name string) bool {
	for _, end := range []string{"_total", "_count", "_sum", "_bucket"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// rss is the memory it has, in MiB.
func (r *router) rss() float64 { return r.memory("VmRSS:") }

// memory is a line of its /proc/self/status, in MiB.
func (r *router) memory(line string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	require.NoError(r.t, err)
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, line); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(r.t, err)
			return float64(kib) / 1024
		}
	}
	require.Fail(r.t, "no "+line)
	return 0
}

// freeAddress finds a port; that it stays free until used is likely, not certain.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := outside.Address()
	require.NoError(t, err)
	return address
}
