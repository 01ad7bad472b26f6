package admin_test

// A router that is not there: what the server is told, set by tests.

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/internal/build"
	"github.com/helixflow/helixflow/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef0123456789abcdef"

// world is the router as the admin server sees it. Change it with set.
type world struct {
	mu       sync.Mutex // guards the fields below
	state    string
	backends []admin.Backend
	status   admin.Status
	config   any
	metrics  string
	reload   func(context.Context) (admin.Reloaded, error)
	done     []string // what was changed, in order
	explain  func(admin.Question) (any, error)
}

func newWorld() *world {
	return &world{
		state: "ready", metrics: "up 1\n",
		reload:  func(context.Context) (admin.Reloaded, error) { return admin.Reloaded{Generation: 2}, nil },
		explain: func(q admin.Question) (any, error) { return q, nil },
		status:  admin.Status{Version: build.Version{Version: "v1.2.3"}, Started: time.Now().Add(-time.Hour)},
	}
}

func (w *world) set(change func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *world) did(what string) { w.set(func(w *world) { w.done = append(w.done, what) }) }

// took returns what was changed since it was asked last.
func (w *world) took() (done []string) {
	w.set(func(w *world) { done, w.done = w.done, nil })
	return done
}

func (w *world) Ready() (bool, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state == "ready", w.state
}

func (w *world) Discovery() []admin.Discovery { return nil }

func (w *world) List() []admin.Backend {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]admin.Backend(nil), w.backends...)
}

func (w *world) Drain(pool, url string) error   { return w.become(pool, url, admin.StateDraining) }
func (w *world) Undrain(pool, url string) error { return w.become(pool, url, admin.StateHealthy) }

func (w *world) become(pool, url string, s admin.State) error {
	w.did(pool + " " + url + " " + string(s))
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.backends {
		if b := &w.backends[i]; b.Pool == pool && b.URL == url {
			b.State = s
			return nil
		}
	}
	return admin.ErrNoBackend
}

// deps connects a server to w.
func (w *world) deps() admin.Deps {
	return admin.Deps{
		Readiness: w, Backends: w,
		Status: func() admin.Status { w.mu.Lock(); defer w.mu.Unlock(); return w.status },
		Config: func() any { w.mu.Lock(); defer w.mu.Unlock(); return w.config },
		Reload: func(ctx context.Context) (admin.Reloaded, error) {
			w.did("reload")
			w.mu.Lock()
			reload := w.reload
			w.mu.Unlock()
			return reload(ctx)
		},
		Explain:      w.explain,
		Limits:       func() any { return []string{"a scope"} },
		Cache:        func() any { return nil },
		PurgeCache:   func(admin.CacheSelection) (int, error) { w.did("purge"); return 0, nil },
		Sharing:      func() any { return nil },
		Drain:        func() { w.did("drain") },
		WriteMetrics: func(out io.Writer) { w.mu.Lock(); defer w.mu.Unlock(); _, _ = io.WriteString(out, w.metrics) },
		Log:          slog.New(slog.DiscardHandler),
	}
}

func (w *world) depsWithToken() admin.Deps {
	d := w.deps()
	d.Token = secret.New(token)
	return d
}

// start serves on a loopback port until the test ends and returns the address.
func start(t *testing.T, listen string, d admin.Deps) string {
	t.Helper()
	s, err := admin.New(listen, d)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	serve(t, s, l)
	return l.Addr().String()
}

func serve(t *testing.T, s *admin.Server, l net.Listener) {
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		assert.NoError(t, s.Shutdown(ctx))
		assert.NoError(t, <-done)
	})
}

// exchange sends raw bytes on a connection of its own and reads one answer.
func exchange(t *testing.T, addr, raw string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, raw)
	require.NoError(t, err)
	method, _, _ := strings.Cut(raw, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// ask sends a request without a body. The headers are "Name: value"; a Host
// among them stands for the address.
func ask(t *testing.T, addr, method, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	raw := method + " " + target + " HTTP/1.1\r\nConnection: close\r\n"
	host := "Host: " + addr + "\r\n"
	for _, h := range headers {
		raw += h + "\r\n"
		if strings.HasPrefix(h, "Host:") {
			host = ""
		}
	}
	return exchange(t, addr, raw+host+"\r\n")
}

// get asks with a Host header of its choice.
func get(t *testing.T, addr, path, host string) (*http.Response, string) {
	t.Helper()
	return ask(t, addr, "GET", path, "Host: "+host)
}

// assertRefusal checks that an answer is an error in JSON with a message.
func assertRefusal(t *testing.T, status int, resp *http.Response, body string) {
	t.Helper()
	assert.Equal(t, status, resp.StatusCode, body)
	assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	var got struct {
		Error struct{ Message string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &got), body)
	assert.NotEmpty(t, got.Error.Message)
}
