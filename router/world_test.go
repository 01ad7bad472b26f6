package router

// A whole router on loopback, in front of scripted backends, for the tests of
// this package.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router/admission"
)

func TestMain(m *testing.M) {
	// fasthttp starts its clock with the first head, which must not be inside a bubble.
	new(fasthttp.ResponseHeader).Header()
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).workerFunc"),
	)
}

// logText is an operational log to look into.
type logText struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// world is a router and what is around it.
type world struct {
	srv       *Server
	fleet     *backends.Fleet
	fallbacks Fallbacks
	limits    admission.Book
	lots      Lots
	indexes   Indexes
	metrics   *metric.Metrics
	log       logText
	addr      string
}

// newWorld serves the configuration until the test ends; then nothing may be in
// flight any more.
func newWorld(t testing.TB, config string, opts ...func(*Options)) *world {
	t.Helper()
	w := &world{metrics: metric.New()}
	w.fleet = backends.NewFleet(w.metrics)
	o := Options{
		MaxHeader: 16 << 10, HalfClose: "cancel",
		Metrics: w.metrics, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	for _, opt := range opts {
		opt(&o)
	}
	var err error
	w.srv, err = NewServer(o)
	require.NoError(t, err)
	w.srv.Publish(w.compile(t, config))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- w.srv.Serve(ln.(*net.TCPListener)) }()
	t.Cleanup(func() {
		w.settled(t)
		w.srv.Drain(t.Context(), 0, 2*time.Second)
		require.NoError(t, <-served)
		w.srv.Close()
		w.fleet.Close()
	})
	return w
}

// settled waits until every request is over, its account included.
func (w *world) settled(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond, "requests in flight")
}

// scrape is the metrics of every request that was answered.
func (w *world) scrape(t testing.TB) string {
	t.Helper()
	w.settled(t)
	var b strings.Builder
	w.metrics.WritePrometheus(&b)
	return b.String()
}

func (w *world) compile(t testing.TB, config string) *Snapshot {
	t.Helper()
	cfg, err := configs.Parse("test.yaml", []byte(config), nil, nil)
	require.NoError(t, err)
	snap, err := Compile(cfg, World{Fleet: w.fleet, Metrics: w.metrics, Fallbacks: &w.fallbacks, Limits: &w.limits, Lots: &w.lots, Indexes: &w.indexes}, 1)
	require.NoError(t, err)
	snap.Retain(w.fleet)
	return snap
}

// open is a configuration for everybody: model m on the backends at urls.
func open(timeouts string, urls ...string) string {
	if !strings.Contains(timeouts, "total:") { // a busy machine is no dead backend
		timeouts = strings.TrimSuffix("connect: 20s, "+timeouts, ", ")
	}
	list := ""
	for _, u := range urls {
		list += "\n      - {url: " + u + "}"
	}
	return `
auth: {anonymous: all}
tenants: [{name: all}]
server: {max_body: 1MiB}
pools:
  - name: p
    balance: round_robin
    backends:` + list + `
models:
  - name: m
    targets: [{pool: p}]
    timeouts: {` + timeouts + `}
`
}

// asked is one request as a backend got it.
type asked struct {
	conn net.Conn
	nth  int // on that connection, from 1
	head string
	req  *http.Request
	body string
	left <-chan struct{} // closed when the peer has left
}

func (a *asked) write(text string) { _, _ = io.WriteString(a.conn, text) }

// newBackend serves a script over raw sockets until the test ends; false closes
// the connection. It notices at once when its peer leaves.
func newBackend(t testing.TB, answer func(a *asked) bool) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var group sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	group.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			group.Go(func() { serveBackend(c, answer) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return "http://" + ln.Addr().String()
}

func serveBackend(c net.Conn, answer func(a *asked) bool) {
	requests := make(chan *asked)
	done, left := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(requests)
		defer close(left)
		br := bufio.NewReaderSize(c, 64<<10)
		for nth := 1; ; nth++ {
			a := &asked{conn: c, nth: nth, left: left}
			if !a.read(br) {
				return
			}
			select {
			case requests <- a:
			case <-done:
				return
			}
		}
	}()
	for a := range requests {
		if !answer(a) {
			break
		}
	}
	_ = c.Close()
	close(done)
	<-left
}

func (a *asked) read(br *bufio.Reader) bool {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return false
		}
		head = append(head, line...)
	}
	a.head = string(head)
	var err error
	if a.req, err = http.ReadRequest(bufio.NewReader(bytes.NewReader(head))); err != nil {
		return false
	}
	body := make([]byte, max(a.req.ContentLength, 0))
	_, err = io.ReadFull(br, body)
	a.body = string(body)
	return err == nil
}

func (w *world) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c.(*net.TCPConn)
}

// answer is what a client read.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the body: nil is a proper end
}

// ask sends raw bytes on a connection of its own and reads one answer.
func (w *world) ask(t testing.TB, raw string) answer {
	t.Helper()
	c := w.dial(t)
	defer func() { _ = c.Close() }()
	_, err := io.WriteString(c, raw)
	require.NoError(t, err)
	return readAnswer(t, bufio.NewReader(c))
}

func readAnswer(t testing.TB, br *bufio.Reader) answer {
	t.Helper()
	resp, err := http.ReadResponse(br, nil)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

func postTo(path, body string, headers ...string) string {
	extra := ""
	for _, h := range headers {
		extra += h + "\r\n"
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", path, extra, len(body), body)
}

func chat(body string, headers ...string) string {
	return postTo("/v1/chat/completions", body, headers...)
}

const (
	simple    = `{"model":"m","messages":[]}`
	streaming = `{"model":"m","messages":[],"stream":true}`
	sseHead   = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
	lastChunk = "0\r\n\r\n"
)

func chunkOf(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

func jsonAnswer(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// requireError holds an answer to OpenAI's error object, all four keys.
func requireError(t testing.TB, a answer, status int, code string) {
	t.Helper()
	require.Equal(t, status, a.status, a.body)
	require.NoError(t, a.err)
	require.Regexp(t, `^\{"error":\{"message":".+","type":"[a-z_]+","param":(null|"[a-z_.]+"),"code":(null|"[a-z_]+")\}\}$`, a.body)
	if code != "" {
		require.True(t, strings.Contains(a.body, `"code":"`+code+`"`), a.body)
	}
}
