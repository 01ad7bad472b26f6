package router

// What comes in: bodies of every kind, headers that travel and those that do
// not, and clients that break off.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echoes answers with the head and body that came.
func echoes(a *asked) bool {
	a.write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%s", len(a.head)+len(a.body), a.head+a.body))
	return true
}

func TestHeadersThatTravel(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, echoes)))
	f := func(sent, want string) {
		t.Helper()
		a := w.ask(t, chat(simple, sent))
		require.Equal(t, 200, a.status, a.body)
		head, _, _ := strings.Cut(a.body, "\r\n\r\n")
		var rest []string
		for _, line := range strings.Split(head, "\r\n")[1:] {
			name, _, _ := strings.Cut(line, ":")
			switch strings.ToLower(name) {
			case "host", "accept-encoding", "content-type", "content-length":
			case "x-request-id":
				if strings.HasPrefix(line, "x-request-id: req_") {
					continue
				}
				fallthrough
			default:
				rest = append(rest, line)
			}
		}
		assert.Equal(t, want, strings.Join(rest, "\n"), "%q", sent)
		assert.Equal(t, 1, strings.Count(strings.ToLower(a.body), "\r\nhost:"))
		assert.Equal(t, 1, strings.Count(strings.ToLower(a.body), "\r\ncontent-length:"))
		assert.True(t, strings.HasSuffix(a.body, simple))
	}
	for _, same := range []string{
		"Openai-Beta: assistants=v2", "X-Stainless-Retry-Count: 1", "User-Agent: OpenAI/Python 3.3.1", "Accept: application/json",
		"X-Odd: a  b\tc; d=\"e\", f", "X-Empty: ", "X-Bytes: caf\xc3\xa9 \xff", "Traceparent: 00-1-2-01", "X-Client-Request-Id: a b",
		"X-Forwardedfor: a", "X-Helixflowing: a", "Via: 1.1 a",
	} {
		f(same, same)
	}
	f("X-Twice: 1\r\nX-Twice: 2", "X-Twice: 1\nX-Twice: 2")
	f("x-request-id: my-own.id", "x-request-id: my-own.id")
	f("x-request-id: two words", "")
	f("x-request-id: "+strings.Repeat("x", 129), "")
	for _, gone := range []string{
		"Connection: close", "Connection: keep-alive", "Connection: Keep-Alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive",
		"Proxy-Authorization: Basic x", "TE: trailers", "Trailer: X-T", "Upgrade: h2c", "Cookie: a=b", "Cookie: a=b\r\nCookie: c=d", "Forwarded: for=1", "X-Real-IP: 1.2.3.4",
		"X-Forwarded-For: 1.2.3.4", "x-forwarded-proto: https", "X-HELIXFLOW-Debug: 1", "x-helixflow-tenant: a", "OpenAI-Organization: org", "OpenAI-Project: p",
		"Accept-Encoding: gzip", "Origin: http://evil.test",
		"Connection: X-Hop\r\nX-Hop: v", "Connection: close, X-Hop\r\nX-Hop: v", "Connection: x-hop,keep-alive\r\nX-HOP: v", "Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: v",
		"Connection: X-Hop\r\nConnection: close\r\nX-Hop: v", "X-Hop: v\r\nConnection: , X-Hop ,", "Connection: X-A, X-B\r\nX-A: 1\r\nX-B: 2",
	} {
		f(gone, "")
	}
	f("Connection: Host, Content-Length, X-Request-Id, Content-Type\r\nX-Kept: 1", "X-Kept: 1")
}

func TestBodies(t *testing.T) {
	var reached atomic.Int64
	url := newBackend(t, func(a *asked) bool { reached.Add(1); return echoes(a) })
	w := newWorld(t, open("", url))
	f := func(raw string, status int, code string) {
		t.Helper()
		before := reached.Load()
		a := w.ask(t, raw)
		if status == 200 {
			require.Equal(t, 200, a.status, a.body)
			return
		}
		requireError(t, a, status, code)
		assert.Equal(t, before, reached.Load(), "the backend was asked")
	}
	head := func(lines ...string) string {
		return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + strings.Join(append(lines, "", ""), "\r\n")
	}
	padded := func(size int) string {
		return simple[:len(simple)-1] + strings.Repeat(" ", size-len(simple)) + "}"
	}
	limit := 1 << 20
	f(chat(simple), 200, "")
	f(chat(padded(limit)), 200, "")
	f(chat(padded(limit+1)), 413, "request_too_large")
	f(head("Transfer-Encoding: chunked")+chunkOf(simple)+lastChunk, 200, "")
	f(head("Transfer-Encoding: chunked")+chunkOf(simple[:5])+chunkOf(simple[5:])+"0\r\nX-T: a\r\n\r\n", 200, "")
	f(head("Transfer-Encoding: chunked")+chunkOf(padded(limit))+lastChunk, 200, "")
	f(head("Transfer-Encoding: chunked")+chunkOf(padded(limit+1))+lastChunk, 413, "request_too_large")
	f(head("Transfer-Encoding: chunked")+"zz\r\n{}", 400, "")
	f(head("Content-Length: 0"), 400, "invalid_json")
	f(head(), 400, "invalid_json")
	f(head("Transfer-Encoding: chunked")+lastChunk, 400, "invalid_json")
	f(chat(""), 400, "invalid_json")
	f(chat("   "), 400, "invalid_json")
	f(chat("[]"), 400, "invalid_json")
	f(chat("\x00\x01\x02"), 400, "invalid_json")
	f(chat(simple+"x"), 400, "invalid_json")
	f(chat(`{"messages":[]}`), 400, "missing_model")
	f(chat(`{"model":"m","model":"n"}`), 400, "duplicate_key")
	f(chat(`{"model":"m","mod\u0065l":"n"}`), 400, "duplicate_key")
	f(chat(`{"model":"x"}`), 404, "model_not_found")
	f(head("Content-Type: text/plain", "Content-Length: 2")+"{}", 415, "unsupported_media_type")
	f(head("Content-Type: multipart/form-data; boundary=x", "Content-Length: 2")+"{}", 415, "unsupported_media_type")
	f(head("Content-Type: application/json; charset=utf-8", fmt.Sprint("Content-Length: ", len(simple)))+simple, 200, "")
	f(head("Content-Encoding: gzip", "Content-Length: 2")+"{}", 415, "unsupported_media_type")
	f(head("Content-Encoding: identity", "Content-Encoding: gzip", "Content-Length: 2")+"{}", 415, "unsupported_media_type")
	f(postTo("/v1/chat/completions?api_key=x", simple), 400, "key_in_query")
	f(postTo("/v1/chat/completions?a=b", simple), 200, "")
	f(postTo("/v1/chat/completions/", simple), 200, "")
	f(postTo("/v1/chat/completions/x", simple), 404, "unknown_url")
	f(postTo("/v1/organization/admin_api_keys", simple), 403, "path_forbidden")
	f("GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed")
	f("GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("x", 20000)+"\r\n\r\n", 431, "header_too_large")
	f("nonsense\r\n\r\n", 400, "")
	f(head("Authorization: Bearer a", "Authorization: Bearer b", "Content-Length: 2")+"{}", 400, "")
	f(chat(simple, "Authorization: Basic x"), 401, "invalid_api_key")
	f(chat(simple, "Authorization: Bearer sk-nobody"), 401, "invalid_api_key")
}

// Whoever is refused reads why, even while still sending 33 MiB.
func TestRefusalIsReadDuringUpload(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, echoes)))
	const size = 33 << 20
	f := func(name, head string, status int) {
		t.Helper()
		for range 5 {
			c := w.dial(t)
			_, err := io.WriteString(c, head)
			require.NoError(t, err)
			sent := make(chan error, 1)
			go func() {
				block := []byte(strings.Repeat(" ", 1<<20))
				var err error
				for n := 0; n < size && err == nil; n += len(block) {
					_, err = c.Write(block)
				}
				sent <- err
			}()
			require.NoError(t, <-sent, "%s: the upload was broken off", name)
			a := readAnswer(t, bufio.NewReader(c))
			requireError(t, a, status, "")
			_ = c.Close()
		}
	}
	long := fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
	f("length", "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"+long, 413)
	f("chunked", fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", size), 413)
	f("wrong key", "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-x\r\n"+long, 401)
	f("unknown path", "POST /v1/nowhere HTTP/1.1\r\nHost: x\r\n"+long, 404)
	f("wrong method", "PUT /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"+long, 405)
	f("content type", "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"+long, 415)
}

func TestExpectContinue(t *testing.T) {
	w := newWorld(t, open("", newBackend(t, echoes)))
	c := w.dial(t)
	br := bufio.NewReader(c)
	_, err := fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(simple))
	require.NoError(t, err)
	line, err := br.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, _ = br.ReadString('\n')
	_, err = io.WriteString(c, simple)
	require.NoError(t, err)
	a := readAnswer(t, br)
	require.Equal(t, 200, a.status)
	assert.NotContains(t, a.body, "Expect")

	_, err = fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", 2<<20)
	require.NoError(t, err)
	requireError(t, readAnswer(t, br), 413, "request_too_large")
}

// Half a body and then nothing: nobody is asked, nothing is left.
func TestHalfABody(t *testing.T) {
	var reached atomic.Int64
	w := newWorld(t, open("", newBackend(t, func(a *asked) bool { reached.Add(1); return echoes(a) })))
	text := chat(simple)
	for at := strings.Index(text, "{"); at < len(text); at++ {
		c := w.dial(t)
		_, err := io.WriteString(c, text[:at])
		require.NoError(t, err)
		_ = c.Close()
	}
	require.Eventually(t, func() bool { return w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
	assert.Zero(t, reached.Load())
}

// Times are tested on a pipe, where the clock is the test's.
func TestSlowClients(t *testing.T) {
	w := newWorld(t, open("", "http://127.0.0.1:1"))
	f := func(wantStatus int, play func(c net.Conn)) time.Duration {
		t.Helper()
		var took time.Duration
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				w.srv.attach(far).serve()
			}()
			began := time.Now()
			answers := make(chan int, 8)
			go func() {
				defer close(answers)
				br := bufio.NewReader(near)
				for {
					resp, err := http.ReadResponse(br, nil)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					answers <- resp.StatusCode
				}
			}()
			play(near)
			assert.Equal(t, wantStatus, <-answers)
			took = time.Since(began)
			_ = near.Close()
			<-done
			for range answers {
			}
		})
		return took
	}
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
	took := f(408, func(c net.Conn) { _, _ = io.WriteString(c, head+"{") })
	assert.InDelta(t, 10, took.Seconds(), 1, "silence")
	took = f(408, func(c net.Conn) {
		_, _ = io.WriteString(c, head)
		for range 100 { // one byte a second, below the rate
			time.Sleep(time.Second)
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := c.Write([]byte(" ")); err != nil {
				return
			}
		}
	})
	assert.Less(t, took.Seconds(), 101.0, "a drip")
	took = f(408, func(c net.Conn) { _, _ = io.WriteString(c, head[:30]) })
	assert.InDelta(t, 10, took.Seconds(), 1, "a header that does not come")
}

// A keep-alive connection answers as well after a long silence as before.
func TestPreflightAfterSilence(t *testing.T) {
	config := strings.Replace(open("", "http://127.0.0.1:1"), "server: {", "server: {cors: {origins: [\"*\"]}, ", 1)
	w := newWorld(t, config)
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.srv.attach(far).serve()
		}()
		br := bufio.NewReader(near)
		preflight := "OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: http://a.test\r\nAccess-Control-Request-Method: POST\r\n\r\n"
		for _, raw := range []string{"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", preflight, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", preflight} {
			_, err := io.WriteString(near, raw)
			require.NoError(t, err)
			resp, err := http.ReadResponse(br, nil)
			require.NoError(t, err, raw)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			assert.Less(t, resp.StatusCode, 300)
			time.Sleep(60 * time.Second)
		}
		_ = near.Close()
		<-done
	})
}
