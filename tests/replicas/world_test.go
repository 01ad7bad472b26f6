//go:build integration && linux

package replicas

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testredis"
	"github.com/helixflow/helixflow/tests/outside"
)

const patience = 30 * time.Second

const terminate = syscall.SIGTERM

// binary is what TestMain was given or has built.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "helixflow-replicas")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir string) (err error) {
	if given := os.Getenv("HELIXFLOW_BIN"); given != "" {
		binary, err = filepath.Abs(given)
		return err
	}
	binary = filepath.Join(dir, "helixflow")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/helixflow").CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build helixflow: %w\n%s", err, out)
	}
	return nil
}

// world is routers, their Redis and the backend behind them.
type world struct {
	t       *testing.T
	redis   *testredis.Server
	backend *httptest.Server
	limits  string // of the tenant, as the file says it
	section string // redis, likewise; %s is the URL
	routers []*router
	client  *http.Client

	began  time.Time
	served atomic.Int64  // requests that reached the backend
	hold   chan struct{} // closed: the backend answers at once

	mu     sync.Mutex // guards the fields below
	passed []passage
}

// patiently has routers wait for a Redis that is only late: what they do then is
// tested where it is away.
const patiently = "timeout: 1s, connect_timeout: 10s"

// newWorld starts n routers for one tenant with these limits, and with what else
// is said of Redis: by default that there is time.
func newWorld(t *testing.T, n int, limits string, redis ...string) *world {
	t.Helper()
	return newWorldOn(testredis.Start(t), t, n, limits, redis...)
}

func newWorldOn(s *testredis.Server, t *testing.T, n int, limits string, redis ...string) *world {
	t.Helper()
	if len(redis) == 0 {
		redis = []string{patiently}
	}
	w := &world{
		t: t, began: time.Now(), redis: s, limits: limits,
		section: `redis: {` + strings.Join(append(redis, `url: "%s"`), ", ") + `}`, hold: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}, Timeout: patience},
	}
	close(w.hold)
	w.backend = httptest.NewServer(http.HandlerFunc(w.answer))
	t.Cleanup(w.backend.Close)
	t.Cleanup(w.client.CloseIdleConnections)
	for range n {
		w.routers = append(w.routers, w.start())
	}
	w.agree(n)
	return w
}

func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.pass(body)
	select {
	case <-w.hold:
	case <-r.Context().Done():
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(rw, `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":10,"total_tokens":11}}`)
}

// config is what the routers read.
func (w *world) config() string {
	return fmt.Sprintf(`
server: {lame_duck: 0s}
auth: {anonymous: all}
tenants: [{name: all, limits: %s}]
pools: [{name: p, health: off, ejection: off, backends: [{url: "%s"}]}]
models: [{name: m, price: {input: 1000, output: 1000}, targets: [{pool: p}]}]
`+w.section+"\n", w.limits, w.backend.URL, w.redis.URL())
}

// router is one process.
type router struct {
	w          *world
	cmd        *exec.Cmd
	file       string
	url, admin string
	out        outside.Output
	exited     chan struct{}
}

func (w *world) start() *router {
	t := w.t
	t.Helper()
	r := &router{w: w, file: filepath.Join(t.TempDir(), "helixflow.yaml"), exited: make(chan struct{})}
	require.NoError(t, os.WriteFile(r.file, []byte(w.config()), 0o600))
	clients, err := outside.Address()
	require.NoError(t, err)
	admin, err := outside.Address()
	require.NoError(t, err)
	r.url, r.admin = "http://"+clients+"/v1/chat/completions", "http://"+admin
	r.cmd = exec.Command(binary, "serve", "-c", r.file, "--listen", clients, "--admin", admin)
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	require.NoError(t, r.cmd.Start())
	go func() { defer close(r.exited); _ = r.cmd.Wait() }()
	t.Cleanup(func() {
		r.kill()
		said := r.out.String()
		if strings.Contains(said, "panic") || strings.Contains(said, "BUG: ") || strings.Contains(said, "hunter2") {
			t.Errorf("it said:\n%.20000s", said)
		}
	})
	require.Eventually(t, func() bool {
		resp, err := w.client.Get(r.admin + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	}, patience, 10*time.Millisecond, "it is not ready")
	return r
}

// kill ends it without a word to anybody.
func (r *router) kill() {
	_ = r.cmd.Process.Kill()
	<-r.exited
}

// reload puts what the world's configuration is now into force.
func (r *router) reload() {
	require.NoError(r.w.t, os.WriteFile(r.file, []byte(r.w.config()), 0o600))
	resp, err := r.w.client.Post(r.admin+"/-/reload", "", nil)
	require.NoError(r.w.t, err)
	_ = resp.Body.Close()
	require.Equal(r.w.t, http.StatusOK, resp.StatusCode)
}

// shared is what /-/limits says.
type shared struct {
	Sharing *struct {
		Redis, Breaker          string
		Replicas, Leases, Alone int64
	}
	Scopes []struct {
		Limits []struct {
			Limit  string
			Left   int64
			Shared *struct {
				Credit int64
				Alone  bool
			}
		}
	}
}

func (r *router) limits() (s shared) {
	resp, err := r.w.client.Get(r.admin + "/-/limits")
	require.NoError(r.w.t, err)
	defer func() { _ = resp.Body.Close() }()
	require.NoError(r.w.t, json.NewDecoder(resp.Body).Decode(&s))
	return s
}

// metric is the sum of a family's series.
func (r *router) metric(name string) (sum float64) {
	resp, err := r.w.client.Get(r.admin + "/metrics")
	require.NoError(r.w.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(r.w.t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name+" ") || strings.HasPrefix(line, name+"{") {
			fields := strings.Fields(line)
			value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			require.NoError(r.w.t, err)
			sum += value
		}
	}
	return sum
}

// agree waits until every router knows how many there are.
func (w *world) agree(n int) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		for _, r := range w.routers {
			if s := r.limits().Sharing; s == nil || s.Replicas != int64(n) {
				return false
			}
		}
		return true
	}, patience, 50*time.Millisecond, "they do not agree on how many they are")
}

// post sends one request and returns the status of the answer.
func (w *world) post(r *router) int {
	resp, err := w.client.Post(r.url, "application/json", strings.NewReader(w.request()))
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// load is clients that ask at a steady pace.
type load struct {
	statuses sync.Map // of int: *atomic.Int64
	slowest  atomic.Int64
	slow     atomic.Int64 // answers that took over 50 ms
	stopped  chan struct{}
	clients  sync.WaitGroup
}

// offer has clients ask every router so many times a second.
func (w *world) offer(perSecond float64) *load {
	l := &load{stopped: make(chan struct{})}
	const clients = 8 // of each router
	for _, r := range w.routers {
		for range clients {
			l.clients.Go(func() {
				tick := time.NewTicker(time.Duration(clients / perSecond * float64(time.Second)))
				defer tick.Stop()
				for {
					select {
					case <-l.stopped:
						return
					case <-tick.C:
					}
					began := time.Now()
					n, _ := l.statuses.LoadOrStore(w.post(r), new(atomic.Int64))
					n.(*atomic.Int64).Add(1)
					took := int64(time.Since(began))
					if took > int64(50*time.Millisecond) {
						l.slow.Add(1)
					}
					for {
						old := l.slowest.Load()
						if took <= old || l.slowest.CompareAndSwap(old, took) {
							break
						}
					}
				}
			})
		}
	}
	w.t.Cleanup(l.stop)
	return l
}

// stop ends the clients, each after its answer.
func (l *load) stop() {
	select {
	case <-l.stopped:
	default:
		close(l.stopped)
	}
	l.clients.Wait()
}

// count is how many answers had a status.
func (l *load) count(status int) int64 {
	if n, ok := l.statuses.Load(status); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

// all is how many answers there were.
func (l *load) all() (sum int64) {
	l.statuses.Range(func(_, n any) bool { sum += n.(*atomic.Int64).Load(); return true })
	return sum
}
