//go:build integration

// What an operator sees, and goes on seeing.

package adminpage

import (
	"bytes"
	"context"
	"image/png"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/internal/build"
	"github.com/helixflow/helixflow/internal/secret"
)

const (
	token   = "0123456789abcdef0123456789abcdef"
	hostile = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`
)

// fake is a router that is not there.
type fake struct {
	mu       sync.Mutex // guards the fields below
	state    string
	backends []admin.Backend
	status   admin.Status
}

func (f *fake) set(change func(f *fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fake) Ready() (bool, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == "ready", f.state
}

func (f *fake) Discovery() []admin.Discovery { return nil }

func (f *fake) List() []admin.Backend {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]admin.Backend(nil), f.backends...)
}

func (f *fake) Status() admin.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fake) Drain(string, string) error   { return admin.ErrNoBackend }
func (f *fake) Undrain(string, string) error { return admin.ErrNoBackend }

// newFake is a router in some trouble.
func newFake() *fake {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	return &fake{
		state: "ready",
		backends: []admin.Backend{
			{Pool: "llama-70b", URL: "http://10.0.0.11:8000", State: admin.StateHealthy, Since: ago(26 * time.Hour), InFlight: 23, MaxInFlight: 64, Weight: 2},
			{Pool: "llama-70b", URL: "http://10.0.0.12:8000", State: admin.StateHealthy, Since: ago(26 * time.Hour), InFlight: 61, MaxInFlight: 64, Weight: 2, Ejections: 1, LastError: "no first token within 60s", LastErrorAt: ago(3 * time.Hour)},
			{Pool: "llama-70b", URL: "http://10.0.0.13:8000", State: admin.StateEjected, Reason: "5 failures in a row: connection refused", BackAt: now.Add(42 * time.Second), Since: ago(48 * time.Second), MaxInFlight: 64, Weight: 1, Ejections: 3, LastError: "connect: connection refused", LastErrorAt: ago(time.Second)},
			{Pool: "llama-70b", URL: "http://10.0.0.14:8000", State: admin.StateSlowStart, Reason: "back 12 s ago, at 40% of its share", Since: ago(12 * time.Second), InFlight: 9, MaxInFlight: 64, Weight: 1, Ejections: 1, LastError: "GET /health answered 503", LastErrorAt: ago(20 * time.Second)},
			{Pool: "embeddings", URL: "http://10.0.1.21:8080/tei", State: admin.StateDraining, Reason: "drained by an operator", Since: ago(4 * time.Minute), InFlight: 2, Weight: 1},
			{Pool: "embeddings", URL: "http://10.0.1.22:8080/tei", State: admin.StateHealthy, Since: ago(9 * 24 * time.Hour), InFlight: 5, Weight: 1, Warning: "its certificate runs out on 2026-12-01"},
			{Pool: "openai", URL: "https://api.example.com", State: admin.StateUnhealthy, Reason: "3 health checks in a row failed: x509: certificate has expired", Since: ago(7 * time.Minute), Weight: 1, LastError: "x509: certificate has expired or is not yet valid", LastErrorAt: ago(2 * time.Second)},
		},
		status: admin.Status{
			Version: build.Version{Version: "v0.2.0", Commit: "4f1c0d2a9b7e", Go: "go1.26.0", System: "linux/amd64"},
			Started: ago(9*24*time.Hour + 5*time.Hour),
			Config: admin.ConfigStatus{
				File: "/etc/helixflow/helixflow.yaml", Generation: 17, Loaded: ago(3 * time.Hour),
				LastReload: admin.LastReload{At: ago(90 * time.Second), Error: "/etc/helixflow/helixflow.yaml:41:5: pools[1].backend: unknown key; did you mean backends?"},
			},
			Models: []admin.Model{
				{Name: "llama-3.1-70b", Requests: 1284913, Failed: 212, InputTokens: 901234567, OutputTokens: 211234567},
				{Name: "bge-m3", Requests: 88120, InputTokens: 40123456},
				{Name: "other", Requests: 14, Failed: 14},
			},
			Errors: []admin.Event{
				{At: ago(time.Second), Source: "http://10.0.0.13:8000", Text: "cannot connect: connection refused", Count: 131},
				{At: ago(2 * time.Second), Source: "https://api.example.com", Text: "TLS: x509: certificate has expired or is not yet valid", Count: 84},
				{At: ago(90 * time.Second), Source: "reload", Text: "helixflow.yaml:41:5: pools[1].backend: unknown key; did you mean backends?", Count: 1},
			},
		},
	}
}

// serve returns the page's address, and what ends its server.
func (f *fake) serve(t *testing.T, token string) (addr string, stop func()) {
	s, err := admin.New("127.0.0.1:0", admin.Deps{
		Readiness: f, Backends: f, Status: f.Status,
		Config:       func() any { return nil },
		Reload:       func(context.Context) (admin.Reloaded, error) { return admin.Reloaded{}, admin.ErrNoFile },
		Drain:        func() {},
		WriteMetrics: func(io.Writer) {},
		Token:        secret.New(token),
		Log:          slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, s.Shutdown(ctx))
		assert.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func TestStatusPage(t *testing.T) {
	b := newBrowser(t)
	t.Run("shows", func(t *testing.T) { shows(t, b) })
	t.Run("refreshes", func(t *testing.T) { refreshes(t, b) })
	t.Run("says that the router is silent", func(t *testing.T) { silence(t, b) })
	t.Run("refreshes without scripts", func(t *testing.T) { withoutScripts(t, b) })
	t.Run("asks for the token", func(t *testing.T) { withToken(t, b) })
	t.Run("runs nothing of others", func(t *testing.T) { runsNothing(t, b) })
	t.Run("is dark where that is wanted", func(t *testing.T) { colours(t, b) })
	t.Run("fits a phone", func(t *testing.T) { phone(t, b) })
}

func shows(t *testing.T, b *browser) {
	f := newFake()
	addr, _ := f.serve(t, "")
	p := b.open(t, 1280, 800, "light")
	p.visit("http://" + addr + "/")
	p.reads("llama-70b")
	text := p.text()
	for _, backend := range f.List() {
		for _, want := range []string{backend.Pool, backend.URL, strings.ReplaceAll(string(backend.State), "_", " "), backend.Reason, backend.Warning, backend.LastError} {
			assert.Contains(t, text, want)
		}
	}
	for _, want := range []string{"v0.2.0", "9 d 5 h", "ready", "refused", "41:5: pools[1].backend: unknown key", "1,284,913", "×131", "s at the earliest", "No backend of openai takes requests"} {
		assert.Contains(t, text, want)
	}
	value := func(script, want string) {
		t.Helper()
		assert.Equal(t, want, p.eval(script), script)
	}
	value("document.getElementById('generation').textContent", "17")
	value("document.getElementById('in-flight').textContent", "100")
	value("document.querySelectorAll('.backends tbody tr').length", "7")
	value("document.title", "4/7 · HelixFlow")
	// The bars are drawn, as long as the load is high.
	value("[...document.querySelectorAll('.bar')].slice(0, 2).map(b => Math.round(b.firstChild.getBoundingClientRect().width * 100 / b.getBoundingClientRect().width)).join()", "35,95")
	value("document.styleSheets.length", "1")
	assert.Empty(t, p.complaints(), "the page keeps to its own policy")
	p.shot("light")
}

// refreshes: what changed is there without anybody doing anything, and where
// the reader is on the page does not change.
func refreshes(t *testing.T, b *browser) {
	f := newFake()
	addr, _ := f.serve(t, "")
	p := b.open(t, 1280, 500, "light")
	p.visit("http://" + addr + "/")
	p.reads("llama-70b")
	p.eval("window.mark = 1; window.scrollTo(0, 300)")
	f.set(func(f *fake) {
		f.backends[2].State, f.backends[2].Reason = admin.StateHealthy, "two good probes"
		f.status.Config.Generation = 18
		f.state = "draining"
	})
	p.reads("two good probes")
	assert.Equal(t, "18", p.eval("document.getElementById('generation').textContent"))
	assert.Equal(t, "draining", p.eval("document.getElementById('readiness').textContent"))
	assert.Equal(t, "draining · HelixFlow", p.eval("document.title"))
	assert.Equal(t, "1", p.eval("window.mark"), "it is still the same document")
	assert.Equal(t, "300", p.eval("window.scrollY"))
	f.set(func(f *fake) { f.status.Config.Generation = 19 })
	require.Eventually(t, func() bool { return p.eval("document.getElementById('generation').textContent") == "19" }, patience, look)
	assert.Empty(t, p.complaints())
}

func silence(t *testing.T, b *browser) {
	addr, stop := newFake().serve(t, "")
	p := b.open(t, 1280, 800, "light")
	p.visit("http://" + addr + "/")
	p.reads("llama-70b")
	assert.NotContains(t, p.text(), "does not answer")
	stop()
	p.reads("The router does not answer")
	assert.Regexp(t, `it said last, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.`, p.text())
	assert.Contains(t, p.text(), "llama-70b", "what it said last stays")
	p.shot("silent")
}

func withoutScripts(t *testing.T, b *browser) {
	f := newFake()
	addr, _ := f.serve(t, "")
	p := b.open(t, 1280, 800, "light")
	p.do("Emulation.setScriptExecutionDisabled", `{"value":true}`)
	p.visit("http://" + addr + "/")
	p.reads("5 failures in a row")
	f.set(func(f *fake) { f.backends[2].Reason = "changed meanwhile" })
	p.reads("changed meanwhile")
	assert.Empty(t, p.complaints())
}

func withToken(t *testing.T, b *browser) {
	f := newFake()
	addr, _ := f.serve(t, token)
	p := b.open(t, 1280, 800, "light")
	p.visit("http://" + addr + "/")
	p.reads("")
	assert.NotContains(t, p.text(), "llama-70b")
	p.visit("http://operator:" + token + "@" + addr + "/")
	p.reads("llama-70b")
	f.set(func(f *fake) { f.backends[2].Reason = "changed meanwhile" })
	p.reads("changed meanwhile")
	assert.Equal(t, "1", p.eval("document.styleSheets.length"))
}

func runsNothing(t *testing.T, b *browser) {
	f := newFake()
	f.backends[0].URL, f.backends[0].Reason, f.backends[1].Pool, f.backends[2].LastError = hostile, hostile, hostile, hostile
	f.status.Models[0].Name, f.status.Errors[0].Text, f.status.Config.LastReload.Error = hostile, hostile, hostile
	addr, _ := f.serve(t, "")
	p := b.open(t, 1280, 800, "light")
	p.visit("http://" + addr + "/")
	p.reads(hostile)
	f.set(func(f *fake) { f.status.Config.Generation = 18 }) // and once more through the script's parser
	require.Eventually(t, func() bool { return p.eval("document.getElementById('generation').textContent") == "18" }, patience, look)
	assert.Equal(t, "undefined", p.eval("typeof window.pwned"))
	assert.GreaterOrEqual(t, strings.Count(p.text(), hostile), 7)
	assert.Empty(t, p.complaints())

	// The policy holds even if something got through.
	p.eval(`document.body.insertAdjacentHTML("beforeend", '<img src="/-/none" onerror="window.pwned=1">')`)
	require.Eventually(t, func() bool { return strings.Contains(strings.Join(p.complaints(), " "), "Content Security Policy") }, patience, look)
	assert.Equal(t, "undefined", p.eval("typeof window.pwned"))
}

func colours(t *testing.T, b *browser) {
	addr, _ := newFake().serve(t, "")
	corner := func(scheme string) uint32 {
		p := b.open(t, 1280, 800, scheme)
		p.visit("http://" + addr + "/")
		p.reads("llama-70b")
		picture, err := png.Decode(bytes.NewReader(p.shot(scheme)))
		require.NoError(t, err)
		r, g, b, _ := picture.At(2, 2).RGBA()
		return (r + g + b) / 3 >> 8
	}
	assert.Greater(t, corner("light"), uint32(220))
	assert.Less(t, corner("dark"), uint32(40))
}

func phone(t *testing.T, b *browser) {
	f := newFake()
	f.backends[0].Pool = "llama-70b" + strings.Repeat("-long", 40)
	f.status.Errors[0].Text = strings.Repeat("x", 500)
	addr, _ := f.serve(t, "")
	p := b.open(t, 390, 844, "light")
	p.visit("http://" + addr + "/")
	p.reads("llama-70b")
	assert.Equal(t, "true", p.eval("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), "only tables scroll sideways")
	p.shot("phone")
}
