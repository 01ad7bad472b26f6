package router

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/router/admission"
)

// wide are limits that let everything of a test pass.
const wide = "{requests_per_minute: 1M, tokens_per_minute: 100M, tokens_per_day: 1000M, concurrent: 10k, budget: {usd: 1000000}}"

// withLimits is config with every limit on every scope, wide.
func withLimits(config string) string {
	config = strings.Replace(config, "{name: all", "{name: all, limits: "+wide+", model_limits: [{model: m, "+wide[1:]+"]", 1)
	config = strings.Replace(config, "{name: k,", "{name: k, limits: "+wide+",", 1)
	config = strings.Replace(config, "- name: m\n", "- name: m\n    limits: "+wide+"\n    price: {input: 3, cached_input: 1, output: 15}\n", 1)
	return config + "limits: " + wide + "\n"
}

// used is what is taken of the limits of a scope, but for those that flow off
// while one looks.
func used(s *admission.Scope) string {
	var b strings.Builder
	for _, st := range s.Standings(nil, time.Now()) {
		if st.Kind != admission.Requests && st.Kind != admission.Tokens {
			fmt.Fprintf(&b, "%s %d ", st.Kind, (st.Limit - st.Left))
		}
	}
	return strings.TrimSpace(b.String())
}

// Whatever way an exchange ends, what it reserved is settled, once and in every
// scope.
func TestSettledOnEveryEnding(t *testing.T) {
	const unary = `{"id":"x","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110,"prompt_tokens_details":{"cached_tokens":40}}}`
	type script func(a *asked) bool
	var reply atomic.Pointer[script] // what the backend does now
	came := make(chan struct{}, 1)
	url := newBackend(t, func(a *asked) bool {
		select {
		case came <- struct{}{}:
		default:
		}
		return (*reply.Load())(a)
	})
	answer := func(text string) func(a *asked) bool {
		return func(a *asked) bool { a.write(text); return true }
	}
	status := func(code int, headers string) func(a *asked) bool {
		return answer(fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: 2\r\n\r\n{}", code, headers))
	}
	const (
		nothing = "tokens_per_day 0 concurrent 0 budget 0"
		// 60 at 3, 40 at 1 and 10 at 15 dollars per million.
		exact = "tokens_per_day 110 concurrent 0 budget 370"
	)
	f := func(name, path, body string, backend script, want string) {
		t.Run(name, func(t *testing.T) {
			firstToken, headers := "300ms", []string(nil)
			if name == "impatient client" {
				firstToken, headers = "20s", []string{"X-Stainless-Read-Timeout: 1"}
			}
			config := strings.ReplaceAll(withLimits(open("idle: 300ms, first_token: "+firstToken, url)), "tokens_per_day: 1000M", "tokens_per_day: 10k")
			w := newWorld(t, strings.Replace(config, "balance: round_robin", "ejection: off\n    health: off", 1))
			reply.Store(&backend)
			c := w.dial(t)
			select {
			case <-came: // by the one before
			default:
			}
			_, err := io.WriteString(c, postTo(path, body, headers...))
			require.NoError(t, err)
			if name == "client leaves" {
				<-came
				require.NoError(t, c.Close())
			} else {
				_, _ = io.ReadAll(io.LimitReader(c, 200))
			}
			require.Eventually(t, func() bool { return w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
			for _, s := range w.limits.Scopes() {
				if s.Level == admission.Key {
					continue
				}
				assert.Regexp(t, "^"+want+"$", used(s), "%s %s", s.Level, s.Name)
			}
		})
	}
	const chatPath = "/v1/chat/completions"
	capped := `{"model":"m","messages":[],"max_tokens":20}`
	for _, path := range []string{chatPath, "/v1/completions", "/v1/embeddings", "/v1/moderations", "/v1/rerank", "/v1/messages"} {
		f("served "+path, path, simple, answer(jsonAnswer(unary)), exact)
	}
	f("served responses", "/v1/responses", `{"model":"m","input":"x"}`,
		answer(jsonAnswer(`{"id":"r","usage":{"input_tokens":100,"output_tokens":10,"total_tokens":110,"input_tokens_details":{"cached_tokens":40}}}`)), exact)
	stream := chunkOf(ev2+ev2+evFin) + chunkOf(`data: {"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":40}}}`+"\n\n") + chunkOf(evDone) + lastChunk
	f("streamed", chatPath, streaming, answer(sseHead+stream), exact)
	f("bad request at the backend", chatPath, simple, status(400, ""), nothing)
	f("server error", chatPath, simple, status(500, ""), nothing)
	f("backend full", chatPath, simple, status(429, "Retry-After: 1\r\n"), nothing)
	f("backend's 401", chatPath, simple, status(401, ""), nothing)
	f("closed unanswered", chatPath, simple, func(*asked) bool { return false }, nothing)
	f("no first token", chatPath, simple, func(a *asked) bool { <-a.left; return false }, nothing)
	f("cut before the first event", chatPath, streaming, func(a *asked) bool { a.write(sseHead); return false }, nothing)
	f("unknown model", chatPath, `{"model":"nobody"}`, nil, nothing)
	f("bad JSON", chatPath, `{"model"`, nil, nothing)
	// Without a usage the larger of reserved and seen counts: 20 tokens of answer
	// for a prompt of the two bytes of its messages, which is one token.
	f("no usage", chatPath, capped, answer(jsonAnswer(`{"choices":[]}`)), `tokens_per_day 21 concurrent 0 budget 303`)
	f("cut", chatPath, strings.Replace(capped, "{", `{"stream":true,`, 1), func(a *asked) bool { a.write(sseHead + chunkOf(ev2)); return false }, `tokens_per_day 21 concurrent 0 budget 303`)
	f("client leaves", chatPath, capped, func(a *asked) bool { <-a.left; return false }, `tokens_per_day 21 concurrent 0 budget 303`)
	f("impatient client", chatPath, capped, func(a *asked) bool { <-a.left; return false }, `tokens_per_day 21 concurrent 0 budget 303`)
}

func TestLimitAnswers(t *testing.T) {
	url := newBackend(t, func(a *asked) bool {
		a.write(jsonAnswer(`{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":20,"total_tokens":50}}`))
		return true
	})
	f := func(limits, body string, passes int, code string, more ...string) answer {
		t.Helper()
		w := newWorld(t, strings.Replace(open("", url), "{name: all", "{name: all, limits: "+limits, 1)+"limits: {requests_per_minute: 100k}\n")
		for range passes {
			require.Equal(t, 200, w.ask(t, chat(body)).status)
		}
		a := w.ask(t, chat(body))
		requireError(t, a, 429, code)
		for _, text := range more {
			assert.Contains(t, a.body, text)
		}
		return a
	}
	h := func(a answer, want ...string) {
		t.Helper()
		for i := 0; i < len(want); i += 2 {
			assert.Regexp(t, "^"+want[i+1]+"$", a.header.Get(want[i]), want[i])
		}
	}
	a := f("{requests_per_minute: 2}", simple, 2, "rate_limit_exceeded", `"type":"requests"`, "your organization", "limit 2")
	h(a, "Retry-After", "30", "Retry-After-Ms", "(29|30)[0-9]{3}", "X-Should-Retry", "", "X-Ratelimit-Limit-Requests", "2",
		"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", `(29|30)(\.\d+)?s`)
	f("{requests_per_minute: 0}", simple, 0, "rate_limit_exceeded", "never fit")
	a = f("{tokens_per_minute: 60}", `{"model":"m","messages":[],"max_tokens":59}`, 1, "rate_limit_exceeded", `"type":"tokens"`, "requested 60")
	h(a, "X-Ratelimit-Limit-Tokens", "60", "X-Ratelimit-Remaining-Tokens", "0")
	a = f("{tokens_per_minute: 60}", `{"model":"m","messages":[],"max_tokens":60}`, 0, "rate_limit_exceeded", "never fit")
	h(a, "X-Should-Retry", "false", "Retry-After", "")
	f("{tokens_per_day: 60}", `{"model":"m","messages":[],"max_tokens":30}`, 1, "rate_limit_exceeded", "per day")
	f("{concurrent: 0}", simple, 0, "rate_limit_exceeded", "concurrent requests")
	a = f("{budget: {usd: 0, per: day}}", simple, 0, "insufficient_quota", `"type":"insufficient_quota"`)
	h(a, "X-Should-Retry", "false")

	// What passes tells what is left, of the tightest scope.
	w := newWorld(t, strings.Replace(open("", url), "{name: all", "{name: all, limits: {requests_per_minute: 60, tokens_per_minute: 1000}", 1)+"limits: {requests_per_minute: 100k}\n")
	h(w.ask(t, chat(`{"model":"m","messages":[],"max_tokens":99}`)), "X-Ratelimit-Limit-Requests", "60", "X-Ratelimit-Remaining-Requests", "59", "X-Ratelimit-Reset-Requests", "(1s|9..ms)",
		"X-Ratelimit-Limit-Tokens", "1000", "X-Ratelimit-Remaining-Tokens", "9[5-9].", "X-Ratelimit-Reset-Tokens", `[1-3](\.\d+)?s`)

	// Without limits there are no such headers.
	a = newWorld(t, open("", url)).ask(t, chat(simple))
	for name := range a.header {
		assert.False(t, strings.HasPrefix(name, "X-Ratelimit"), name)
	}

	// Listing models takes nothing.
	w = newWorld(t, strings.Replace(open("", url), "{name: all", "{name: all, limits: {requests_per_minute: 0}", 1))
	assert.Equal(t, 200, w.ask(t, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n").status)
}

// A refused request is told so before its body is read.
func TestRefusedBeforeTheBody(t *testing.T) {
	w := newWorld(t, strings.Replace(open("", "http://127.0.0.1:1"), "{name: all", "{name: all, limits: {requests_per_minute: 0}", 1))
	a := w.ask(t, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n")
	requireError(t, a, 429, "rate_limit_exceeded")
}

// A shadow counts and refuses nothing; a reload keeps what is used.
func TestLimitsReload(t *testing.T) {
	url := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	with := func(limits string) string {
		return strings.Replace(open("", url), "{name: all", "{name: all, limits: "+limits, 1)
	}
	w := newWorld(t, with("{requests_per_minute: 2, shadow: true}"))
	for range 3 {
		require.Equal(t, 200, w.ask(t, chat(simple)).status)
	}
	scope := w.limits.Scopes()[0]
	refused, shadow := scope.Refused(admission.Requests)
	assert.Equal(t, []uint64{0, 1}, []uint64{refused, shadow})
	w.srv.Publish(w.compile(t, with("{requests_per_minute: 2}")))
	requireError(t, w.ask(t, chat(simple)), 429, "rate_limit_exceeded")
	require.Same(t, scope, w.limits.Scopes()[0])
	w.srv.Publish(w.compile(t, open("", url)))
	assert.Equal(t, 200, w.ask(t, chat(simple)).status)
	assert.Empty(t, w.limits.Scopes())
}

func TestConcurrentLimit(t *testing.T) {
	hold := make(chan struct{})
	url := newBackend(t, func(a *asked) bool { <-hold; a.write(jsonAnswer(`{}`)); return true })
	w := newWorld(t, strings.Replace(open("", url), "{name: all", "{name: all, limits: {concurrent: 2}", 1))
	done := make(chan int, 2)
	for range 2 {
		go func() {
			resp, err := http.Post("http://"+w.addr+"/v1/chat/completions", "application/json", bytes.NewReader([]byte(simple)))
			if err != nil {
				done <- 0
				return
			}
			_ = resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	scope := w.limits.Scopes()[0]
	require.Eventually(t, func() bool { return used(scope) == "concurrent 2" }, 20*time.Second, time.Millisecond)
	a := w.ask(t, chat(simple))
	requireError(t, a, 429, "rate_limit_exceeded")
	assert.Equal(t, "1", a.header.Get("Retry-After"))
	close(hold)
	assert.Equal(t, 200, <-done)
	assert.Equal(t, 200, <-done)
	http.DefaultClient.CloseIdleConnections()
	require.Eventually(t, func() bool { return used(scope) == "concurrent 0" }, 20*time.Second, time.Millisecond)
}

func TestAppendDuration(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		got := string(appendDuration(nil, d))
		assert.Equal(t, want, got)
		back, err := time.ParseDuration(got)
		require.NoError(t, err)
		assert.Less(t, back-d, time.Millisecond)
		assert.GreaterOrEqual(t, back, d)
	}
	f(0, "0ms")
	f(time.Nanosecond, "1ms")
	f(20*time.Millisecond, "20ms")
	f(time.Second, "1s")
	f(1500*time.Millisecond, "1.500s")
	f(6*time.Minute, "6m0s")
	f(24*time.Hour, "24h0m0s")
	f(time.Hour+time.Second+time.Millisecond, "1h0m1.001s")
}

func TestPromptOf(t *testing.T) {
	body := []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("A", 5000) + `"}},{"type":"text","text":"hi"}]}],"tools":[1]}`)
	var call openai.Call
	require.NoError(t, openai.Scan(body, 1, &call))
	p := promptOf(&call, body)
	assert.Equal(t, int64(1), p.Images)
	assert.Less(t, p.Bytes, int64(200))
	assert.Greater(t, p.Bytes, int64(80))
}
