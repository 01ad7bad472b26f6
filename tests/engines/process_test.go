//go:build engines

// The processes: engines and the router before them.

package engines

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/tests/outside"
)

// patience bounds what should take a moment, and startUp what an engine needs
// until it answers: vLLM reads several hundred modules, three times over.
const (
	patience = 20 * time.Second
	startUp  = 10 * time.Minute
)

// process is a server in the background, with all that it starts itself. Not
// safe for concurrent use.
type process struct {
	t       *testing.T
	name    string
	args    []string
	env     []string
	address string
	cmd     *exec.Cmd
	said    *outside.Output
	exited  chan struct{} // closed when it has ended
}

// start runs it until the test ends. Whether it is ready is for the caller to find out.
func start(t *testing.T, name, address string, env, args []string) *process {
	p := &process{t: t, name: name, args: args, env: env, address: address, said: new(outside.Output)}
	p.launch()
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			said := p.said.String()
			t.Logf("%s said:\n%s", name, said[max(0, len(said)-4_000):])
		}
	})
	return p
}

func (p *process) launch() {
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that what it starts can be ended too
	require.NoError(p.t, p.cmd.Start(), p.name)
	cmd, exited := p.cmd, make(chan struct{})
	p.exited = exited
	go func() { defer close(exited); _ = cmd.Wait() }() // ProcessState says how
}

// end asks it to end, and kills what is left of it.
func (p *process) end() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
	}
	p.kill()
}

// kill ends it and all it started, at once.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // they may be gone
	<-p.exited
}

// killChild ends the one process that it started under this name, and only that.
func (p *process) killChild(t *testing.T, name string) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range files {
		var pid, parent int
		var comm, state string
		text, _ := os.ReadFile(file) // it may be gone
		if n, _ := fmt.Sscanf(string(text), "%d %s %s %d", &pid, &comm, &state, &parent); n == 4 && parent == p.cmd.Process.Pid && comm == "("+name+")" {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			return
		}
	}
	require.Fail(t, "no such child", name)
}

// signal tells all of it something.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// ready waits until path is answered with 200.
func (p *process) ready(path string, limit time.Duration) {
	web := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	deadline := time.Now().Add(limit)
	for {
		resp, err := web.Get("http://" + p.address + path)
		if err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK {
			return
		}
		select {
		case <-p.exited:
			require.Fail(p.t, p.name+" ended", p.said.String())
		case <-time.After(50 * time.Millisecond):
		}
		require.True(p.t, time.Now().Before(deadline), "%s is not ready after %v", p.name, limit)
	}
}

// url is the address of something it serves.
func (p *process) url(path string) string { return "http://" + p.address + path }

// startEngine runs an engine on a port of its own.
func startEngine(t *testing.T, name string, env []string, args func(host, port string) []string) *process {
	address := freeAddress(t)
	host, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	return start(t, name, address, env, args(host, port))
}

func freeAddress(t *testing.T) string {
	address, err := outside.Address()
	require.NoError(t, err)
	return address
}
