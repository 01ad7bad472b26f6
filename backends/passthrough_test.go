package backends

// Requests whose method and path are their own.

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/secret"
)

func passOn(method, path, body string) *Outgoing {
	o := post(body)
	o.Op, o.Method, o.Path, o.Header = helixflow.OpPassthrough, method, []byte(path), nil
	if body == "" {
		o.Body = nil
	}
	return o
}

// TestOwnPath: a path joins the backend's as JoinPath says; an engine's own
// stands beside its /v1.
func TestOwnPath(t *testing.T) {
	f := func(base, method, path, body, want string) {
		t.Helper()
		e := newEngine(t, says(okAnswer, true))
		o := passOn(method, path, body)
		o.Query = []byte("limit=1")
		require.NoError(t, roundTrip(t, adopt(t, Spec{URL: e.url + base}), o).err)
		calls, _ := e.seen()
		require.Len(t, calls, 1)
		line, rest, _ := strings.Cut(calls[0].head, "\r\n")
		assert.Equal(t, want, line)
		assert.Equal(t, body, calls[0].body)
		assert.Equal(t, body != "", strings.Contains(rest, "Content-Length: "))
		if address, err := ParseAddress(e.url + base); assert.NoError(t, err) && strings.HasPrefix(path, "/v1/") {
			assert.Equal(t, method+" "+address.JoinPath(path+"?limit=1")+" HTTP/1.1", line)
		}
	}
	for _, method := range []string{"GET", "DELETE", "PUT", "PATCH", "POST"} {
		f("", method, "/v1/files/file-1", "", method+" /v1/files/file-1?limit=1 HTTP/1.1")
		f("/v1", method, "/v1/files", `{}`, method+" /v1/files?limit=1 HTTP/1.1")
	}
	f("/openai/v1/", "GET", "/v1/files", "", "GET /openai/v1/files?limit=1 HTTP/1.1")
	f("/openai", "GET", "/v1/files", "", "GET /openai/v1/files?limit=1 HTTP/1.1")
	f("/v1", "GET", "/api/tags", "", "GET /api/tags?limit=1 HTTP/1.1")
	f("/x/v1", "GET", "/api/tags", "", "GET /x/api/tags?limit=1 HTTP/1.1")
	f("/x", "GET", "/v1beta/files", "", "GET /x/v1beta/files?limit=1 HTTP/1.1")

	proxy := newEngine(t, says(okAnswer, true))
	ep := adopt(t, Spec{URL: "http://engine.test:8000/v1", Proxy: proxyOf(t, proxy.url)})
	require.NoError(t, roundTrip(t, ep, passOn("DELETE", "/v1/files/file-1", "")).err)
	calls, _ := proxy.seen()
	assert.True(t, strings.HasPrefix(calls[0].head, "DELETE http://engine.test:8000/v1/files/file-1 HTTP/1.1\r\n"), calls[0].head)
}

// TestHead: nothing follows the head of an answer to HEAD, whatever it says.
func TestHead(t *testing.T) {
	for _, framed := range []string{"Content-Length: 5", "Transfer-Encoding: chunked", "X: y"} {
		e := newEngine(t, says("HTTP/1.1 200 OK\r\n"+framed+"\r\n\r\n", true))
		ep := adopt(t, Spec{URL: e.url})
		for range 2 {
			a := roundTrip(t, ep, passOn("HEAD", "/v1/files/file-1", ""))
			require.NoError(t, a.err, framed)
			assert.Equal(t, 200, a.status)
			assert.Empty(t, a.body)
			assert.Zero(t, ep.idleCount(), "a body may follow that none may read")
		}
	}
}

// TestOnce: what must not be sent twice is not sent over a connection that may be
// dead.
func TestOnce(t *testing.T) {
	e := newEngine(t, func(c net.Conn, r call) bool {
		if r.nth == 2 {
			return false
		}
		_, _ = io.WriteString(c, okAnswer)
		return true
	})
	ep := adopt(t, Spec{URL: e.url})
	for range 3 {
		o := passOn("POST", "/v1/files", `{}`)
		o.Once = true
		require.NoError(t, roundTrip(t, ep, o).err)
	}
	calls, opened := e.seen()
	assert.Len(t, calls, 3)
	assert.Equal(t, 3, opened)
}

func TestMarks(t *testing.T) {
	fleetOf := func(url string) uint32 { return adopt(t, Spec{URL: url}).Mark() }
	assert.Equal(t, fleetOf("http://127.0.0.1:1"), fleetOf("http://127.0.0.1:1"))
	assert.NotEqual(t, fleetOf("http://127.0.0.1:1"), fleetOf("http://127.0.0.1:2"))

	keys := []secret.Text{secret.New("sk-a"), secret.New("sk-b")}
	c, err := newCredentials(keys, nil, post("").Now)
	require.NoError(t, err)
	for _, k := range c.keys {
		assert.NotZero(t, k.Mark())
		assert.Same(t, k, c.Marked(k.Mark()))
	}
	assert.NotEqual(t, c.keys[0].Mark(), c.keys[1].Mark())
	assert.Nil(t, c.Marked(1))
	again, err := newCredentials(keys[1:], nil, post("").Now)
	require.NoError(t, err)
	assert.Equal(t, c.keys[1].Mark(), again.keys[0].Mark())
}
