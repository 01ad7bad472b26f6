package admin_test

// The status page as text; tests/admin_page looks at it in a browser.

import (
	"html"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/helixflow/helixflow/admin"
	"github.com/helixflow/helixflow/internal/build"
)

func busyWorld() *world {
	w := newWorld()
	now := time.Now()
	w.backends = []admin.Backend{
		{Pool: "llama", URL: "http://10.0.0.11:8000", State: admin.StateHealthy, Since: now.Add(-26 * time.Hour), InFlight: 60, MaxInFlight: 64, Weight: 2},
		{Pool: "llama", URL: "http://10.0.0.12:8000", State: admin.StateEjected, Reason: "5 failures in a row", Since: now.Add(-90 * time.Second), Weight: 1, Ejections: 3, LastError: "connection refused", LastErrorAt: now},
		{Pool: "openai", URL: "https://api.example.com", State: admin.StateDraining, InFlight: 5, Weight: 1, Warning: "its certificate runs out on 2026-12-01", BackAt: now.Add(12 * time.Hour)},
		{Pool: "openai", URL: "sim:odd", State: "some_new_word"},
	}
	w.status = admin.Status{
		Version: build.Version{Version: "v1.2.3", Commit: "abc", Go: "go1.26.0", System: "linux/amd64"},
		Started: now.Add(-50 * time.Hour),
		Config: admin.ConfigStatus{
			File: "router.yaml", Generation: 7, Loaded: now.Add(-time.Hour),
			LastReload: admin.LastReload{At: now.Add(-time.Minute), Error: "router.yaml:3:1: pools: is missing"},
		},
		Models: []admin.Model{{Name: "llama-3.1-70b", Requests: 1234567, Failed: 12, InputTokens: 5, OutputTokens: 999}},
		Errors: []admin.Event{{At: now, Source: "http://10.0.0.12:8000", Text: "connection refused", Count: 9}},
	}
	return w
}

func TestPage(t *testing.T) {
	w := busyWorld()
	addr := start(t, "127.0.0.1:0", w.deps())
	resp, body := ask(t, addr, "GET", "/")
	require.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
	policy := resp.Header.Get("Content-Security-Policy")
	assert.Contains(t, policy, "default-src 'none'")
	assert.Contains(t, policy, "style-src 'self'")
	assert.NotContains(t, policy, "unsafe")
	for _, want := range []string{
		"http://10.0.0.12:8000", "5 failures in a row", "ejected", "for 1 min", "for 1 d 2 h", "in force <time", "some new word", "60 <span class=\"of\">of 64",
		"v1.2.3", "2 d 2 h", "The last reload was refused", "router.yaml:3:1", "its certificate runs out", "back in 12 h at the earliest", "1,234,567", "connection refused", "×9",
		"No backend of openai takes requests", `http-equiv="refresh"`, `<rect width="93"`,
	} {
		assert.Contains(t, body, want)
	}
	for _, forbidden := range []string{" style=", " onload=", "<style", "javascript:", "ZgotmplZ"} {
		assert.NotContains(t, body, forbidden)
	}

	// A router that has nothing yet.
	empty := newWorld()
	empty.status, empty.state = admin.Status{}, "starting"
	resp, body = ask(t, start(t, "127.0.0.1:0", empty.deps()), "GET", "/")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Contains(t, body, "There are no backends.")
	assert.Contains(t, body, "starting")
}

func TestPageEscapes(t *testing.T) {
	hostile := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `{{.Secret}}`, `</pre></style></title><svg/onload=x>`,
		"javascript:alert(1)", "&lt;b&gt;", "a\x00b", "\x1b[31mred\x1b[0m", "\u202egnp.exe", "line\r\nSet-Cookie: a=b", "\xff\xfe", strings.Repeat("long ", 1000),
	}
	w := busyWorld()
	addr := start(t, "127.0.0.1:0", w.deps())
	_, clean := ask(t, addr, "GET", "/")
	for _, h := range hostile {
		w.set(func(w *world) {
			b := &w.backends[1]
			b.Pool, b.URL, b.State, b.Reason, b.Warning, b.LastError = h, h, admin.State(h), h, h, h
			w.backends[0].Pool = h
			w.status.Version = build.Version{Version: h[:min(len(h), 99)], Commit: "c"}
			w.status.Config.File, w.status.Config.LastReload.Error = h, h
			w.status.Models[0].Name = h
			w.status.Errors[0].Source, w.status.Errors[0].Text = h, h
			w.state = h[:min(len(h), 99)]
		})
		resp, body := ask(t, addr, "GET", "/")
		require.Equal(t, 200, resp.StatusCode)
		for _, tag := range []string{"<script", "<img", "<svg", "<pre", "<title", "<b>"} {
			assert.Equal(t, strings.Count(clean, tag), strings.Count(body, tag), "%q makes its own %s", h, tag)
		}
		for _, r := range html.UnescapeString(body) {
			assert.True(t, r == '\n' || r >= ' ' && r != 0x7f && r != '\u202e', "%q brings %q", h, r)
		}
		assert.Less(t, len(body), len(clean)+20*700)
		assert.Empty(t, resp.Header.Get("Set-Cookie"))

		_, body = ask(t, addr, "GET", "/-/status")
		assert.True(t, gjson.Valid(body), "%q", h)
		assert.NotContains(t, body, "<", "for whoever puts it into a page")
		assert.NotContains(t, body, "\x1b")
	}
}

func TestStatus(t *testing.T) {
	w := busyWorld()
	addr := start(t, "127.0.0.1:0", w.deps())
	for _, path := range []string{"/-/", "/-/status"} {
		resp, body := ask(t, addr, "GET", path)
		require.Equal(t, 200, resp.StatusCode)
		f := func(path, want string) {
			t.Helper()
			assert.Equal(t, want, gjson.Get(body, path).String(), path)
		}
		f("version.version", "v1.2.3")
		f("ready", "true")
		f("state", "ready")
		f("uptime_seconds", "180000")
		f("in_flight", "65")
		f("config.generation", "7")
		f("config.last_reload.error", "router.yaml:3:1: pools: is missing")
		f("pools.#", "2")
		f("pools.0.name", "llama")
		f("pools.0.usable", "1")
		f("pools.1.usable", "0")
		f("pools.1.in_flight", "5")
		f("models.0.requests", "1234567")
		f("errors.0.count", "9")
	}
	w.set(func(w *world) { w.status, w.backends = admin.Status{}, nil })
	_, body := ask(t, addr, "GET", "/-/status")
	for _, list := range []string{"pools", "models", "errors"} {
		assert.Equal(t, "[]", gjson.Get(body, list).Raw)
	}
	assert.False(t, gjson.Get(body, "config.last_reload").Exists())
}
