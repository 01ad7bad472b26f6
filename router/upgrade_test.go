package router

// How a websocket is asked for, of the router and of a backend.

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The model's name in the query becomes that of the target; grants hold.
func TestRealtimeModel(t *testing.T) {
	asked := make(chan string, 1)
	url := socketBackend(t, nil, func(_ context.Context, c *websocket.Conn, r *http.Request) {
		asked <- r.URL.RequestURI()
		_ = c.Close(websocket.StatusNormalClosure, "")
	})
	config := strings.Replace(sockets("", url), "targets: [{pool: p}]", "aliases: [org/gpt+4]\n    targets: [{pool: p, model: \"inner/x&y\"}]", 1)
	w := newWorld(t, strings.Replace(config, "tenants: [{name: all}]", `tenants: [{name: all, models: ["m", "org/*"]}]`, 1)+"  - name: other\n    targets: [{pool: p}]\n")
	f := func(path, want string) {
		t.Helper()
		_, _ = w.socket(t, path, nil)
		assert.Equal(t, want, <-asked)
	}
	const inner = "/v1/realtime?model=inner%2Fx%26y"
	f("/v1/realtime?model=m", inner)
	f("/realtime?model=m", inner)
	f("//v1/realtime/?model=m", inner)
	f("/openai/v1/realtime?model=m", inner)
	f("/openai/realtime?api-version=2024-10-01-preview&deployment=m", inner)
	f("/v1/realtime?a=%41&model=org%2Fgpt%2B4&b", "/v1/realtime?a=%41&model=inner%2Fx%26y&b")
	f("/v1/realtime?mod%65l=m", inner)

	refused := func(query string, status int, code string) {
		t.Helper()
		requireError(t, w.ask(t, upgrade("/v1/realtime"+query)), status, code)
	}
	refused("", 400, "missing_model")
	refused("?intent=transcription", 400, "missing_model")
	refused("?call_id=rtc_1", 400, "missing_model")
	refused("?model=", 400, "missing_model")
	refused("?model=nobody", 404, "model_not_found")
	refused("?model=other", 403, "model_not_allowed")
	refused("?model=m&model=m", 400, "")
	refused("?model=m&Model=other", 400, "")
	refused("?model=m&deployment=other", 400, "")
	refused("?model=m&mod%65l=other", 400, "")
	refused("?x=1;model=other&model=m", 400, "")
	refused("?model=%zz", 400, "")
	refused("?model=a%00", 400, "")
	refused("?model=m&api_key=x", 400, "key_in_query")
}

// upgrade is a handshake, its lines replaced or added to.
func upgrade(path string, lines ...string) string {
	head := []string{"Host: test", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		i := slices.IndexFunc(head, func(h string) bool { return strings.HasPrefix(h, name+":") })
		switch {
		case i >= 0 && value == "":
			head = slices.Delete(head, i, i+1)
		case i >= 0 && !strings.HasPrefix(value, "+"):
			head[i] = l
		default:
			head = append(head, name+":"+strings.TrimPrefix(value, "+"))
		}
	}
	return "GET " + path + " HTTP/1.1\r\n" + strings.Join(head, "\r\n") + "\r\n\r\n"
}

func TestUpgradeRefused(t *testing.T) {
	reached := make(chan struct{}, 16)
	url := newBackend(t, func(a *asked) bool {
		reached <- struct{}{}
		a.write(jsonAnswer(`{"object":"list"}`))
		return true
	})
	w := newWorld(t, sockets("", url))
	f := func(raw string, status int, code string) {
		t.Helper()
		a := w.ask(t, raw)
		requireError(t, a, status, code)
		assert.Empty(t, reached)
		if status == 426 {
			assert.Equal(t, "websocket", a.header.Get("Upgrade"))
			assert.Equal(t, "13", a.header.Get("Sec-Websocket-Version"))
		}
	}
	f("GET /v1/realtime?model=m HTTP/1.1\r\nHost: a\r\n\r\n", 426, "upgrade_required")
	f(upgrade(realtime, "Sec-WebSocket-Version: 8"), 426, "upgrade_required")
	f(upgrade(realtime, "Sec-WebSocket-Version:"), 426, "upgrade_required")
	f(upgrade(realtime, "Sec-WebSocket-Key:"), 400, "invalid_handshake")
	f(upgrade(realtime, "Sec-WebSocket-Key: short"), 400, "invalid_handshake")
	f(upgrade(realtime, "Sec-WebSocket-Key:+dGhlIHNhbXBsZSBub25jZQ=="), 400, "invalid_handshake")
	f(upgrade(realtime, "Connection: keep-alive"), 400, "invalid_handshake")
	f(upgrade(realtime, "Content-Length: 3")+"abc", 400, "invalid_handshake")
	f(strings.Replace(upgrade(realtime), "GET", "POST", 1), 400, "invalid_handshake")
	f(strings.Replace(upgrade(realtime), "HTTP/1.1", "HTTP/1.0", 1), 400, "invalid_handshake")
	// Nowhere else.
	f(upgrade("/v1/chat/completions"), 400, "websocket_not_served")
	f(upgrade("/v1/models"), 400, "websocket_not_served")
	f(upgrade("/v1/realtime/calls"), 400, "websocket_not_served")
	f(chat(simple, "Connection: Upgrade", "Upgrade: h2c, WebSocket"), 400, "websocket_not_served")
	// Other protocols are not ours: the request is served in HTTP/1.1, and nobody hears of them.
	a := w.ask(t, chat(simple, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"))
	assert.Equal(t, 200, a.status)

	w = newWorld(t, open("", url))
	c := w.dial(t) // what follows a refused handshake is no request
	_, err := io.WriteString(c, upgrade(realtime)+"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Contains(t, string(text), "Connection: close\r\n")
	assert.Contains(t, string(text), "websocket_not_served")
	assert.Equal(t, 1, strings.Count(string(text), "HTTP/1.1"))
	requireError(t, w.ask(t, "GET /v1/realtime?model=m HTTP/1.1\r\nHost: a\r\n\r\n"), 404, "unknown_url")
}

// A browser brings its key as a subprotocol. It goes no further, and is never the
// protocol agreed upon.
func TestSocketCredential(t *testing.T) {
	offered := make(chan string, 1)
	url := socketBackend(t, nil, func(_ context.Context, c *websocket.Conn, r *http.Request) {
		offered <- r.Header.Get("Sec-Websocket-Protocol") + "|" + r.Header.Get("Authorization")
		_ = c.Close(websocket.StatusNormalClosure, "")
	})
	config, key := withKey(t, url)
	config = strings.Replace(config, "server: {max_body: 1MiB}", "passthrough: [{prefix: /v1/realtime}, {prefix: /v1/responses}]", 1)
	w := newWorld(t, strings.Replace(config, "balance: round_robin", "balance: round_robin\n    api_key: the-pools", 1))
	protocols := []string{"realtime", "openai-insecure-api-key." + key, "openai-organization.org-1", "openai-project.p", "openai-beta.realtime-v1"}
	c, _ := w.socket(t, realtime, &websocket.DialOptions{Subprotocols: protocols})
	assert.Equal(t, "realtime, openai-beta.realtime-v1|Bearer the-pools", <-offered)
	assert.Equal(t, "realtime", c.Subprotocol(), "the backend chose none")

	c, _ = w.socket(t, "/v1/responses", &websocket.DialOptions{Subprotocols: protocols})
	assert.Equal(t, "realtime", c.Subprotocol())

	c, _ = w.socket(t, realtime, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}, Subprotocols: []string{"a"}})
	assert.Equal(t, "a|Bearer the-pools", <-offered)
	assert.Empty(t, c.Subprotocol())

	requireError(t, w.ask(t, upgrade(realtime)), 401, "invalid_api_key")
	requireError(t, w.ask(t, upgrade(realtime, "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-wrong")), 401, "invalid_api_key")
	requireError(t, w.ask(t, upgrade(realtime, "Authorization: Bearer "+key, "Sec-WebSocket-Protocol: openai-insecure-api-key."+key)), 400, "")
	assert.NotContains(t, w.log.String(), key)
}

func TestSocketOrigin(t *testing.T) {
	url := socketBackend(t, nil, func(_ context.Context, c *websocket.Conn, _ *http.Request) {
		_ = c.Close(websocket.StatusNormalClosure, "")
	})
	f := func(w *world, status int, lines ...string) {
		t.Helper()
		a := w.ask(t, upgrade(realtime, lines...))
		assert.Equal(t, status, a.status)
		if status == 403 {
			requireError(t, a, 403, "origin_not_allowed")
		}
	}
	w := newWorld(t, strings.Replace(sockets("", url), "server: {", "server: {cors: {origins: [https://app.example.com]}, ", 1))
	f(w, 101, "Origin: https://app.example.com")
	f(w, 101)
	f(w, 403, "Origin: https://evil.example.com")
	f(w, 403, "Origin: null")
	f(w, 403, "Origin: http://test")

	// Without a list: whoever has a key, and pages of this very host.
	w = newWorld(t, sockets("", url))
	f(w, 101)
	f(w, 101, "Origin: http://test")
	f(w, 403, "Origin: https://evil.example.com")
	config, key := withKey(t, url)
	w = newWorld(t, strings.Replace(config, "server: {max_body: 1MiB}", "passthrough: [{prefix: /v1/realtime}]", 1))
	f(w, 101, "Origin: https://app.example.com", "Sec-WebSocket-Protocol: a, openai-insecure-api-key."+key)
}

// What a backend answers but a proper 101 is never spliced.
func TestSocketBackendAnswers(t *testing.T) {
	const accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	f := func(answer string, status int, code string, lines ...string) {
		t.Helper()
		url := newBackend(t, func(a *asked) bool {
			a.write(answer)
			return false
		})
		w := newWorld(t, sockets("", url))
		a := w.ask(t, upgrade(realtime, lines...))
		assert.Equal(t, status, a.status, answer)
		if code != "" {
			requireError(t, a, status, code)
		}
		w.requireEnded(t)
	}
	const switches = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
	f(switches+"Upgrade: websocket\r\n"+accept+"\r\n", 101, "")
	f(switches+"Upgrade: websocket\r\n\r\n", 502, "upstream_error")
	f(switches+"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n\r\n", 502, "upstream_error")
	f(switches+"Upgrade: h2c\r\n"+accept+"\r\n", 502, "upstream_error")
	f("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+accept+"\r\n", 502, "upstream_error")
	f(switches+"Upgrade: websocket\r\n"+accept+"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 502, "upstream_error")
	f(switches+"Upgrade: websocket\r\n"+accept+"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 502, "upstream_error", "Sec-WebSocket-Extensions: permessage-deflate")
	f(switches+"Upgrade: websocket\r\n"+accept+"Sec-WebSocket-Protocol: b\r\n\r\n", 502, "upstream_error", "Sec-WebSocket-Protocol: a")
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 502, "upstream_error")
	f("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 502, "upstream_error")
	f("HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"detail\":\"not you\"}", 403, "")
	f("garbage\r\n\r\n", 502, "upstream_error")

	// A 101 that nobody asked for.
	url := newBackend(t, func(a *asked) bool {
		a.write(switches + "Upgrade: websocket\r\n" + accept + "\r\n")
		return false
	})
	requireError(t, newWorld(t, open("", url)).ask(t, chat(simple)), 502, "upstream_error")
}

// Another backend is tried while nothing was switched.
func TestSocketTriesAnother(t *testing.T) {
	bad := newBackend(t, func(a *asked) bool { a.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"); return true })
	w := newWorld(t, sockets("", bad, socketBackend(t, nil, echo)))
	for range 4 {
		c, _ := w.socket(t, realtime, nil)
		requireEcho(t, c)
		_ = c.Close(websocket.StatusNormalClosure, "")
	}
	w.requireEnded(t)
	w.requireMetric(t, "helixflow_backend_retries_total{backend=\""+bad+"\"} 2")
}
