package main

// helixflow explain, from a file and from a router's answer.

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/router"
)

const explainConfig = `
tenants:
  - name: acme
    models: ["llama*"]
    keys: [{name: ci, hash: %q}, {name: fresh, generate: true}]
pools:
  - name: gpus
    api_key: pool-secret
    headers: {X-Account: header-secret}
    backends: [{url: %q, max_inflight: 8}, {url: "sim:gpu-a", weight: 2}]
  - {name: hosted, backends: [{url: "http://127.0.0.1:4"}]}
  - {name: spare, backends: [{url: "http://127.0.0.1:5"}]}
models:
  - name: llama
    aliases: [llama-latest]
    targets:
      - {pool: gpus, model: meta/llama, weight: 3}
      - {pool: hosted, weight: 1}
      - {pool: spare, priority: 2}
      - {pool: hosted, mirror: 1%%}
  - {name: other, targets: [{pool: hosted}]}
`

// unasked is the URL of a backend that must not be connected to.
func unasked(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			_ = c.Close()
			t.Error("a backend was connected to")
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return "http://" + ln.Addr().String()
}

func TestExplainHook(t *testing.T) {
	path := file(t, strings.Replace(fmt.Sprintf(explainConfig, helixflowKey(t).Hash, unasked(t)), "models:\n", `hooks: [{name: pii, url: "http://127.0.0.1:6/check", when: both, on_unseen: pass}]
models:
  - {name: guarded, targets: [{pool: hosted}], hooks: [pii]}
`, 1))
	r := helixflow("", "explain", "-c", path, "--model", "guarded")
	assert.Equal(t, exitGood, r.code)
	assert.Contains(t, r.stdout, "\nhook       pii at http://127.0.0.1:6/check sees requests and answers, 1s; on_error refuse, on_unseen pass\n")
	assert.Contains(t, helixflow("", "explain", "-c", path, "--model", "guarded", "--json").stdout, `"hooks":[{"name":"pii","url":"http://127.0.0.1:6/check","requests":true,"answers":true,`)
}

func TestExplainFile(t *testing.T) {
	key, url := helixflowKey(t), unasked(t)
	path := file(t, fmt.Sprintf(explainConfig, key.Hash, url))
	want := fmt.Sprintf(`goes to    pool gpus (75%%) or pool hosted (25%%)
request    chat_completions, model llama-latest, an alias of llama
asked by   tenant acme, key ci
time-outs  connect 1s, first token 1m0s, idle 30s, total 10m0s

priority 1 pool gpus takes 75%% of the requests (weight 3), adaptive, 2 tries
  model    meta/llama
  body     stream_options added; model changed; usage asked for, and kept from the client
  headers  X-Account
  sends    1 key of its own
  backend  %-22s  weight 1  at most 8 in flight
  backend  %-22s  weight 2

priority 1 pool hosted takes 25%% of the requests (weight 1), adaptive, 2 tries
  model    llama
  body     stream_options added; model changed; usage asked for, and kept from the client
  backend  http://127.0.0.1:4  weight 1

priority 2 pool spare stands by (weight 1), adaptive, 2 tries
  model    llama
  body     stream_options added; model changed; usage asked for, and kept from the client
  backend  http://127.0.0.1:5  weight 1

mirror     pool hosted gets a copy of 1%% of the requests, model llama

This is what the file says: the state of its backends is not looked at. --admin URL asks a router that serves.
`, url, "sim:gpu-a")
	body := `{"model":"llama-latest","stream":true,"messages":[{"role":"user","content":"what is asked"}]}`
	r := helixflow(body, "explain", "-c", path, "--key", key.Key, "--body", "-")
	assert.Equal(t, result{exitGood, want, ""}, r)

	bodyFile := file(t, body)
	r = helixflow(key.Key+"\n", "explain", "-c", path, "--key", "-", "--body", bodyFile)
	assert.Equal(t, result{exitGood, want, ""}, r)

	r = helixflow("", "explain", "-c", path, "--model", "llama", "--tenant", "acme", "--key-name", "fresh", "--json")
	require.Equal(t, exitGood, r.code, r.stderr)
	var x router.Explanation
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &x))
	assert.Equal(t, "fresh", x.Principal.Key)
	assert.False(t, x.Live)
	assert.True(t, x.AssumedBody)
	assert.Equal(t, 1, x.Route.Chosen)
	assert.Equal(t, 1, strings.Count(r.stdout, "\n"))
	for _, secret := range []string{"pool-secret", "header-secret", key.Hash} {
		assert.NotContains(t, r.stdout, secret)
	}
}

func TestExplainFindsProblems(t *testing.T) {
	key, stranger := helixflowKey(t), helixflowKey(t)
	path := file(t, fmt.Sprintf(explainConfig, key.Hash, unasked(t)))
	f := func(out, complaint string, args ...string) {
		t.Helper()
		r := helixflow("", append([]string{"explain", "-c", path}, args...)...)
		assert.Equal(t, exitProblem, r.code)
		assert.Contains(t, r.stdout, out)
		assert.Contains(t, r.stderr, complaint)
		for _, k := range []string{key.Key, stranger.Key} {
			assert.NotContains(t, r.stdout+r.stderr, k)
		}
	}
	f("refused    401 invalid_api_key: Incorrect API key provided.\n           the configuration has no key of its id\n", "", "--model", "llama", "--key", stranger.Key)
	f("asked by   nobody known\n", "", "--model", "llama", "--key", "sk-nonsense")
	f("refused    403 model_not_allowed", "", "--model", "other", "--tenant", "acme")
	f("tenant acme may use llama*\n", "", "--model", "other", "--key", key.Key)
	f("refused    404 model_not_found", "", "--model", "lama")
	f("           did you mean llama", "", "--model", "lama")
	f("", "did you mean acme?", "--model", "llama", "--tenant", "acne")
	f("", "none of that name", "--model", "llama", "--tenant", "acme", "--key-name", stranger.Key)
	f("", "cannot read the body", "--body", path+".none")
	f("", "empty body", "--body", file(t, ""))
	f(`"refusal":{"status":400,"code":"invalid_json"`, "", "--body", file(t, "{broken"), "--json")

	r := helixflow("", "explain", "-c", file(t, "pols: []\n"), "--model", "m")
	assert.Equal(t, exitProblem, r.code)
	assert.Empty(t, r.stdout)
	assert.Contains(t, r.stderr, "pols")
}

func TestExplainUsage(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		r := helixflow("", append([]string{"explain"}, args...)...)
		assert.Equal(t, exitUsage, r.code, r.stderr)
		assert.Empty(t, r.stdout)
		assert.Contains(t, r.stderr, want)
	}
	f("either -c FILE or --admin URL", "--model", "m")
	f("either -c FILE or --admin URL", "--model", "m", "-c", "f", "--admin", "a")
	f("needs --model NAME", "-c", "f")
	f("a key is not sent", "--admin", "a", "--model", "m", "--key", "k")
	f("use one of them", "-c", "f", "--model", "m", "--key", "k", "--tenant", "t")
	f("needs --tenant", "-c", "f", "--model", "m", "--key-name", "k")
	f("not both", "-c", "f", "--body", "-", "--key", "-")
	f("an address like", "--admin", "ftp://x", "--model", "m")
	f("an address like", "--admin", "http://user:pass@x", "--model", "m")
}

func TestExplainAsksARouter(t *testing.T) {
	const answer = `{"model":"m","operation":"chat_completions","assumed_body":true,"live":true,"generation":3,
"route":{"name":"*","found_as":"catch_all","chosen":2,"hold":{"priority":2,"until":"2026-01-02T03:04:05Z"},
"targets":[{"priority":1,"weight":1,"share":0,"pool":"a b","policy":"random","model":"m","edits":[],"keys":2,"keys_ready":1,"attempts":1,"panic":true,
"backends":[{"url":"http://one","weight":1,"max_inflight":4,"in_flight":4,"state":"healthy","eligible":true,"usable":false,"reason":"at its limit"},
{"url":"http://two","weight":1,"in_flight":0,"state":"ejected","reason":"5 failures\u001b[31m in a row","back_in":"12s"}]},
{"priority":2,"weight":1,"share":1,"pool":"b","policy":"random","model":"m","edits":[],"attempts":2,"backends":[{"url":"http://three","weight":1,"in_flight":1,"state":"healthy","eligible":true,"usable":true}]}]
,"timeouts":{"connect":"1s","first_token":"1s","idle":"1s","total":"1s"}}}`
	var asked []string
	status, text := 200, answer
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(body))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	defer srv.Close()
	f := func(code int, want string, args ...string) result {
		t.Helper()
		asked = nil
		r := helixflow(`{"model":"x"}`, append([]string{"explain", "--admin", srv.URL}, args...)...)
		assert.Equal(t, code, r.code, r.stderr)
		require.Equal(t, []string{want}, asked)
		return r
	}
	r := f(exitGood, "GET /-/explain?key=ci&model=org%2Fm&tenant=acme  ", "--model", "org/m", "--tenant", "acme", "--key-name", "ci")
	assert.Equal(t, `goes to    pool b
request    chat_completions, model m, by the model "*"
asked by   nobody in particular: no right is looked at
time-outs  connect 1s, first token 1s, idle 1s, total 1s
held       at priority 2 until 2026-01-02T03:04:05Z, since those before had no backend

priority 1 pool "a b" takes nothing (weight 1), random, 1 try
  model    m
  sends    2 keys of its own, 1 not resting
  panic    so few backends are healthy that ejections are ignored
  backend  http://one  weight 1  4 in flight of 4  healthy, takes nothing: at its limit
  backend  http://two  weight 1  0 in flight       ejected, takes nothing: 5 failures\x1b[31m in a row, back in 12s at the earliest

priority 2 pool b takes 100% of the requests (weight 1), random, 2 tries
  model    m
  backend  http://three  weight 1  1 in flight  healthy

Plan 3 of a router that serves, as of now.
The request is taken to name the model and nothing else. --body FILE explains a whole one.
`, r.stdout)
	f(exitGood, `POST /-/explain Bearer secret-token {"model":"x"}`, "--body", "-", "--token", "secret-token")

	r = f(exitGood, "GET /-/explain?model=m  ", "--model", "m", "--json")
	assert.Contains(t, r.stdout, `"chosen":2`)

	status, text = 401, `{"error":{"message":"this address asks for its token"}}`
	r = f(exitProblem, "GET /-/explain?model=m Bearer wrong-token ", "--model", "m", "--token", "wrong-token")
	assert.Contains(t, r.stderr, "401 Unauthorized): this address asks for its token")
	assert.NotContains(t, r.stderr, "wrong-token")
	status, text = 302, ""
	f(exitProblem, "GET /-/explain?model=m  ", "--model", "m")
	for _, text = range []string{"<html>", "{}", "null", `{"route":null}`} {
		status = 200
		r = f(exitProblem, "GET /-/explain?model=m  ", "--model", "m")
		assert.Contains(t, r.stderr, "is it an admin address?")
	}
	text = strings.ReplaceAll(answer, `"random"`, `"ran\u001b[31mdom"`)
	r = f(exitGood, "GET /-/explain?model=m  ", "--model", "m")
	assert.NotContains(t, r.stdout, "\x1b")

	srv.Close()
	r = helixflow("", "explain", "--admin", strings.TrimPrefix(srv.URL, "http://"), "--model", "m")
	assert.Equal(t, exitProblem, r.code)
	assert.Contains(t, r.stderr, "cannot ask the router")
}
