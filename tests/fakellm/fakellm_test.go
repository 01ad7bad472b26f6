package fakellm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func dial(t *testing.T, s *Server) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(5*time.Second)))
	return c.(*net.TCPConn)
}

// post sends a chat request whose prompt orders a script.
func post(t *testing.T, c net.Conn, order, rest string) {
	t.Helper()
	body := `{"model":"m","messages":[{"role":"user","content":"hi"}]` + rest + `}`
	if order != "" {
		body = `{"model":"m","messages":[{"role":"user","content":"fake:` + order + `;"}]` + rest + `}`
	}
	_, err := io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: fake\r\nContent-Length: "+
		itoa(len(body))+"\r\n\r\n"+body)
	require.NoError(t, err)
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// ask is post and everything the peer sends until it closes.
func ask(t *testing.T, order, rest string) (answer string, err error) {
	t.Helper()
	s := start(t, Options{})
	c := dial(t, s)
	post(t, c, order, rest)
	b, err := io.ReadAll(c)
	return string(b), err
}

const stream = `,"stream":true`

func TestGoodAnswers(t *testing.T) {
	s := start(t, Options{})
	f := func(path, body, want string) {
		t.Helper()
		resp, err := http.Post("http://"+s.Addr()+path, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		defer func() { require.NoError(t, resp.Body.Close()) }()
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Contains(t, string(got), want)
		if !strings.Contains(body, "stream") {
			assert.True(t, json.Valid(got), "%s", got)
		}
	}
	f("/v1/chat/completions", `{"model":"a/b"}`, `"object":"chat.completion","created":1700000000,"model":"a/b"`)
	f("/v1/chat/completions", `{"model":"m","stream":true}`, "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	f("/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`, `"choices":[],"usage":{"prompt_tokens":7`)
	f("/v1/completions", `{"model":"m"}`, `"object":"text_completion"`)
	f("/v1/completions", `{"model":"m","stream":true}`, `"text":"w1 "`)
	f("/v1/responses", `{"model":"m"}`, `"object":"response"`)
	f("/v1/responses", `{"model":"m","stream":true}`, "event: response.completed\ndata: {\"type\":\"response.completed\"")
	f("/v1/embeddings", `{"model":"m","input":"x"}`, `"embedding":[0.25,-0.5,1]`)
	f("/v1/moderations", `{"input":"x"}`, `"flagged":false`)
	http.DefaultClient.CloseIdleConnections()
	assert.Len(t, s.Requests(), 9)
}

func TestEveryEventIsJSON(t *testing.T) {
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/v1/responses"} {
		script := MustParse("usage,errnull,big=100,after")
		for _, e := range script.events(readAsked(path, []byte(`{"model":"\"q"}`))) {
			_, data, ok := strings.Cut(e, "data: ")
			require.True(t, ok, e)
			assert.True(t, data == "[DONE]" || json.Valid([]byte(data)), "%s: %s", path, e)
		}
	}
}

func TestCuts(t *testing.T) {
	whole, err := ask(t, "connclose", stream)
	require.NoError(t, err)
	head := strings.Index(whole, "\r\n\r\n") + 4
	chunkEnd := func(k int) int {
		at := head
		for range k {
			at += strings.Index(whole[at:], "\n\n\r\n") + 4
		}
		return at
	}
	f := func(fault string, want int) {
		t.Helper()
		got, err := ask(t, "connclose,close@"+fault, stream)
		require.NoError(t, err, fault)
		assert.Equal(t, whole[:want], got, fault)
		got, err = ask(t, "connclose,reset@"+fault, stream)
		require.ErrorIs(t, err, syscall.ECONNRESET, fault)
		assert.True(t, strings.HasPrefix(whole[:want], got), fault)
	}
	f("head", 0)
	f("head+10", 10)
	f("byte:12", 12)
	f("body", head)
	f("body+7", head+7)
	f("chunk:1", chunkEnd(1))
	f("chunk:2", chunkEnd(2))
	f("chunk:2+9", chunkEnd(2)+9)
	f("end", len(whole))
	f("byte:99999999", len(whole))
}

func TestShapes(t *testing.T) {
	f := func(order, rest, want string) {
		t.Helper()
		got, err := ask(t, order+",bye", rest)
		require.NoError(t, err, order)
		assert.Contains(t, got, want, order)
	}
	f("status=503,header=Retry-After:5", "", "HTTP/1.1 503 Service Unavailable\r\n")
	f("status=503,header=Retry-After:5", "", "\r\nRetry-After:5\r\n")
	f("status=429", stream, `"code":"fake_429"`)
	f("body=a%20b%3b", "", "\r\n\r\na b;")
	f("chunked,split=5", "", "\r\n\r\n5\r\n{\"id\"\r\n")
	f("length", stream, "data: [DONE]\n\n")
	f("eof", "", "application/json\r\n\r\n{")
	f("http10", "", "HTTP/1.0 200 OK\r\n")
	f("lie=+5,body=abc", "", "Content-Length: 8\r\n\r\nabc")
	f("lie=-1,body=abc", "", "Content-Length: 2\r\n\r\nabc")
	f("dupcl=9", "", "\r\nContent-Length: 9\r\n\r\n")
	f("extra=HTTP/1.1", "", "}HTTP/1.1")
	f("trailers", stream, "\r\n0\r\nX-Trailer: yes\r\n\r\n")
	f("info=103", "", "HTTP/1.1 103 Early Hints\r\nX-Info: yes\r\n\r\nHTTP/1.1 200 OK\r\n")
	f("bighead=1MiB", "", "X-Big: xxxx")
	f("garbage", "", "this is no HTTP")
	f("errnull", stream, `data: {"error":null,"id"`)
	f("crlf", stream, "data: [DONE]\r\n\r\n")
	f("noblank", stream, "data: [DONE]\n\r\n0\r\n")
	f("nodone", stream, "\"stop\"}]}\n\n\r\n0\r\n")
	f("comment", stream, ": comment\n\ndata: {")
	f("after", stream, "data: [DONE]\n\n\r\nc") // a chunk follows
	f("big=1MiB", stream, strings.Repeat("x", 1<<20))
	f("join=2", stream, "}\n\ndata: {")
	f("events=5,drip=1us", stream, "w5 ")
	f("nonsense", "", "no such directive")
}

func TestQueueServesPOSTsInOrder(t *testing.T) {
	s := start(t, Options{})
	s.Queue(MustParse("status=500 times=2"), MustParse("status=429"))
	f := func(method string, want int) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+s.Addr()+"/v1/models", http.NoBody)
		require.NoError(t, err)
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, want, resp.StatusCode)
	}
	f("GET", 200)
	f("POST", 500)
	f("POST", 500)
	f("POST", 429)
	f("POST", 200)
	assert.Zero(t, s.Queued())
}

// Whoever leaves while the answer is being written is noted too, whether reading or
// writing finds out first.
func TestPeerLeavesMeanwhile(t *testing.T) {
	s := start(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := range 100 {
		c := dial(t, s)
		post(t, c, "events=2000,gap=50us", stream)
		_, err := io.ReadFull(c, make([]byte, 1000))
		require.NoError(t, err)
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
		_, found := s.Wait(ctx, func(r Request) bool { return r.ID == n+1 && !r.Left.IsZero() })
		require.True(t, found, "of %d", n)
	}
}

func TestPeerLeaves(t *testing.T) {
	f := func(order, how string, leave func(c *net.TCPConn)) {
		t.Helper()
		s := start(t, Options{})
		c := dial(t, s)
		post(t, c, order, stream)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, found := s.Wait(ctx, func(r Request) bool { return !r.Stalled.IsZero() })
		require.True(t, found, order)
		left := time.Now()
		leave(c)
		r, found := s.Wait(ctx, func(r Request) bool { return !r.Left.IsZero() })
		require.True(t, found, order)
		assert.Equal(t, how, r.LeftBy, order)
		assert.Less(t, r.Left.Sub(left), 5*time.Second, order)
	}
	fin := func(c *net.TCPConn) { _ = c.CloseWrite() }
	rst := func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
	f("stall@head", "eof", fin)
	f("stall@body", "eof", fin)
	f("stall@chunk:2", "eof", fin)
	f("stall@head", "reset", rst)
	f("stall@chunk:2", "reset", rst)
}

func TestStallGoesOn(t *testing.T) {
	got, err := ask(t, "connclose,stall=1ms@head,stall=1ms@chunk:1,stall=1ms@chunk:1+3", stream)
	require.NoError(t, err)
	assert.Contains(t, got, "[DONE]")
}

func TestAcceptFaults(t *testing.T) {
	s := start(t, Options{})
	s.Queue(MustParse("close@accept"), MustParse("stall@accept"))
	_, err := dial(t, s).Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	c := dial(t, s)
	post(t, c, "", "")
	require.NoError(t, c.CloseWrite())
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestKeepAliveEnds(t *testing.T) {
	f := func(o Options, requests int) {
		t.Helper()
		s := start(t, o)
		c := dial(t, s)
		br := bufio.NewReader(c)
		for range requests {
			post(t, c, "", "")
			resp, err := http.ReadResponse(br, nil)
			require.NoError(t, err)
			_, err = io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.False(t, resp.Close, "nothing is announced")
		}
		_, err := br.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	}
	f(Options{MaxRequests: 2}, 2)
	f(Options{MaxIdle: 50 * time.Millisecond}, 1)
}

func TestDownRefusesAndUpServesOnTheSamePort(t *testing.T) {
	s := start(t, Options{})
	addr := s.Addr()
	c := dial(t, s)
	post(t, c, "", "")
	_, err := c.Read(make([]byte, 1))
	require.NoError(t, err)
	s.Down(true)
	_, err = io.ReadAll(c)
	assert.True(t, err == nil || errors.Is(err, syscall.ECONNRESET), "%v", err)
	_, err = net.Dial("tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, s.Up())
	post(t, dial(t, s), "", "")
	assert.Equal(t, addr, s.Addr())
}

func TestChunkedAndPipelinedRequests(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s)
	_, err := io.WriteString(c, "POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n"+"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, found := s.Wait(ctx, func(r Request) bool { return r.Path == "/v1/models" })
	require.True(t, found)
	assert.JSONEq(t, `{"a":1}`, s.Requests()[0].Body)
	assert.Equal(t, 1, s.Requests()[1].Conn)
	assert.Equal(t, 2, s.Conns()[0].Requests)
}

func TestControl(t *testing.T) {
	s := start(t, Options{})
	f := func(method, target, body string, status int, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		s.Control().ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
		assert.Equal(t, status, w.Code)
		assert.Contains(t, w.Body.String(), want)
	}
	f("GET", "/requests", "", 200, "[]")
	f("POST", "/queue", "status=418", 200, "")
	f("POST", "/queue", "statusx", 400, "no such directive")
	assert.Equal(t, 1, s.Queued())
	f("POST", "/down", "", 200, "")
	_, err := net.Dial("tcp", s.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	f("POST", "/up", "", 200, "")
	post(t, dial(t, s), "connclose", "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, found := s.Wait(ctx, func(r Request) bool { return !r.Finished.IsZero() })
	require.True(t, found)
	f("GET", "/requests", "", 200, `"script":"connclose"`)
	f("GET", "/conns", "", 200, `"requests":1`)
	f("POST", "/forget", "", 200, "")
	f("GET", "/requests", "", 200, "[]")
}

func TestParseRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Parse(text)
		require.ErrorContains(t, err, want)
	}
	f("events=x", `cannot read script word "events=x": want a number`)
	f("gap=1", "want a duration")
	f("big=65MiB", "at most 64MiB")
	f("header=X", "want Name:Value")
	f("break@head", "no such fault")
	f("reset@nowhere", "no such point")
	f("reset@head:3", "head takes no count")
	f("body=%zz", "invalid URL escape")
}

func FuzzScript(f *testing.F) {
	f.Add("events=2,reset@chunk:1+3,split=4", `{"model":"m","stream":true}`)
	f.Add("lie=-9,dupcl=1,stall=1ms@byte:-4", "no json")
	f.Fuzz(func(t *testing.T, text, body string) {
		s, err := Parse(text)
		if err != nil || s.Events > 100 || s.Big > 1<<16 || s.BigHead > 1<<16 {
			return
		}
		w := s.render(readAsked("/v1/chat/completions", []byte(body)))
		sum := 0
		for _, p := range w.pieces {
			sum += len(p.data)
		}
		for _, c := range w.cuts {
			assert.True(t, c.offset >= 0 && c.offset <= sum)
		}
	})
}

func TestSockets(t *testing.T) {
	s := start(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	open := func(path string) *websocket.Conn {
		c, _, err := websocket.Dial(ctx, "ws://"+s.Addr()+path, &websocket.DialOptions{Subprotocols: []string{"realtime", "b"}})
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.CloseNow() })
		assert.Equal(t, "realtime", c.Subprotocol())
		return c
	}
	hears := func(c *websocket.Conn, kinds ...string) {
		t.Helper()
		for _, kind := range kinds {
			_, p, err := c.Read(ctx)
			require.NoError(t, err)
			require.True(t, json.Valid(p), "%s", p)
			require.Contains(t, string(p), `"type":"`+kind+`"`)
		}
	}
	say := func(c *websocket.Conn, text string) {
		t.Helper()
		require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(text)))
	}
	c := open("/v1/realtime?model=voice")
	hears(c, "session.created")
	say(c, `{"type":"session.update","session":{}}`)
	hears(c, "session.updated")
	say(c, `{"type":"conversation.item.create","item":{"type":"message"}}`)
	hears(c, "conversation.item.added", "conversation.item.done")
	say(c, `{"type":"response.create","note":"fake:events=1,gap=1ms;"}`)
	hears(c, "response.created", "response.output_text.delta", "response.output_text.done", "response.done")
	say(c, `{"type":"nonsense"}`)
	hears(c, "error")
	require.NoError(t, c.Write(ctx, websocket.MessageBinary, []byte("pcm")))
	_, p, err := c.Read(ctx)
	require.NoError(t, err)
	assert.Equal(t, "pcm", string(p))
	say(c, `{"type":"fake.bytes","bytes":70000}`)
	c.SetReadLimit(-1)
	_, p, err = c.Read(ctx)
	require.NoError(t, err)
	assert.Len(t, p, 70000)
	say(c, `{"type":"response.create","note":"fake:close@chunk:1;"}`)
	hears(c, "response.created")
	_, _, err = c.Read(ctx)
	require.ErrorIs(t, err, io.EOF)
	assert.Contains(t, s.Requests()[0].Body, `{"type":"nonsense"}`+"\n")

	c = open("/v1/responses")
	say(c, `{"type":"response.create","model":"m","input":"hi"}`)
	hears(c, "response.created", "response.output_text.delta", "response.output_text.delta", "response.output_text.delta", "response.completed")
	say(c, `{"type":"fake.close","code":4001,"reason":"why"}`)
	_, _, err = c.Read(ctx)
	assert.Equal(t, websocket.StatusCode(4001), websocket.CloseStatus(err))

	c = open("/v1/realtime")
	_ = c.CloseNow()
	_, found := s.Wait(ctx, func(r Request) bool { return r.ID == 3 && !r.Left.IsZero() })
	assert.True(t, found, "a peer that leaves is noted")

	// A script in the queue answers the handshake.
	script, err := Parse("status=503")
	require.NoError(t, err)
	s.Queue(script)
	_, resp, err := websocket.Dial(ctx, "ws://"+s.Addr()+"/v1/realtime", nil)
	require.Error(t, err)
	assert.Equal(t, 503, resp.StatusCode)
}
