//go:build integration

// What one client talks to: a router, and behind it a simulated engine and a
// backend that can fail.

package compat

import (
	"encoding/json"
	"net/http"
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

	"github.com/helixflow/helixflow/tests/fakellm"
	"github.com/helixflow/helixflow/tests/outside"
)

// routerConfig has short timeouts where a check waits for them, and a body limit
// that is quick to exceed.
const routerConfig = `
server:
  max_body: 1MiB
  lame_duck: 0s
  drain_timeout: 5s
tenants:
  - name: everything
    keys: [{name: main, hash: "${KEY_HASH}"}]
  - name: small
    models: [fake]
    keys: [{name: main, hash: "${SMALL_HASH}"}]
pools:
  - name: sim
    engine: sim
    backends: [{url: "${SIM}"}]
  - name: limited # its backend rests after it named a time to wait
    engine: sim
    backends: [{url: "${SIM}"}]
  - name: fake
    backends: [{url: "${FAKE}"}]
  - name: sockets
    backends: [{url: "${SOCKETS}"}]
models:
  - name: llama-3.1-8b
    aliases: [gpt-4o-mini]
    targets: [{pool: sim, model: meta-llama/Llama-3.1-8B-Instruct}]
  - name: org/model:7b
    targets: [{pool: sim}]
  - name: text-embedding-3-small
    targets: [{pool: sim}]
  - name: omni-moderation-latest
    targets: [{pool: sim}]
  - name: limited
    targets: [{pool: limited}]
  - name: socket
    targets: [{pool: sockets}]
  - name: fake
    targets: [{pool: fake}]
    timeouts: {first_token: 3s, idle: 3s}
passthrough: [{prefix: /v1/realtime}, {prefix: /v1/responses}] # their websockets
`

// world is one client's router and backends. Not safe for concurrent use.
type world struct {
	t          *testing.T
	bin        string
	router     string // address
	sim        string // base URL without /v1
	fake       *fakellm.Server
	sockets    *socketBackend
	key, small string
	requestIDs []string // of all answers
}

func newWorld(t *testing.T, bin string) *world {
	w := &world{t: t, bin: bin}
	w.startSim()
	var err error
	w.fake, err = fakellm.Start(fakellm.Options{})
	require.NoError(t, err)
	t.Cleanup(w.fake.Close)
	w.sockets = startSockets(t)
	w.startRouter("FAKE=http://"+w.fake.Addr(), "SOCKETS="+w.sockets.URL)
	return w
}

// plainEnv is the environment of a client's program: the caller's without what
// clients read themselves, and without proxies.
func plainEnv() []string {
	env := []string{"NO_PROXY=127.0.0.1"}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "OPENAI_") && !strings.Contains(strings.ToLower(e), "_proxy=") {
			env = append(env, e)
		}
	}
	return env
}

// startSim runs a simulated engine on a port of its own choice.
func (w *world) startSim() {
	cmd := exec.Command(w.bin, "sim", "--listen", "127.0.0.1:0", "--json")
	stdout, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	w.start("sim", cmd)
	var said struct {
		BaseURL string `json:"base_url"`
	}
	require.NoError(w.t, json.NewDecoder(stdout).Decode(&said))
	w.sim = strings.TrimSuffix(said.BaseURL, "/v1")
}

// startRouter serves routerConfig.
func (w *world) startRouter(env ...string) {
	var hash, smallHash string
	w.key, hash = w.newKey()
	w.small, smallHash = w.newKey()
	w.router, _ = w.serve(routerConfig, append(env, "KEY_HASH="+hash, "SMALL_HASH="+smallHash, "SIM="+w.sim)...)
}

// serve runs a router on ports of its own choice and waits until it is ready.
func (w *world) serve(config string, env ...string) (router, admin string) {
	file := filepath.Join(w.t.TempDir(), "router.yaml")
	require.NoError(w.t, os.WriteFile(file, []byte(config), 0o600))
	cmd := exec.Command(w.bin, "serve", "-c", file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	cmd.Env = env
	said := w.start("router", cmd)
	web := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(w.t, func() bool {
		addresses := serving.FindStringSubmatch(said.String())
		if addresses == nil {
			return false
		}
		router, admin = addresses[1], addresses[2]
		resp, err := web.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 20*time.Second, 10*time.Millisecond, "the router is not ready")
	return router, admin
}

// serving is the line in which the router says where it listens.
var serving = regexp.MustCompile(`"msg":"serving","clients":"([^"]+)","admin":"([^"]+)"`)

func (w *world) newKey() (key, hash string) {
	out, err := exec.Command(w.bin, "keys", "new", "--json").Output()
	require.NoError(w.t, err)
	var k struct {
		Key  string `json:"key"`
		Hash string `json:"hash"`
	}
	require.NoError(w.t, json.Unmarshal(out, &k))
	return k.Key, k.Hash
}

// start runs a process until the test ends, and returns what it prints. It must
// never panic, and must end well when asked to.
func (w *world) start(name string, cmd *exec.Cmd) (stderr *outside.Output) {
	stderr = new(outside.Output)
	cmd.Stderr = stderr
	require.NoError(w.t, cmd.Start())
	w.t.Cleanup(func() {
		assert.NoError(w.t, cmd.Process.Signal(syscall.SIGTERM))
		timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		assert.NoError(w.t, cmd.Wait(), "%s did not end well", name)
		said := stderr.String()
		for _, word := range []string{"panic:", "goroutine 1 [", "BUG: ", w.key, w.small} {
			assert.False(w.t, word != "" && strings.Contains(said, word), "%s printed a panic or a key:\n%s", name, said)
		}
		if w.t.Failed() {
			w.t.Logf("%s on stderr:\n%s", name, said)
		}
	})
	return stderr
}
