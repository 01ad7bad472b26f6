package main

// Refusals and failures: what the client makes of each status, and what it retries.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

var errorChecks = []check{
	{"error-400", error400},
	{"error-401", error401},
	{"error-401-backend", error401Backend},
	{"error-403", error403},
	{"error-404-model", error404Model},
	{"error-404-path", error404Path},
	{"error-409", error409},
	{"error-413", error413},
	{"error-422", error422},
	{"error-429", error429},
	{"error-500-retried", error500},
	{"error-503-retried", error503},
	{"retry-after-429", func(ctx context.Context, w *world) string { return retried(ctx, w, 429) }},
	{"retry-after-503", func(ctx context.Context, w *world) string { return retried(ctx, w, 503) }},
	{"retry-count", retryCount},
}

// refused holds that the attempt ends in this error, with all of OpenAI's error
// object, and that so many requests reach the engine.
func refused(w *world, status int, code string, contacted int, attempt func() error) *openai.Error {
	before := w.stats().Received
	err := attempt()
	var e *openai.Error
	if !errors.As(err, &e) {
		fail("%T is no openai.Error: %v", err, err)
	}
	equal("status", e.StatusCode, status)
	equal("code", e.Code, code)
	want(e.Message != "" && e.Type != "", "the error has a message and a type: %s", e.RawJSON())
	for _, field := range []string{`"message"`, `"type"`, `"param"`, `"code"`} {
		want(strings.Contains(e.RawJSON(), field), "the error has %s: %s", field, e.RawJSON())
	}
	want(e.Response.Header.Get("X-Request-Id") != "", "there is a request id")
	equal("requests that reached the engine", w.stats().Received-before, contacted)
	return e
}

// asking is an attempt at a chat completion.
func asking(ctx context.Context, w *world, content string, options ...option.RequestOption) func() error {
	return func() error {
		_, err := w.ask(ctx, content, options...)
		return err
	}
}

func error400(ctx context.Context, w *world) string {
	e := refused(w, 400, "", 0, asking(ctx, w, "hi", option.WithJSONSet("max_tokens", "many")))
	equal("param", e.Param, "max_tokens")
	refused(w, 400, "", 0, asking(ctx, w, "hi", option.WithJSONSet("stream", "yes")))
	refused(w, 400, "", 1, asking(ctx, w, "", option.WithJSONSet("messages", []string{}))) // the engine's own
	return ""
}

func error401(ctx context.Context, w *world) string {
	for _, key := range []string{"sk-wrong", w.keySmall[1:], strings.Repeat("x", 200)} {
		e := refused(w, 401, "invalid_api_key", 0, asking(ctx, w, "hi", option.WithAPIKey(key), option.WithMaxRetries(2)))
		want(!strings.Contains(e.Error(), key), "the error does not repeat the key")
	}
	return ""
}

// error401Backend: the router's credential was refused, not the caller's, and
// there is no use in trying again.
func error401Backend(ctx context.Context, w *world) string {
	refused(w, 502, "upstream_error", 1, asking(ctx, w, "sim:error=401; hi", option.WithMaxRetries(2)))
	return ""
}

func error403(ctx context.Context, w *world) string {
	small := option.WithAPIKey(w.keySmall)
	refused(w, 403, "model_not_allowed", 0, asking(ctx, w, "hi", small))
	must(w.ask(ctx, "hi", small, fakeModel()))
	return ""
}

func error404Model(ctx context.Context, w *world) string {
	e := refused(w, 404, "model_not_found", 0, asking(ctx, w, "hi", option.WithJSONSet("model", "gpt-9")))
	want(strings.Contains(e.Message, "gpt-9"), "%q names the model", e.Message)
	refused(w, 404, "model_not_found", 0, func() error {
		_, err := w.Models.Get(ctx, "no/such:model")
		return err
	})
	return ""
}

func error404Path(ctx context.Context, w *world) string {
	refused(w, 404, "unknown_url", 0, func() error {
		return w.Post(ctx, "nothing/here", map[string]string{"model": "fake"}, nil)
	})
	return ""
}

func error409(ctx context.Context, w *world) string {
	refused(w, 409, "simulated_error", 1, asking(ctx, w, "sim:error=409; hi"))
	return ""
}

// error413 is refused while the client still sends: it must read the answer, not
// a reset.
func error413(ctx context.Context, w *world) string {
	big := strings.Repeat("x", 2<<20)
	for range 3 {
		refused(w, 413, "request_too_large", 0, asking(ctx, w, big))
	}
	refused(w, 401, "invalid_api_key", 0, asking(ctx, w, big, option.WithAPIKey("sk-wrong")))
	return ""
}

func error422(ctx context.Context, w *world) string {
	refused(w, 422, "simulated_error", 1, asking(ctx, w, "sim:error=422; hi"))
	return ""
}

func error429(ctx context.Context, w *world) string {
	e := refused(w, 429, "rate_limit_exceeded", 1, asking(ctx, w, "sim:error=429; hi"))
	equal("type", e.Type, "requests")
	return ""
}

func error500(ctx context.Context, w *world) string {
	refused(w, 500, "simulated_error", 2, asking(ctx, w, "sim:error=500; hi", option.WithMaxRetries(1)))
	return ""
}

func error503(ctx context.Context, w *world) string {
	refused(w, 503, "simulated_error", 3, asking(ctx, w, "sim:error=503,retry_after=20ms; hi", option.WithMaxRetries(2)))
	return ""
}

// retried succeeds at the third try, after twice the time the engine named: more
// than the client would wait by itself.
func retried(ctx context.Context, w *world, status int) string {
	before, start := w.stats().Received, time.Now()
	order := fmt.Sprintf("sim:error=%d,retry_after=800ms,id=%s,times=2,tokens=4; hi", status, rand.Text())
	r := must(w.ask(ctx, order, option.WithMaxRetries(2)))
	took := time.Since(start)
	equal("completion tokens", r.Usage.CompletionTokens, 4)
	equal("requests", w.stats().Received-before, 3)
	want(took >= 1600*time.Millisecond, "after %v Retry-After was heard", took)
	return ""
}

// retryCount: the client numbers its tries, and the backend can tell them apart.
func retryCount(ctx context.Context, w *world) string {
	seen := len(w.fakeRequests())
	fetch(w.fake+"/queue", "status=503 header=Retry-After-Ms:20 times=2", nil)
	must(w.ask(ctx, "hi", fakeModel(), option.WithMaxRetries(2)))
	requests := w.fakeRequests()[seen:]
	equal("requests", len(requests), 3)
	for i, r := range requests {
		equal("retry count", r.Header.Get("X-Stainless-Retry-Count"), fmt.Sprint(i))
		equal("the caller's key at the backend", len(r.Header[http.CanonicalHeaderKey("Authorization")]), 0)
	}
	return ""
}
