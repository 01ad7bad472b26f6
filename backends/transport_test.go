package backends

// One round trip over real sockets: what is sent, which answers are taken, and
// what becomes of the connection.

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/openai"
)

// call is one request as a scripted engine got it.
type call struct {
	conn int // from 1
	nth  int // on that connection, from 1
	head string
	body string
}

// engine is a scripted backend: answer gets every request, and closes the
// connection by returning false.
type engine struct {
	url    string
	mu     sync.Mutex // guards the fields below
	calls  []call
	opened int
}

func newEngine(t *testing.T, answer func(c net.Conn, r call) bool) *engine {
	t.Helper()
	e := &engine{}
	port := serve(t, "127.0.0.1:0", func(c net.Conn) { e.run(c, answer) })
	e.url = "http://127.0.0.1:" + port
	return e
}

func (e *engine) run(c net.Conn, answer func(c net.Conn, r call) bool) {
	e.mu.Lock()
	e.opened++
	r := call{conn: e.opened}
	e.mu.Unlock()
	br := bufio.NewReader(c)
	for {
		r.nth++
		head, err := readHeadText(br)
		if err != nil {
			return
		}
		r.head = head
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		if err != nil {
			return
		}
		body := make([]byte, max(req.ContentLength, 0))
		if _, err := io.ReadFull(br, body); err != nil {
			return
		}
		r.body = string(body)
		e.mu.Lock()
		e.calls = append(e.calls, r)
		e.mu.Unlock()
		if !answer(c, r) {
			return
		}
	}
}

func readHeadText(br *bufio.Reader) (string, error) {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		b, err := br.ReadByte()
		if err != nil {
			return "", err
		}
		head = append(head, b)
	}
	return string(head), nil
}

func (e *engine) seen() (calls []call, opened int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]call(nil), e.calls...), e.opened
}

// says answers every request with the same bytes.
func says(text string, keep bool) func(net.Conn, call) bool {
	return func(c net.Conn, _ call) bool {
		_, _ = io.WriteString(c, text)
		return keep
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

func adopt(t testing.TB, s Spec) *Endpoint {
	t.Helper()
	fleet := NewFleet(metric.New())
	t.Cleanup(fleet.Close)
	if s.Address.Host == "" {
		address, err := ParseAddress(s.URL)
		require.NoError(t, err)
		s.Address = address
	}
	ep := fleet.Adopt(s)
	t.Cleanup(func() { assert.Zero(t, ep.Load.InFlight(), "leases left") })
	return ep
}

func post(body string) *Outgoing {
	return &Outgoing{
		Op: helixflow.OpChatCompletions, Header: []byte("Content-Type: application/json\r\n"), Body: []byte(body),
		Hangup: stays{}, Connect: 15 * time.Second, FirstByte: 15 * time.Second, Deadline: time.Now().Add(20 * time.Second), Now: time.Now(),
	}
}

// answered is how a whole round trip ended.
type answered struct {
	status int
	body   string
	err    error // of RoundTrip or of Next
}

func roundTrip(t testing.TB, ep *Endpoint, o *Outgoing) (a answered) {
	t.Helper()
	var l Lease
	var head fasthttp.ResponseHeader
	require.True(t, ep.Acquire(&l, 0))
	o.Now = time.Now()
	if a.err = l.RoundTrip(o, &head); a.err != nil {
		l.Finish(Failed, time.Now())
		return a
	}
	a.status = head.StatusCode()
	for {
		p, err := l.Next()
		a.body += string(p)
		if err == io.EOF {
			l.Finish(Served, time.Now())
			return a
		}
		if err != nil {
			a.err = err
			l.Finish(Failed, time.Now())
			return a
		}
	}
}

func failureOf(t testing.TB, err error) *Failure {
	t.Helper()
	var f *Failure
	require.ErrorAs(t, err, &f)
	return f
}

func (ep *Endpoint) idleCount() int {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return len(ep.idle) + len(ep.looped)
}

func TestRequestBytes(t *testing.T) {
	f := func(path string, o *Outgoing, want string) {
		t.Helper()
		e := newEngine(t, says(okAnswer, true))
		require.NoError(t, roundTrip(t, adopt(t, Spec{URL: e.url + path}), o).err)
		calls, _ := e.seen()
		require.Len(t, calls, 1)
		got := strings.ReplaceAll(calls[0].head, strings.TrimPrefix(e.url, "http://"), "HOST") + calls[0].body
		assert.Equal(t, want, got)
	}
	f("", post(`{"a":1}`),
		"POST /v1/chat/completions HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
	f("/v1/", post(`{}`),
		"POST /v1/chat/completions HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	o := post(`{}`)
	o.Query, o.Static, o.Header = []byte("a=b&c=%20d"), []byte("Authorization: Bearer k\r\nX-Extra: 1\r\n"), []byte("x-request-id: r1\r\n")
	f("/openai", o,
		"POST /openai/v1/chat/completions?a=b&c=%20d HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\nAuthorization: Bearer k\r\nX-Extra: 1\r\nx-request-id: r1\r\nContent-Length: 2\r\n\r\n{}")
	o = post("")
	o.Op, o.Body, o.Header = helixflow.OpListModels, nil, nil
	f("", o, "GET /v1/models HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\n\r\n")
	o.Op, o.Suffix = helixflow.OpGetModel, []byte("a%2Fb")
	f("", o, "GET /v1/models/a%2Fb HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\n\r\n")
	o = post("")
	f("", o, "POST /v1/chat/completions HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n")
}

func TestRequestBytesThroughProxy(t *testing.T) {
	proxy := newEngine(t, says(okAnswer, true))
	ep := adopt(t, Spec{URL: "http://engine.test:8000/v1", Proxy: proxyOf(t, strings.Replace(proxy.url, "//", "//u:p@", 1))})
	require.NoError(t, roundTrip(t, ep, post(`{}`)).err)
	calls, _ := proxy.seen()
	require.Len(t, calls, 1)
	assert.Equal(t, "POST http://engine.test:8000/v1/chat/completions HTTP/1.1\r\nHost: engine.test:8000\r\nProxy-Authorization: Basic dTpw\r\n"+
		"Accept-Encoding: identity\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n", calls[0].head)
}

// A large body with edits arrives byte for byte, over TCP and over TLS.
func TestLargeBodyWithEdits(t *testing.T) {
	ca := newTestCA(t)
	_, _, pair := ca.issue(t, time.Now().Add(time.Hour), "127.0.0.1")
	for _, scheme := range []string{"http", "https"} {
		for _, size := range []int{copyBelow - 40, copyBelow, copyBelow + 1, 300 << 10, 3 << 20} {
			e := &engine{}
			port := serve(t, "127.0.0.1:0", func(c net.Conn) {
				if scheme == "https" {
					c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
				}
				e.run(c, says(okAnswer, true))
			})
			spec := Spec{URL: scheme + "://127.0.0.1:" + port}
			if scheme == "https" {
				spec.TLS = tlsTo(t, "127.0.0.1", port, "", ca.pem).TLS
			}
			body := `{"model":"public","messages":["` + strings.Repeat("0123456789", size/10) + `"],"stream":true}`
			var scan openai.Call
			require.NoError(t, openai.Scan([]byte(body), helixflow.OpChatCompletions, &scan))
			o := post(body)
			o.Edits = new(openai.Edits)
			o.Edits.Replace(scan.Model, []byte("a-much-longer-name-at-the-backend"))
			require.True(t, openai.InjectUsage(&scan, o.Edits))
			want := string(o.Edits.AppendTo(nil, o.Body))
			ep := adopt(t, spec)
			for range 2 { // the second on the same connection
				require.NoError(t, roundTrip(t, ep, o).err, "%s %d", scheme, size)
			}
			calls, opened := e.seen()
			require.Len(t, calls, 2)
			assert.Equal(t, 1, opened)
			for _, c := range calls {
				assert.True(t, c.body == want, "%s %d: another body arrived", scheme, size)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	f := func(text string, status int, body string) {
		t.Helper()
		for _, way := range []int{0, 1, 7} { // whole, by the byte, by seven
			ep := adopt(t, Spec{URL: newEngine(t, dribble(text, way)).url})
			a := roundTrip(t, ep, post(`{}`))
			require.NoError(t, a.err, text)
			assert.Equal(t, status, a.status)
			assert.Equal(t, body, a.body)
		}
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, "hello")
	f("HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello")
	f("HTTP/1.0 200 OK\r\n\r\nhello", 200, "hello")
	f("HTTP/1.1 200 OK\r\nX-Big: "+strings.Repeat("x", 9000)+"\r\nContent-Length: 2\r\n\r\n{}", 200, "{}")
	f("HTTP/1.1 200 OK\r\nX-Big: "+strings.Repeat("x", 60000)+"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, "{}")
	f("HTTP/1.1 204 No Content\r\n\r\n", 204, "")
	f("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "")
	f("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, "")
	f("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}")
	f("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}")
}

// dribble writes text in pieces of n bytes, then closes; 0 is all at once.
func dribble(text string, n int) func(net.Conn, call) bool {
	return func(c net.Conn, _ call) bool {
		for rest := text; rest != ""; {
			k := len(rest)
			if n > 0 {
				k = min(n, k)
			}
			if _, err := io.WriteString(c, rest[:k]); err != nil {
				return false
			}
			rest = rest[k:]
		}
		return false
	}
}

func TestAnswersRefused(t *testing.T) {
	f := func(text string, phase Phase, contains string) {
		t.Helper()
		ep := adopt(t, Spec{URL: newEngine(t, says(text, false)).url})
		a := roundTrip(t, ep, post(`{}`))
		if !assert.Error(t, a.err, "%.60q was taken: %d %.60q", text, a.status, a.body) {
			return
		}
		fail := failureOf(t, a.err)
		assert.Equal(t, phase, fail.Phase, "%.60q: %v", text, a.err)
		assert.False(t, fail.Timeout)
		assert.Contains(t, a.err.Error(), contains)
		assert.Zero(t, ep.idleCount())
	}
	f("", PhaseWait, "EOF")
	f("H", PhaseHead, "EOF")
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", PhaseHead, "EOF")
	f("HTTP/1.1 100 Continue\r\n\r\n", PhaseHead, "EOF")
	f("SSH-2.0-OpenSSH_9.9\r\n\r\n", PhaseHead, "")
	f("\x16\x03\x01\x02\x00\r\n\r\n", PhaseHead, "")
	f("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", PhaseHead, "switched protocols")
	f(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20)+okAnswer, PhaseHead, "interim")
	f("HTTP/1.1 200 OK\r\nX-Big: "+strings.Repeat("x", 70000)+"\r\nContent-Length: 2\r\n\r\n{}", PhaseHead, "above 65536 bytes")
	f("HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Small: x\r\n", 100000), PhaseHead, "")
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", PhaseHead, "")
	f("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", PhaseHead, "")
	f("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}", PhaseHead, "")
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", PhaseBody, "EOF")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", PhaseBody, "EOF")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", PhaseBody, "chunk size")
}

// An answer whose framing can be read in two ways may be taken, but its
// connection never serves again.
func TestAmbiguousAnswerIsNeverPooled(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	} {
		ep := adopt(t, Spec{URL: newEngine(t, says(text, true)).url})
		o := post(`{}`)
		o.FirstByte = time.Second
		a := roundTrip(t, ep, o)
		assert.Zero(t, ep.idleCount(), "%q: %+v", text, a)
	}
}

// The engine refuses a long request before it has read it, and closes.
func TestEarlyAnswer(t *testing.T) {
	port := serve(t, "127.0.0.1:0", func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 1000))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
	})
	ep := adopt(t, Spec{URL: "http://127.0.0.1:" + port})
	var answers, failures int
	for range 20 {
		a := roundTrip(t, ep, post(strings.Repeat("x", 8<<20)))
		if a.err != nil {
			failures++
			continue
		}
		answers++
		assert.Equal(t, 413, a.status)
		assert.Equal(t, "big", a.body)
	}
	assert.Zero(t, ep.idleCount())
	assert.GreaterOrEqual(t, answers, 18, "%d failures", failures)
}

func TestTimeouts(t *testing.T) {
	f := func(text string, phase Phase) {
		t.Helper()
		ep := adopt(t, Spec{URL: newEngine(t, func(c net.Conn, _ call) bool {
			_, _ = io.WriteString(c, text)
			mute(c)
			return false
		}).url})
		o := post(`{}`)
		o.FirstByte = 400 * time.Millisecond // in which what was written is read
		began := time.Now()
		fail := failureOf(t, roundTrip(t, ep, o).err)
		assert.True(t, fail.Timeout, "%v", fail)
		assert.Equal(t, phase, fail.Phase)
		assert.GreaterOrEqual(t, time.Since(began), 350*time.Millisecond)
		assert.Less(t, time.Since(began), 20*time.Second)
		assert.Zero(t, ep.idleCount())
	}
	f("", PhaseWait)
	f("HTTP/1.1 200 OK\r\nCont", PhaseHead)
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", PhaseBody)
}

// A deadline in the middle of anything loses nothing.
func TestTimeoutResumes(t *testing.T) {
	more := make(chan string)
	ep := adopt(t, Spec{URL: newEngine(t, func(c net.Conn, _ call) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for text := range more {
			_, _ = io.WriteString(c, text)
		}
		return true
	}).url})
	var l Lease
	var head fasthttp.ResponseHeader
	require.True(t, ep.Acquire(&l, 1))
	require.NoError(t, l.RoundTrip(post(`{}`), &head))
	got := ""
	for _, text := range []string{"", "5", "\r", "\nhe", "llo", "\r", "\n", "3;x", "y\r\n", "!!!\r\n0\r\n", "A: ", "b\r\n", "\r"} {
		if text != "" {
			more <- text
		}
		for {
			l.Wait(time.Now(), 20*time.Millisecond)
			p, err := l.Next()
			if err != nil {
				require.True(t, failureOf(t, err).Timeout, "%v", err)
				break
			}
			got += string(p)
		}
	}
	more <- "\n"
	close(more)
	l.Wait(time.Now(), time.Second)
	_, err := l.Next()
	assert.Equal(t, io.EOF, err)
	assert.Equal(t, "hello!!!", got)
	l.Finish(Served, time.Now())
	assert.Equal(t, 1, ep.idleCount())
}

func TestDeadlineBoundsTheWait(t *testing.T) {
	ep := adopt(t, Spec{URL: newEngine(t, func(c net.Conn, _ call) bool { mute(c); return false }).url})
	for _, deadline := range []time.Duration{-time.Second, 50 * time.Millisecond} {
		o := post(`{}`)
		o.Deadline = time.Now().Add(deadline)
		began := time.Now()
		f := failureOf(t, roundTrip(t, ep, o).err)
		assert.True(t, f.Timeout, "%v", f)
		assert.Less(t, time.Since(began), 20*time.Second)
	}
}
