//go:build engines

// What the checks of one engine share: the engine, a router before it, and what
// each of the two says of itself.

package engines

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// routerConfig serves the engine as a user would. The bounds that a check waits
// for are short.
const routerConfig = `
server: {lame_duck: 0s, drain_timeout: 5s}
tenants:
  - name: team
    keys: [{name: main, hash: "${KEY_HASH}"}]
pools:
  - name: chat
    engine: ${ENGINE}
    health: ${HEALTH}
    slow_start: 0s
    backends: [{url: "${CHAT}"}]
  - name: embed
    engine: ${ENGINE}
    health: ${HEALTH}
    slow_start: 0s
    backends: [{url: "${EMBED}"}]
  - name: as-is
    engine: ${ENGINE}
    usage: as_is
    backends: [{url: "${CHAT}"}]
models:
  - name: llama
    targets: [{pool: chat, model: tiny}]
    timeouts: {first_token: 1m, idle: 30s}
  - name: impatient
    targets: [{pool: chat, model: tiny}]
    timeouts: {first_token: 1m, idle: 1s}
  - name: unknown
    targets: [{pool: chat, model: nobody-has-it}]
  - name: as-is
    targets: [{pool: as-is, model: tiny}]
  - name: embedder
    targets: [{pool: embed, model: tiny}]
`

const healthChecks = "{path: /health, every: 500ms, timeout: 500ms, unhealthy: 2, healthy: 1}"

// world is one engine and its router. Not safe for concurrent use.
type world struct {
	*engine
	bin         string
	python      string   // that has the engine
	model       string   // file
	chat, embed *process // of the engine; the same one where it does both
	router      *process
	admin       string // URL
	key         string
	web         http.Client
	asked       atomic.Int64 // requests sent to the router
}

func newWorld(t *testing.T, e *engine) *world {
	python, model := install(t, e.name), filepath.Join(t.TempDir(), "tiny."+e.form)
	w := &world{engine: e, bin: binary(t), python: python, model: model}
	command(t, python, "model.py", e.form, model)
	w.chat = startEngine(t, e.name, e.env, func(host, port string) []string { return e.chat(python, model, host, port) })
	w.embed = w.chat
	if e.embed != nil {
		w.embed = startEngine(t, e.name+" for embeddings", e.env, func(host, port string) []string { return e.embed(python, model, host, port) })
	}
	w.chat.ready("/health", startUp)
	w.embed.ready("/health", startUp)
	w.startRouter(t)
	return w
}

// startRouter serves routerConfig and waits until it is ready.
func (w *world) startRouter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "helixflow.yaml")
	text := strings.NewReplacer("${ENGINE}", w.name, "${HEALTH}", healthChecks).Replace(routerConfig)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	out, err := exec.Command(w.bin, "keys", "new", "--json").Output()
	require.NoError(t, err)
	var made struct{ Key, Hash string }
	require.NoError(t, json.Unmarshal(out, &made))
	w.key = made.Key
	address, admin := freeAddress(t), freeAddress(t)
	w.admin = "http://" + admin
	env := []string{"KEY_HASH=" + made.Hash, "CHAT=" + w.chat.url(""), "EMBED=" + w.embed.url("")}
	w.router = start(t, "router", address, env, []string{w.bin, "serve", "-c", file, "--listen", address, "--admin", admin})
	require.Eventually(t, func() bool {
		resp, err := w.web.Get(w.admin + "/readyz")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, patience, 20*time.Millisecond, "the router is not ready")
	t.Cleanup(func() {
		said := w.router.said.String()
		for _, word := range []string{"panic:", "BUG: ", w.key} {
			if strings.Contains(said, word) {
				t.Errorf("the router said %q", word)
			}
		}
	})
}

// state is a backend's, as the router sees it; reason says why.
func (w *world) state(t *testing.T, pool string) (state, reason string) {
	var list struct {
		Backends []struct{ Pool, State, Reason, Warning string }
	}
	require.NoError(t, json.Unmarshal([]byte(w.page(t, w.admin+"/-/backends")), &list))
	for _, b := range list.Backends {
		if b.Pool == pool {
			return b.State, b.Reason + b.Warning
		}
	}
	require.Fail(t, "no such pool", pool)
	return "", ""
}

// becomes waits until a pool's backend is in a state.
func (w *world) becomes(t *testing.T, pool, want string) {
	require.Eventually(t, func() bool {
		state, _ := w.state(t, pool)
		return state == want
	}, patience, 20*time.Millisecond, "%s does not become %s", pool, want)
}

// page is what an address answers to GET.
func (w *world) page(t *testing.T, url string) string {
	a := w.ask(t, http.MethodGet, url, "")
	require.Equal(t, http.StatusOK, a.status, "%s: %s", url, a.body)
	return a.body
}

// figure is the sum of a page's series of one name and these labels.
func (w *world) figure(t *testing.T, url, name string, labels ...string) float64 {
	sum, found := 0.0, false
	for _, m := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(w.page(t, url), -1) {
		fits := true
		for _, l := range labels {
			fits = fits && strings.Contains(m[1], l)
		}
		if !fits {
			continue
		}
		n, err := strconv.ParseFloat(m[2], 64)
		require.NoError(t, err, m[0])
		sum, found = sum+n, true
	}
	require.True(t, found || strings.HasPrefix(name, "helixflow_"), "%s has no %s", url, name)
	return sum
}

// engineHas is a figure of the engine that chats.
func (w *world) engineHas(t *testing.T, name string) float64 {
	return w.figure(t, w.chat.url("/metrics"), name)
}

// routerHas is a figure of the router.
func (w *world) routerHas(t *testing.T, name string, labels ...string) float64 {
	return w.figure(t, w.admin+"/metrics", name, labels...)
}

// settled waits until the router has done with all that it was asked: it counts
// a request only after the client has its last byte.
func (w *world) settled(t *testing.T) {
	require.Eventually(t, func() bool {
		return w.routerHas(t, "helixflow_requests_total") == float64(w.asked.Load())
	}, patience, 5*time.Millisecond, "%d requests are not done", w.asked.Load())
}

// counts notes what the router has counted of a model's tokens. The function it
// returns holds that there were so many since.
func (w *world) counts(t *testing.T, model, direction string) (since func(tokens int)) {
	count := func() float64 {
		w.settled(t)
		return w.routerHas(t, "helixflow_tokens_total", `model="`+model+`"`, `type="`+direction+`"`)
	}
	before := count()
	return func(tokens int) {
		t.Helper()
		assert.InDelta(t, tokens, count()-before, 0, "%s tokens of %s", direction, model)
	}
}
