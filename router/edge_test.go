package router

// Odd requests at the edge: old clients, HEAD, bodies where none belong, and
// request lines that two parsers could read in two ways.

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHeadOfModels(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"))
	c := w.dial(t)
	br := bufio.NewReader(c)
	for range 2 {
		_, err := io.WriteString(c, "HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(br, &http.Request{Method: "HEAD"})
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Positive(t, resp.ContentLength)
	}
	require.Eventually(t, func() bool { return w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
}

// An HTTP/1.0 client reads the whole stream and nothing of its framing.
func TestOldClients(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		<-time.After(beat)
		a.write(chunkOf(evFin+evDone) + lastChunk)
		return true
	})))
	a := w.ask(t, strings.Replace(chat(streaming), "HTTP/1.1", "HTTP/1.0", 1))
	require.NoError(t, a.err)
	assert.Equal(t, ev1+evFin+evDone, a.body)
}

// One request in, at most one out: whatever is hidden in a body or behind one
// never reaches the backend, and the next client gets its own answer.
func TestNothingIsSmuggled(t *testing.T) {
	var hidden, calls atomic.Int64
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
		calls.Add(1)
		if strings.Contains(a.head, "smuggled") {
			hidden.Add(1)
		}
		a.write(jsonAnswer(`{"own":"` + a.req.Header.Get("X-Own") + `"}`))
		return true
	})))
	inner := postTo("/v1/chat/completions?smuggled", simple)
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
	f := func(name, raw string) {
		t.Helper()
		before := calls.Load()
		c := w.dial(t)
		_, err := io.WriteString(c, raw)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(150*time.Millisecond)))
		br := bufio.NewReader(c)
		for {
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		_ = c.Close()
		assert.LessOrEqual(t, calls.Load()-before, int64(1), name)
		assert.Zero(t, hidden.Swap(0), name)
		assert.Equal(t, `{"own":"canary"}`, w.ask(t, chat(simple, "X-Own: canary")).body, name)
	}
	for _, length := range []string{"+27", "-1", "-0", "0x1b", "2_7", "2e1", "27, 27", "27 27", "", "9223372036854775808", "18446744073709551616", "99999999999999999999999"} {
		f("length "+length, head+"Content-Length: "+length+"\r\n\r\n"+simple+inner)
	}
	for _, coding := range []string{"xchunked", "chunked, identity", "identity", "chunked;a=b", "gzip", "\x0bchunked", ",chunked", "", "chunked\r\nTransfer-Encoding: chunked"} {
		f("coding "+coding, head+"Transfer-Encoding: "+coding+"\r\n\r\n"+lastChunk+inner)
	}
	f("two lengths", head+"Content-Length: 27\r\nContent-Length: 5\r\n\r\n"+simple+inner)
	f("length and chunks", head+fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n", len(lastChunk+inner))+lastChunk+inner)
	f("chunks and length", head+fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n", len(lastChunk+inner))+lastChunk+inner)
	f("space before the colon", head+"Content-Length : 27\r\n\r\n"+simple+inner)
	f("a body on GET", fmt.Sprintf("GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner))
	f("a body on HEAD", fmt.Sprintf("HEAD /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner))
	f("a chunked body on GET", "GET /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+chunkOf(inner)+lastChunk)
	f("a body on OPTIONS", fmt.Sprintf("OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner))
	f("a refused body", fmt.Sprintf("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner))
	f("a refused key", fmt.Sprintf(head+"Authorization: Bearer x\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner))
	f("a refused type", fmt.Sprintf(head+"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner))
	f("too large", fmt.Sprintf(head+"Content-Length: %d\r\n\r\n%s", 2<<20, strings.Repeat(inner, 1000)))
	f("not continued", fmt.Sprintf(head+"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", 2<<20, strings.Repeat(inner, 1000)))
	f("bad chunk", head+"Transfer-Encoding: chunked\r\n\r\n"+"1b\r\n"+simple+"xx"+inner)
}

// The request line that goes out is one that only one parser can read.
func TestRequestLineIsNotForged(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, echoes)))
	for _, query := range []string{"a=b HTTP/1.1", "a=b\tc", "a=b c", "a=\x00", "a=\x7f", "a=\rb", "a= HTTP/1.0\rX: y"} {
		a := w.ask(t, postTo("/v1/chat/completions?"+query, simple))
		if a.status == 200 {
			line, _, _ := strings.Cut(a.body, "\r\n")
			assert.Len(t, strings.Split(line, " "), 3, "%q went out as %q", query, line)
			for _, c := range []byte(line) {
				assert.True(t, c >= ' ' && c != 0x7f, "%q went out as %q", query, line)
			}
		}
	}
}

// A second backend takes over where nothing reached the client, and only there.
func TestRetries(t *testing.T) {
	f := func(first string, status int, firstCalls, secondCalls int64) {
		t.Helper()
		var one, two atomic.Int64
		bad := newBackend(t, func(a *asked) bool { one.Add(1); a.write(first); return false })
		good := newBackend(t, func(a *asked) bool { two.Add(1); a.write(jsonAnswer(`{}`)); return true })
		w := newWorld(t, open("", bad, good))
		for range 2 { // round robin: each is the first once
			assert.Equal(t, status, w.ask(t, chat(simple)).status, "%q", first)
			if status != 200 {
				break
			}
		}
		assert.GreaterOrEqual(t, one.Load(), firstCalls)
		assert.GreaterOrEqual(t, two.Load(), secondCalls)
	}
	f("", 200, 1, 2)
	f("nonsense\r\n\r\n", 200, 1, 2)
	f("HTTP/1.1 200 OK\r\nContent-Le", 200, 1, 2)
	// Refused connections cost nothing either.
	w := newWorld(t, open("", "http://127.0.0.1:1", newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })))
	for range 4 {
		assert.Equal(t, 200, w.ask(t, chat(simple)).status)
	}
	w = newWorld(t, open("", "http://127.0.0.1:1"))
	a := w.ask(t, chat(simple))
	requireError(t, a, 503, "no_backend_available")
	assert.Equal(t, []string{"true", "1", "1000"}, []string{a.header.Get("x-should-retry"), a.header.Get("retry-after"), a.header.Get("retry-after-ms")})
	// The router's own credential is refused: nobody's retry helps.
	w = newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"); return true })))
	a = w.ask(t, chat(simple))
	requireError(t, a, 502, "upstream_error")
	assert.Equal(t, "false", a.header.Get("x-should-retry"))
}

// What of a backend's head reaches the client, and what does not.
func TestAnswerHeaders(t *testing.T) {
	f := func(sent, want string) {
		t.Helper()
		w := newWorld(t, open("", newBackend(t, func(a *asked) bool {
			a.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + sent + "\r\nContent-Length: 2\r\n\r\n{}")
			return true
		})))
		a := w.ask(t, chat(simple))
		require.Equal(t, 200, a.status)
		var rest []string
		for name, values := range a.header {
			switch name {
			case "Date", "Content-Type", "Content-Length", "Openai-Processing-Ms":
				assert.Len(t, values, 1)
			case "X-Request-Id":
				assert.Len(t, values, 1)
				assert.Regexp(t, "^req_[0-9a-f]{32}$", values[0])
			default:
				rest = append(rest, name+": "+strings.Join(values, " | "))
			}
		}
		slices.Sort(rest)
		assert.Equal(t, want, strings.Join(rest, "\n"), "%q", sent)
	}
	for _, same := range []string{"X-Ratelimit-Remaining-Requests: 9", "Openai-Version: 2020-10-01", "Retry-After: 3", "X-Should-Retry: false", "Cache-Control: max-age=1", "Vary: Accept"} {
		f(same, same)
	}
	f("X-Two: 1\r\nX-Two: 2", "X-Two: 1 | 2")
	for _, gone := range []string{
		"Server: uvicorn", "Set-Cookie: a=b", "Set-Cookie: a=b\r\nSet-Cookie: c=d", "Connection: keep-alive", "Connection: close", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Trailer: X-T",
		"Upgrade: h2c", "Alt-Svc: h3", "X-Request-Id: theirs", "openai-processing-ms: 9", "X-Helixflow-Tenant: a", "Access-Control-Allow-Origin: *", "Date: then",
		"Connection: X-Hop\r\nX-Hop: v", "X-Hop: v\r\nConnection: close, X-Hop",
	} {
		f(gone, "")
	}
}
