package router

// Whatever an engine answers, the client reads what it asked for or OpenAI's
// error object.

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answerOf is an answer byte for byte; typ is empty for none.
func answerOf(status int, typ, body string, headers ...string) string {
	head := fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n", status, len(body))
	if typ != "" {
		head += "Content-Type: " + typ + "\r\n"
	}
	for _, h := range headers {
		head += h + "\r\n"
	}
	return head + "\r\n" + body
}

const jsonType = "application/json"

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

func TestErrorsAreRegular(t *testing.T) {
	var reply atomic.Value
	url := newBackend(t, func(a *asked) bool { a.write(reply.Load().(string)); return false })
	w := newWorld(t, open("", url))
	f := func(name string, sent string, status int, want string) {
		t.Helper()
		reply.Store(sent)
		for _, body := range []string{simple, streaming} {
			a := w.ask(t, chat(body))
			require.Equal(t, status, a.status, name)
			require.NoError(t, a.err, name)
			assert.Equal(t, want, a.body, name)
			assert.Equal(t, []string{jsonType}, a.header["Content-Type"], name)
			assert.Equal(t, fmt.Sprint(len(want)), a.header.Get("Content-Length"), name)
			assert.Empty(t, a.header.Get("Content-Encoding"), name)
		}
	}
	object := func(message, typ string) string {
		return `{"error":{"message":"` + message + `","type":"` + typ + `","param":null,"code":null}}`
	}
	const regular = `{ "error": {"message":"m","type":"t","param":null,"code":"c","x":1}, "y":2}` + "\n"
	f("regular", answerOf(400, jsonType, regular), 400, regular)
	f("regular, odd type", answerOf(400, "text/plain; charset=utf-8", regular), 400, regular)
	f("regular, no type", answerOf(418, "", regular), 418, regular)
	f("fastapi", answerOf(422, jsonType, `{"detail":[{"loc":["body","model"],"msg":"Field required","type":"missing"}]}`), 422,
		`{"error":{"message":"model: Field required","type":"invalid_request_error","param":"model","code":null}}`)
	f("tgi", answerOf(424, jsonType, `{"error":"Request failed during generation","error_type":"generation"}`), 424, object("Request failed during generation", "generation"))
	f("uvicorn", answerOf(500, "text/plain; charset=utf-8", "Internal Server Error"), 500, object("Internal Server Error", "server_error"))
	f("nginx", answerOf(413, "text/html", "<html><head><title>413</title></head></html>"), 413, object("The backend answered 413 Request Entity Too Large.", "invalid_request_error"))
	f("nothing", answerOf(403, "", ""), 403, object("The backend answered 403 Forbidden.", "invalid_request_error"))
	f("a status of its own", answerOf(599, "", ""), 599, object("The backend answered 599.", "server_error"))
	f("a limit", answerOf(429, "text/html", "<html>"), 429, object("The backend answered 429 Too Many Requests.", "requests"))
	f("compressed", answerOf(400, jsonType, gzipped(regular), "Content-Encoding: gzip"), 400, object("The backend answered 400 Bad Request.", "invalid_request_error"))
	f("a stream", answerOf(400, "text/event-stream", "data: {\"error\":\"no\"}\n\ndata: [DONE]\n\n"), 400, object("no", "invalid_request_error"))
	f("far too long", answerOf(422, jsonType, `{"detail":[{"loc":["body","model"],"msg":"Field required","input":"`+strings.Repeat("x", 300<<10)+`"}]}`), 422,
		`{"error":{"message":"model: Field required","type":"invalid_request_error","param":"model","code":null}}`)
	f("long, and regular", answerOf(400, jsonType, `{"error":{"message":"m","type":"t","param":null,"code":null,"x":"`+strings.Repeat("x", 200<<10)+`"}}`), 400,
		`{"error":{"message":"m","type":"t","param":null,"code":null,"x":"`+strings.Repeat("x", 200<<10)+`"}}`)

	// An error under 200 is an error.
	f("vllm, in a 200", answerOf(200, jsonType, `{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}`), 400,
		`{"error":{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":null}}`)
	f("openrouter", answerOf(200, jsonType, `{"error":{"message":"no credits","code":402},"user_id":"u"}`), 402,
		`{"error":{"type":"invalid_request_error","param":null,"message":"no credits","code":null},"user_id":"u"}`)
	f("by its type alone", answerOf(200, jsonType, `{"error":"too long","error_type":"validation"}`), 422, object("too long", "validation"))
	f("by nothing", answerOf(200, jsonType, `{"error":"boom"}`), 502, object("boom", "server_error"))
	f("its own 401", answerOf(200, jsonType, `{"error":{"message":"bad key","code":"401"}}`), 502,
		`{"error":{"message":"The backend refused the router's credential. This is for the router's operator to mend.","type":"server_error","param":null,"code":"upstream_error"}}`)

	// What makes no sense.
	const nonsense = madeNoSense
	f("a page", answerOf(200, "text/html", "<html>welcome</html>"), 502, nonsense)
	f("a page as JSON", answerOf(200, jsonType, "<html>welcome</html>"), 502, nonsense)
	f("no body", answerOf(200, jsonType, ""), 502, nonsense)
	f("a redirect", answerOf(307, "", "", "Location: http://10.0.0.1/"), 502, nonsense)
}

// A stream that begins with an error is that error, with its status.
func TestStreamsThatBeginWithAnError(t *testing.T) {
	var reply atomic.Value
	url := newBackend(t, func(a *asked) bool { a.write(reply.Load().(string)); return false })
	w := newWorld(t, open("", url))
	f := func(path, body, sent string, status int, want string) {
		t.Helper()
		reply.Store(sseHead + chunkOf(sent) + lastChunk)
		a := w.ask(t, postTo(path, body))
		require.Equal(t, status, a.status, sent)
		assert.Equal(t, want, a.body, sent)
		assert.Equal(t, jsonType, a.header.Get("Content-Type"))
		assert.Empty(t, a.header.Get("X-Accel-Buffering"))
	}
	const chatPath = "/v1/chat/completions"
	f(chatPath, streaming, `data: {"error":{"message":"Input validation error","http_status_code":422}}`+"\n\n"+evDone, 422,
		`{"error":{"type":"invalid_request_error","param":null,"code":null,"message":"Input validation error","http_status_code":422}}`)
	f(chatPath, streaming, ": hi\n\n"+`data: {"error":"Model is overloaded","error_type":"overloaded"}`+"\n\n", 429,
		`{"error":{"message":"Model is overloaded","type":"overloaded","param":null,"code":null}}`)
	f(chatPath, streaming, "event: error\ndata: out of memory\n\n", 502, `{"error":{"message":"out of memory","type":"server_error","param":null,"code":null}}`)
	f(chatPath, streaming, errFrame+evDone, 502, `{"error":{"message":"oom","type":"t","param":null,"code":null}}`)
	f("/v1/responses", `{"model":"m","input":"x","stream":true}`, "event: error\ndata: {\"type\":\"error\",\"code\":\"c\",\"message\":\"m\",\"param\":null,\"sequence_number\":0}\n\n", 502,
		`{"error":{"type":"server_error","code":"c","message":"m","param":null,"sequence_number":0}}`)
	// Another backend may do better.
	good := newBackend(t, func(a *asked) bool { a.write(sseHead + chunkOf(ev1+evFin+evDone) + lastChunk); return true })
	two := newWorld(t, open("", url, good))
	reply.Store(sseHead + chunkOf(`data: {"error":{"message":"engine is dead","code":500}}`+"\n\n") + lastChunk)
	for range 4 {
		a := two.ask(t, chat(streaming))
		assert.Equal(t, 200, a.status)
		assert.Equal(t, ev1+evFin+evDone, a.body)
	}
}

func TestAnswersUnderAnotherName(t *testing.T) {
	const whole = `{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`
	const stream = ev1 + evFin + evDone
	f := func(name, sent, body string, status int, typ, want string) *world {
		t.Helper()
		w := newWorld(t, open("", newBackend(t, func(a *asked) bool { a.write(sent); return false })))
		a := w.ask(t, chat(body))
		require.Equal(t, status, a.status, name)
		require.NoError(t, a.err, name)
		assert.Equal(t, want, a.body, name)
		assert.Equal(t, typ, a.header.Get("Content-Type"), name)
		return w
	}
	const events = "text/event-stream; charset=utf-8"
	f("as it is", answerOf(200, "application/json; charset=utf-8", whole), simple, 200, "application/json; charset=utf-8", whole)
	f("text", answerOf(200, "text/plain", whole), simple, 200, jsonType, whole)
	f("no type", answerOf(200, "", whole), simple, 200, jsonType, whole)
	f("bytes", answerOf(200, "application/octet-stream", "\x00\x01"), simple, 200, "application/octet-stream", "\x00\x01")
	f("compressed", answerOf(200, jsonType, gzipped(whole), "Content-Encoding: gzip"), simple, 200, jsonType, gzipped(whole))
	f("tgi's reasons", answerOf(200, jsonType, strings.Replace(whole, `"stop"`, `"eos_token"`, 1)), simple, 200, jsonType, whole)

	for _, typ := range []string{"text/plain", "application/x-ndjson", jsonType, "", "application/octet-stream"} {
		f("a stream as "+typ, answerOf(200, typ, stream), streaming, 200, events, stream)
	}
	f("a stream that was not asked for", answerOf(200, "text/event-stream", stream), simple, 502, jsonType, madeNoSense)
	f("that, as text", answerOf(200, "text/plain", stream), simple, 502, jsonType, madeNoSense)

	chunk := strings.NewReplacer("chat.completion", "chat.completion.chunk", "message", "delta").Replace(whole)
	w := f("no stream though asked for", answerOf(200, jsonType, whole), streaming, 200, events, "data: "+chunk+"\n\n"+evDone)
	assert.Contains(t, w.scrape(t), `helixflow_tokens_total{model="m",type="input"} 7`)
	f("no stream, nor a result", answerOf(200, jsonType, `{"id":"1"}`), streaming, 502, jsonType, madeNoSense)
	f("no stream, and lines", answerOf(200, "application/x-ndjson", whole+"\n"+whole+"\n"), streaming, 502, jsonType, madeNoSense)
}

const madeNoSense = `{"error":{"message":"The backend's answer was interrupted or made no sense.","type":"server_error","param":null,"code":"upstream_error"}}`

// A stream under another name reaches the client as it comes, however it is cut,
// and is not gathered first.
func TestUnnamedStreamIsNotHeld(t *testing.T) {
	more := make(chan string)
	url := newBackend(t, func(a *asked) bool {
		a.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkOf("\r\n") + chunkOf("da"))
		a.write(chunkOf("ta: " + strings.TrimPrefix(ev1, "data: ")))
		a.write(<-more)
		return true
	})
	w := newWorld(t, open("", url))
	c := w.dial(t)
	_, err := c.Write([]byte(chat(streaming)))
	require.NoError(t, err)
	var got []byte
	for b := make([]byte, 4096); !bytes.Contains(got, []byte(ev1)); {
		n, err := c.Read(b)
		require.NoError(t, err)
		got = append(got, b[:n]...)
	}
	more <- chunkOf(evFin+evDone) + lastChunk
	for b := make([]byte, 4096); !bytes.HasSuffix(got, []byte(lastChunk)); {
		n, err := c.Read(b)
		require.NoError(t, err)
		got = append(got, b[:n]...)
	}
	assert.Contains(t, string(got), evDone)
}

// One client that asks for what a backend cannot do does not take it out for the
// others.
func TestOtherFormIsNoFailure(t *testing.T) {
	url := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{"object":"response","output":[]}`)); return true })
	w := newWorld(t, open("", url, "http://127.0.0.1:1"))
	for range 20 {
		w.ask(t, postTo("/v1/responses", `{"model":"m","input":"x","stream":true}`))
	}
	for _, s := range w.fleet.Status() {
		if s.URL == url {
			assert.Zero(t, s.Ejections)
			assert.Zero(t, s.Failures)
		}
	}
}
