package router

// Heads of requests: how they come, how strictly they are read, and what of
// them reaches a backend.

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStrictLines(t *testing.T) {
	f := func(head string, want bool) { t.Helper(); assert.Equal(t, want, strictLines([]byte(head)), "%q", head) }
	f("", true)
	f("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true)
	f("GET / HTTP/1.1\r", true)
	f("\n", false)
	f("GET / HTTP/1.1\nHost: x\r\n", false)
	f("GET / HTTP/1.1\r\nA: b\nC: d\r\n", false)
	f("GET / HTTP/1.1\r\nA: b\r\n c\r\n", false)
	f("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n", false)
}

func TestLooseHeadsAreRefused(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"))
	f := func(head string) {
		t.Helper()
		requireError(t, w.ask(t, head), 400, "")
	}
	f("GET /v1/models HTTP/1.1\nHost: x\n\n")
	f("GET /v1/models HTTP/1.1\r\nHost: x\n\r\n")
	f("GET /v1/models HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n")
	f("GET /v1/models HTTP/1.1\r\n\r\n")
}

// However a head comes, it is the same head.
func TestHeadInPieces(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"))
	head := "\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 9000) + "\r\n\r\n"
	for _, at := range []int{1, 3, 20, 60, 4095, 4096, 4097, 9000, len(head) - 3, len(head) - 1} {
		c := w.dial(t)
		_, err := io.WriteString(c, head[:at])
		require.NoError(t, err)
		<-time.After(beat) // so that it is read on its own
		_, err = io.WriteString(c, head[at:])
		require.NoError(t, err)
		assert.Equal(t, 200, readAnswer(t, bufio.NewReader(c)).status, "split at %d", at)
	}
}

func TestHeadAboveTheLimit(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"))
	f := func(size, status int) {
		t.Helper()
		a := w.ask(t, "GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", size)+"\r\n\r\n")
		assert.Equal(t, status, a.status, "%d bytes", size)
	}
	f(3<<10, 200)
	f(15<<10, 200)
	f(17<<10, 431)
	f(1<<20, 431)
}

func TestKeysInQueriesInAnySpelling(t *testing.T) {
	f := func(query string, want bool) { t.Helper(); assert.Equal(t, want, keyInQuery([]byte(query)), query) }
	f("beta=true", false)
	f("keyboard=1", false)
	f("api_key=x", true)
	f("a=b&API-KEY=x", true)
	f("api%5Fkey=x", true)
	f("%6bey=x", true)
	f("%zz=x", false)
	f("x=sk-hfx_test_abc", true)
}

// A pool's own header takes the place of the client's.
func TestPoolHeadersReplace(t *testing.T) {
	var got http.Header
	url := newBackend(t, func(a *asked) bool {
		got = a.req.Header
		a.write(jsonAnswer(`{}`))
		return true
	})
	w := newWorld(t, strings.Replace(open("", url), "    balance:", "    headers: {X-Team: ours}\n    balance:", 1))
	a := w.ask(t, chat(simple, "X-Team: theirs", "X-Other: kept"))
	require.Equal(t, 200, a.status, a.body)
	assert.Equal(t, []string{"ours"}, got.Values("X-Team"))
	assert.Equal(t, "kept", got.Get("X-Other"))
}

// What one pool replaces, another one still gets.
func TestPoolHeadersReplaceForThatPoolOnly(t *testing.T) {
	var got http.Header
	second := newBackend(t, func(a *asked) bool {
		got = a.req.Header
		a.write(jsonAnswer(`{}`))
		return true
	})
	w := newWorld(t, `
auth: {anonymous: all}
tenants: [{name: all}]
pools:
  - {name: first, health: off, headers: {X-Team: ours}, backends: [{url: "http://127.0.0.1:1"}]}
  - {name: second, health: off, backends: [{url: "`+second+`"}]}
models:
  - name: m
    targets: [{pool: first, priority: 1}, {pool: second, priority: 2}]
`)
	a := w.ask(t, chat(simple, "X-Team: theirs"))
	require.Equal(t, 200, a.status, a.body)
	assert.Equal(t, []string{"theirs"}, got.Values("X-Team"))
}
