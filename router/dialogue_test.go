package router

// The websocket of responses: routed by its first message, read message by
// message.

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	frames "github.com/helixflow/helixflow/internal/websocket"
)

const responses = "/v1/responses"

// say sends a text message and returns the answer, or the error instead.
func say(t testing.TB, c *websocket.Conn, message string) (string, error) {
	t.Helper()
	require.NoError(t, c.Write(within(t), websocket.MessageText, []byte(message)))
	return hear(t, c)
}

func hear(t testing.TB, c *websocket.Conn) (string, error) {
	t.Helper()
	_, p, err := c.Read(within(t))
	return string(p), err
}

// requireEvent holds an event to the form of OpenAI's errors over this websocket.
func requireEvent(t testing.TB, text string, status int, code string) {
	t.Helper()
	var event struct {
		Type   string
		Status int
		Error  struct {
			Message, Type string
			Code, Param   *string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &event), text)
	require.Equal(t, "error", event.Type)
	require.Equal(t, status, event.Status, text)
	require.NotEmpty(t, event.Error.Message)
	require.NotEmpty(t, event.Error.Type)
	if code != "" {
		require.NotNil(t, event.Error.Code, text)
		require.Equal(t, code, *event.Error.Code, text)
	}
}

func TestResponsesSocket(t *testing.T) {
	heads := make(chan *http.Request, 1)
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		heads <- r
		echo(ctx, c, r)
	})
	config := strings.Replace(sockets("", url), "targets: [{pool: p}]", "aliases: [other]\n    targets: [{pool: p, model: inner}]\n    params: {cap: {max_output_tokens: 100}}", 1)
	w := newWorld(t, config)
	c, resp := w.socket(t, responses+"?beta=true", &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover, HTTPHeader: http.Header{"Openai-Beta": {"x"}}})
	assert.Empty(t, resp.Header.Get("Sec-Websocket-Extensions"), "none: the messages are read")
	assert.Empty(t, heads, "no backend before a message")
	f := func(message, want string) {
		t.Helper()
		got, err := say(t, c, message)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	f(`{"type":"response.create", "model": "m","input":"hi"}`, `{"type":"response.create", "model": "inner","input":"hi"}`)
	r := <-heads
	assert.Equal(t, "/v1/responses?beta=true", r.URL.String())
	assert.Equal(t, "x", r.Header.Get("Openai-Beta"))
	assert.Empty(t, r.Header.Get("Sec-Websocket-Extensions"))

	f(`{"type":"response.create","previous_response_id":"resp_1"}`, `{"type":"response.create","previous_response_id":"resp_1"}`)
	f(`{"model":"m","type":"response.create","max_output_tokens":101}`, `{"model":"inner","type":"response.create","max_output_tokens":100}`)
	f(`{"type":"response.steer","x":1}`, `{"type":"response.steer","x":1}`)
	long := `{"type":"response.create","input":"` + strings.Repeat("ä", 300<<10) + `"}`
	f(long, long)

	// What makes no sense is told, and goes no further.
	bad := func(message string, status int, code string) {
		t.Helper()
		got, err := say(t, c, message)
		require.NoError(t, err)
		requireEvent(t, got, status, code)
	}
	bad(`{"type":"response.create","model":"other"}`, 400, "")
	bad(`{"type":"response.create","model":"m","Model":"x"}`, 400, "duplicate_key")
	bad(`{"type":"response.create","type":"x"}`, 400, "duplicate_key")
	bad(`{"model":"m"}`, 400, "")
	bad(`{"type":7}`, 400, "")
	bad(`not JSON`, 400, "invalid_json")
	bad(``, 400, "invalid_json")
	f(`{"type":"response.create","model":"m"}`, `{"type":"response.create","model":"inner"}`)

	go func() { _, _, _ = c.Read(within(t)) }()
	require.NoError(t, c.Ping(within(t)))
	require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
	w.requireEnded(t, `endpoint="responses_socket",end="client"} 1`)
	w.requireMetric(t, `helixflow_requests_total{endpoint="responses_socket",model="m",stream="false",code="101"} 1`)
}

// Errors before there is a backend are an event, and then the end.
func TestResponsesSocketRefused(t *testing.T) {
	var reached atomic.Int32
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		reached.Add(1)
		echo(ctx, c, r)
	})
	w := newWorld(t, strings.Replace(sockets("", url), "tenants: [{name: all}]", "tenants: [{name: all, models: [m]}]", 1)+"  - name: other\n    targets: [{pool: p}]\n")
	f := func(message string, status int, code string) {
		t.Helper()
		c, _ := w.socket(t, responses, nil)
		got, err := say(t, c, message)
		require.NoError(t, err)
		requireEvent(t, got, status, code)
		_, err = hear(t, c)
		assertClosed(t, err, websocket.StatusPolicyViolation, "refused")
	}
	f(`{"type":"response.create"}`, 400, "missing_model")
	f(`{"type":"response.create","model":"nobody"}`, 404, "model_not_found")
	f(`{"type":"response.create","model":"other"}`, 403, "model_not_allowed")
	f(`{"type":"response.steer","model":"m"}`, 400, "")
	f(`[]`, 400, "invalid_json")
	w.requireEnded(t, `endpoint="responses_socket",end="refused"} 5`)
	assert.Zero(t, reached.Load())

	// What a backend says instead of 101 is passed on.
	declines := newBackend(t, func(a *asked) bool {
		a.write("HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 66\r\n\r\n" +
			`{"error":{"message":"no","type":"t","param":null,"code":"region"}}`)
		return false
	})
	w = newWorld(t, sockets("", declines))
	c, _ := w.socket(t, responses, nil)
	got, err := say(t, c, `{"type":"response.create","model":"m"}`)
	require.NoError(t, err)
	assert.Equal(t, `{"type":"error","status":403,"error":{"message":"no","type":"t","param":null,"code":"region"}}`, got)
	w.requireEnded(t)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	w = newWorld(t, sockets("", "http://"+ln.Addr().String()))
	c, _ = w.socket(t, responses, nil)
	got, err = say(t, c, `{"type":"response.create","model":"m"}`)
	require.NoError(t, err)
	requireEvent(t, got, 503, "no_backend_available")
	_, err = hear(t, c)
	assertClosed(t, err, websocket.StatusTryAgainLater, "try again later")
	w.requireEnded(t)
}

// A peer that answers pings, and says goodbye, before there is a backend.
func TestResponsesSocketAlone(t *testing.T) {
	w := newWorld(t, sockets("idle: 1s", "http://127.0.0.1:1"))
	c, _ := w.socket(t, responses, nil)
	go func() { _, _, _ = c.Read(within(t)) }()
	require.NoError(t, c.Ping(within(t)))
	require.NoError(t, c.Close(4001, "changed my mind"))
	w.requireEnded(t, `endpoint="responses_socket",end="client"} 1`)

	c, _ = w.socket(t, responses, nil)
	_, err := hear(t, c)
	assertClosed(t, err, websocket.StatusGoingAway, "silent for too long")
	w.requireEnded(t, `endpoint="responses_socket",end="idle"} 1`)

	c, _ = w.socket(t, responses, nil)
	_ = c.CloseNow()
	w.requireEnded(t, `endpoint="responses_socket",end="left"} 1`)

	c, _ = w.socket(t, responses, nil)
	w.srv.Drain(t.Context(), 0, 0)
	_, err = hear(t, c)
	assertClosed(t, err, websocket.StatusGoingAway, "going away")
	w.requireEnded(t, `endpoint="responses_socket",end="drain"} 1`)
}

// Frames as no client sends them. They come in one piece, and byte by byte.
func TestResponsesSocketFrames(t *testing.T) {
	w := newWorld(t, sockets("", socketBackend(t, nil, echo)))
	create := `{"type":"response.create","model":"m"}`
	fragment := func(op frames.Opcode, final bool, text string) string {
		h := frames.Header{Final: final, Opcode: op, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: int64(len(text))}
		b := append(h.AppendTo(nil), text...)
		frames.Mask(b[len(b)-len(text):], h.Key, 0)
		return string(b)
	}
	exchange := func(sent string, bytewise bool) string {
		c := w.dial(t)
		br := bufio.NewReader(c)
		_, err := io.WriteString(c, upgrade(responses))
		require.NoError(t, err)
		_, err = http.ReadResponse(br, nil)
		require.NoError(t, err)
		if bytewise {
			for i := range sent {
				if _, err = io.WriteString(c, sent[i:i+1]); err != nil {
					break
				}
			}
		} else {
			_, err = io.WriteString(c, sent)
		}
		require.NoError(t, err)
		var all []byte
		for { // to the close frame
			h, err := br.Peek(2)
			if err != nil {
				return string(all)
			}
			b := make([]byte, 2+int(h[1]))
			if _, err = io.ReadFull(br, b); err != nil {
				return string(all)
			}
			if all = append(all, b...); b[0] == 0x88 {
				_, _ = io.WriteString(c, fragment(frames.Close, true, string(b[2:4])))
				return string(all)
			}
		}
	}
	f := func(want string, sent ...string) {
		t.Helper()
		assert.Equal(t, want, exchange(strings.Join(sent, ""), false))
		assert.Equal(t, want, exchange(strings.Join(sent, ""), true))
	}
	closing := func(status int, reason string) string { return string(frames.AppendClose(nil, status, reason, false)) }
	bye := fragment(frames.Close, true, "\x03\xe8")
	answer := string(frames.AppendFrame(nil, frames.Text, []byte(create), false))
	pong := string(frames.AppendFrame(nil, frames.Pong, []byte("x"), false))

	// In order, though odd.
	f(answer+closing(1000, ""), fragment(frames.Text, true, create), bye)
	f(answer+closing(1000, ""), fragment(frames.Text, false, create[:5]), fragment(frames.Continuation, false, ""), fragment(frames.Continuation, true, create[5:]), bye)
	f(pong+answer+closing(1000, ""), fragment(frames.Text, false, create[:5]), fragment(frames.Ping, true, "x"), fragment(frames.Pong, true, "y"), fragment(frames.Continuation, true, create[5:]), bye)
	f(closing(1000, ""), fragment(frames.Close, true, ""))

	// Against the rules.
	malformed := closing(1002, "malformed frame")
	f(malformed, "\x81\x05hello")
	f(malformed, fragment(0x3, true, "x"))
	f(malformed, fragment(0xb, true, "x"))
	f(malformed, "\xc1\x81abcdx")
	f(malformed, fragment(frames.Continuation, true, "x"))
	f(malformed, fragment(frames.Text, false, "x"), fragment(frames.Text, true, "x"))
	f(malformed, fragment(frames.Ping, false, "x"))
	f(malformed, fragment(frames.Ping, true, strings.Repeat("x", 126)))
	f(malformed, fragment(frames.Close, true, "x"))
	f(malformed, fragment(frames.Close, true, "\x03\xed"))
	f(malformed, fragment(frames.Close, true, "\x03\xe8\xff"))
	f(malformed, "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd")
	f(closing(1003, "messages must be text"), fragment(frames.Binary, true, "x"))
	f(closing(1007, "text must be UTF-8"), fragment(frames.Text, true, "{\"\xff\":1}"))
	f(closing(1009, "the message is too large"), "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd")
	f(closing(1009, "the message is too large"), "\x81\xff\x00\x00\x00\x00\x00\x10\x00\x01abcd")
	w.requireEnded(t)
	assert.NotContains(t, w.log.String(), "panic")
}

// Fragments without an end are bounded, whatever their size.
func TestResponsesSocketFlood(t *testing.T) {
	w := newWorld(t, sockets("", socketBackend(t, nil, echo)))
	c := w.dial(t)
	_, err := io.WriteString(c, upgrade(responses))
	require.NoError(t, err)
	br := bufio.NewReader(c)
	_, err = http.ReadResponse(br, nil)
	require.NoError(t, err)
	piece := strings.Repeat("\x00\xfe\x03\xe8abcd"+strings.Repeat("x", 1000), 64)
	_, err = io.WriteString(c, "\x01\x80abcd")
	require.NoError(t, err)
	for range (1<<20)/64000 + 1 {
		_, err = io.WriteString(c, piece)
		require.NoError(t, err)
	}
	text := make([]byte, 4)
	_, err = io.ReadFull(br, text)
	require.NoError(t, err)
	assert.Equal(t, "\x88\x1a\x03\xf1", string(text))
}

// A client that leaves while a backend is sought, or in the middle of a message.
func TestResponsesSocketHangUp(t *testing.T) {
	reached, gone := make(chan struct{}), make(chan time.Time, 1)
	url := newBackend(t, func(a *asked) bool {
		reached <- struct{}{}
		<-a.left
		gone <- time.Now()
		return false
	})
	w := newWorld(t, sockets("", url))
	for range 5 {
		c, _ := w.socket(t, responses, nil)
		require.NoError(t, c.Write(within(t), websocket.MessageText, []byte(`{"type":"response.create","model":"m"}`)))
		<-reached
		began := time.Now()
		_ = c.CloseNow()
		assert.Less(t, (<-gone).Sub(began), time.Second)
	}
	w.requireEnded(t, `endpoint="responses_socket",end="left"} 5`)
}

// Websockets are requests to the limits: each holds a slot while it is open, and
// each response that is asked for is one more request.
func TestSocketLimits(t *testing.T) {
	url := socketBackend(t, nil, echo)
	w := newWorld(t, strings.Replace(sockets("", url), "{name: all}", "{name: all, limits: {concurrent: 1}}", 1))
	c, _ := w.socket(t, realtime, nil)
	requireError(t, w.ask(t, upgrade(realtime)), 429, "rate_limit_exceeded")
	_ = c.CloseNow()
	w.requireEnded(t)
	c, _ = w.socket(t, realtime, nil)
	requireEcho(t, c)
	_ = c.CloseNow()
	w.requireEnded(t)

	w = newWorld(t, strings.Replace(sockets("", url), "{name: all}", "{name: all, limits: {requests_per_minute: 2, tokens_per_day: 10k}}", 1))
	c, resp := w.socket(t, responses, nil)
	assert.Equal(t, "1", resp.Header.Get("X-Ratelimit-Remaining-Requests"))
	create := `{"type":"response.create","model":"m","max_output_tokens":1000}`
	steer := `{"type":"response.steer"}`
	for _, message := range []string{create, create, steer} {
		got, err := say(t, c, message)
		require.NoError(t, err)
		assert.Equal(t, message, got)
	}
	got, err := say(t, c, create)
	require.NoError(t, err)
	requireEvent(t, got, 429, "rate_limit_exceeded")
	got, err = say(t, c, steer)
	require.NoError(t, err)
	assert.Equal(t, steer, got, "what runs goes on")
	requireError(t, w.ask(t, upgrade(responses)), 429, "rate_limit_exceeded")
	_ = c.CloseNow()
	w.requireEnded(t)
	// What two answers may have taken, since nobody told.
	scope := w.srv.snapshot.Load().limits.tenant["all"].all
	assert.Contains(t, used(scope), "tokens_per_day 102")
}

// What a backend says that its responses used counts, on either websocket, and
// whether or not anybody is limited.
func TestSocketUsage(t *testing.T) {
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		for n := 1; ; n++ {
			_, p, err := c.Read(ctx)
			if err != nil {
				return
			}
			if strings.Contains(string(p), "silence") {
				continue
			}
			kind, filler := "response.completed", strings.Repeat("x", n*100_000)
			if strings.Contains(string(p), "audio") {
				kind = "response.done"
			}
			for _, text := range []string{
				`{"type":"response.created","response":{"id":"resp_1","usage":null}}`,
				`{"type":"` + kind + `","response":{"id":"resp_1","x":"` + filler + `","usage":{"input_tokens":1000,"input_tokens_details":{"cached_tokens":10},"output_tokens":` + strconv.Itoa(n) + `}}}`,
			} {
				if c.Write(ctx, websocket.MessageText, []byte(text)) != nil {
					return
				}
			}
		}
	})
	for name, limits := range map[string]string{"limited": ", limits: {tokens_per_day: 10k}", "free": ""} {
		w := newWorld(t, strings.Replace(sockets("", url), "{name: all}", "{name: all"+limits+"}", 1))
		usedTokens := func(want string) {
			t.Helper()
			if limits != "" {
				assert.Contains(t, used(w.srv.snapshot.Load().limits.tenant["all"].all), "tokens_per_day "+want, name)
			}
		}
		answered := func(c *websocket.Conn, message string) {
			t.Helper()
			_, err := say(t, c, message)
			require.NoError(t, err)
			_, err = hear(t, c)
			require.NoError(t, err)
		}
		c, _ := w.socket(t, responses, nil)
		create := `{"type":"response.create","model":"m","max_output_tokens":50}`
		answered(c, create)
		answered(c, create)
		_ = c.CloseNow()
		w.requireEnded(t)
		usedTokens("2003")

		c, _ = w.socket(t, realtime, nil)
		answered(c, "audio")
		usedTokens("3004") // at once
		answered(c, "audio")
		_ = c.CloseNow()
		w.requireEnded(t)
		usedTokens("4006")
		w.requireMetric(t, `helixflow_tokens_total{model="m",type="input"} 4000`)
		w.requireMetric(t, `helixflow_tokens_total{model="m",type="output"} 6`)

		// What ended is told; what did not costs what it may have taken.
		c, _ = w.socket(t, responses, nil)
		answered(c, create)
		require.NoError(t, c.Write(within(t), websocket.MessageText, []byte(`{"type":"response.create","input":"silence","max_output_tokens":50}`)))
		require.NoError(t, c.Close(websocket.StatusNormalClosure, ""))
		w.requireEnded(t)
		usedTokens("506")
	}
}

// Hooks see each message of a websocket that is read. What they cannot see, they
// decide by on_unseen.
func TestSocketHooks(t *testing.T) {
	url := socketBackend(t, nil, echo)
	hook := newHook(t, func(question string) string {
		switch {
		case strings.Contains(question, "forbidden"):
			return `{"action":"deny","code":"no","message":"No."}`
		case strings.Contains(question, "secret"):
			return `{"action":"replace","body":{"type":"response.create","model":"m","input":"***"}}`
		case strings.Contains(question, "wrong"):
			return `{"action":"replace","body":{"type":"response.steer","model":"m"}}`
		}
		return allows
	})
	serve := func(rules string) *world {
		config := hooked("", url, hook+rules)
		return newWorld(t, strings.Replace(config, "server: {max_body: 1MiB}", "passthrough: [{prefix: /v1/realtime}, {prefix: /v1/responses}]", 1))
	}
	w := serve("")
	requireError(t, w.ask(t, upgrade(realtime)), 400, "unsupported_value")
	c, _ := w.socket(t, responses, nil)
	f := func(message, want string) {
		t.Helper()
		got, err := say(t, c, message)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	f(`{"type":"response.create","model":"m","input":"hi"}`, `{"type":"response.create","model":"upstream","input":"hi"}`)
	f(`{"type":"response.create","model":"m","input":"secret"}`, `{"type":"response.create","model":"upstream","input":"***"}`)
	for message, code := range map[string]string{
		`{"type":"response.create","input":"forbidden"}`:            "no",
		`{"type":"response.steer","input":"forbidden"}`:             "no",
		`{"type":"response.create","model":"m","input":"wrong"}`:    "check_unavailable",
		`{"type":"response.create","model":"m","input":"forbidden"`: "invalid_json",
	} {
		got, err := say(t, c, message)
		require.NoError(t, err)
		assert.Contains(t, got, `"code":"`+code+`"`)
	}
	f(`{"type":"response.create","input":"again"}`, `{"type":"response.create","input":"again"}`)
	_ = c.CloseNow()
	w.requireEnded(t)

	c, _ = serve(", on_unseen: pass").socket(t, realtime, nil)
	requireEcho(t, c)

	w = serve(", when: after")
	requireError(t, w.ask(t, upgrade(realtime)), 400, "unsupported_value")
	c, _ = w.socket(t, responses, nil)
	got, err := say(t, c, `{"type":"response.create","model":"m"}`)
	require.NoError(t, err)
	requireEvent(t, got, 400, "unsupported_value")
	w.requireEnded(t)

	w = serve(", when: after, on_unseen: pass")
	c, _ = w.socket(t, responses, nil)
	f(`{"type":"response.create","model":"m"}`, `{"type":"response.create","model":"upstream"}`)
	assert.Equal(t, "1", w.hookCount("h0", "after", "unseen"))
}

// At the end of its time an agent is told what OpenAI would tell it.
func TestResponsesSocketTotal(t *testing.T) {
	w := newWorld(t, sockets("total: 1s", socketBackend(t, nil, echo)))
	for _, first := range []string{"", `{"type":"response.create","model":"m"}`} {
		c, _ := w.socket(t, responses, nil)
		if first != "" {
			_, err := say(t, c, first)
			require.NoError(t, err)
		}
		got, err := hear(t, c)
		require.NoError(t, err)
		requireEvent(t, got, 400, "websocket_connection_limit_reached")
		_, err = hear(t, c)
		assertClosed(t, err, websocket.StatusGoingAway, "open for too long")
	}
	w.requireEnded(t, `endpoint="responses_socket",end="total"} 2`)
}
