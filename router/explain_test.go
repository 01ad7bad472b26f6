package router

// Where a request would go: the answer is held against what the router then does.

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router/admission"
)

const explained = `
tenants:
  - name: acme
    models: ["llama-*", "gpt-4o"]
    keys: [{name: ci, hash: %q}, {name: old, hash: %q, expires: 2020-01-01}]
  - name: beta
    keys: [{name: only, hash: %q}]
pools:
  - name: gpus
    api_key: pool-secret-of-gpus
    headers: {X-Account: header-secret}
    balance: round_robin
    backends: [{url: "http://127.0.0.1:1", weight: 3, max_inflight: 2}, {url: "http://127.0.0.1:2"}]
  - {name: canary, usage: as_is, backends: [{url: "http://127.0.0.1:3"}]}
  - {name: hosted, backends: [{url: "http://127.0.0.1:4"}]}
models:
  - name: llama-3.1-70b
    aliases: [gpt-4o]
    fallback_hold: 1m
    targets:
      - {pool: gpus, model: meta/Llama-3.1, priority: 3, weight: 95}
      - {pool: canary, priority: 3, weight: 5}
      - {pool: hosted, priority: 9}
      - {pool: canary, mirror: 1%%}
    timeouts: {connect: 2s, first_token: 30s, idle: 20s, total: 5m}
    params: {default: {temperature: 0.125}, cap: {max_tokens: 4096}, drop: [logit_bias]}
  - name: other
    targets: [{pool: hosted}]
`

// plan is a compiled configuration that nothing serves.
type plan struct {
	*Snapshot
	fleet         *backends.Fleet
	ci, old, only authn.Key
	now           time.Time
}

func newPlan(t *testing.T, config string) *plan {
	p := &plan{fleet: backends.NewFleet(metric.New()), now: time.Now()}
	t.Cleanup(p.fleet.Close)
	var hashes []any
	for _, k := range []*authn.Key{&p.ci, &p.old, &p.only} {
		var err error
		*k, err = authn.Generate("test", rand.Reader)
		require.NoError(t, err)
		hash, err := authn.Hash(k.Text.Reveal(), nil)
		require.NoError(t, err)
		hashes = append(hashes, hash)
	}
	cfg, err := configs.Parse("test.yaml", fmt.Appendf(nil, config, hashes...), nil, nil)
	require.NoError(t, err)
	p.Snapshot, err = Compile(cfg, World{Fleet: p.fleet, Metrics: metric.New(), Fallbacks: new(Fallbacks), Limits: new(admission.Book), Lots: new(Lots)}, 7)
	require.NoError(t, err)
	return p
}

// explain asks, and holds that nothing secret is in the answer.
func (p *plan) explain(t *testing.T, q Question) Explanation {
	t.Helper()
	if q.Now.IsZero() {
		q.Now = p.now
	}
	x, err := p.Explain(q)
	require.NoError(t, err)
	text, err := json.Marshal(x)
	require.NoError(t, err)
	for _, s := range []string{"pool-secret", "header-secret", "hook-secret", "hfx_", "sha256", "0.125", "what is asked"} {
		require.NotContains(t, string(text), s)
	}
	return x
}

func TestExplainHooks(t *testing.T) {
	config := strings.Replace(explained, "models:\n  - name", `hooks:
  - {name: pii, url: "http://127.0.0.1:5/check", token: hook-secret, max_body: 1KiB}
  - {name: both, url: "http://127.0.0.1:6", when: both, timeout: 1500ms, on_error: pass, on_unseen: pass}
  - {name: audit, url: "http://127.0.0.1:7", when: after, on_unseen: refuse}
models:
  - name`, 1)
	config = strings.Replace(config, "    targets: [{pool: hosted}]\n", "    targets: [{pool: hosted}]\n    hooks: [audit, pii, both]\n", 1)
	p := newPlan(t, config)
	x := p.explain(t, Question{Model: "other"})
	assert.Nil(t, x.Refusal)
	assert.Equal(t, []ExplainedHook{
		{Name: "audit", URL: "http://127.0.0.1:7", Answers: true, Timeout: "1s", OnError: "refuse", OnUnseen: "refuse"},
		{Name: "pii", URL: "http://127.0.0.1:5/check", Requests: true, Timeout: "1s", OnError: "refuse", OnUnseen: "refuse"},
		{Name: "both", URL: "http://127.0.0.1:6", Requests: true, Answers: true, Timeout: "1.5s", OnError: "pass", OnUnseen: "pass"},
	}, x.Route.Hooks)
	assert.Empty(t, p.explain(t, Question{Model: "llama-3.1-70b"}).Route.Hooks)

	f := func(body string, status int, code string) {
		t.Helper()
		x := p.explain(t, Question{Body: []byte(body)})
		require.NotNil(t, x.Refusal)
		assert.Equal(t, fmt.Sprint(status, " ", code), fmt.Sprint(x.Refusal.Status, " ", x.Refusal.Code))
		assert.Len(t, x.Route.Hooks, 3)
	}
	f(`{"model":"other","stream":true}`, 400, "unsupported_value")
	f(`{"model":"other","a":"`+strings.Repeat("x", 1<<10)+`"}`, 413, "request_too_large")
	f("{\"model\":\"other\",\"a\":\"\xff\"}", 400, "invalid_json")
}

func TestExplainRoute(t *testing.T) {
	p := newPlan(t, explained)
	x := p.explain(t, Question{Credential: p.ci.Text, Body: []byte(
		`{"model":"gpt-4o","stream":true,"max_tokens":9000,"logit_bias":{},"messages":[{"role":"user","content":"what is asked"}]}`)})
	require.Nil(t, x.Refusal)
	assert.Equal(t, &ExplainedPrincipal{Tenant: "acme", Key: "ci", Models: []string{"llama-*", "gpt-4o"}}, x.Principal)
	assert.Equal(t, "gpt-4o", x.Model)
	assert.Equal(t, "chat_completions", x.Operation)
	assert.Equal(t, uint64(7), x.Generation)
	assert.False(t, x.AssumedBody)
	r := x.Route
	assert.Equal(t, "llama-3.1-70b", r.Name)
	assert.Equal(t, "alias", r.FoundAs)
	assert.Equal(t, 1, r.Chosen)
	assert.Nil(t, r.Hold)
	assert.Equal(t, ExplainedTimeouts{Connect: "2s", FirstToken: "30s", Idle: "20s", Total: "5m0s"}, r.Timeouts)
	require.Len(t, r.Targets, 3)

	ruled := []ExplainedEdit{{"logit_bias", "removed"}, {"max_tokens", "changed"}, {"model", "changed"}}
	temperature, options := ExplainedEdit{"temperature", "added"}, ExplainedEdit{"stream_options", "added"}
	assert.Equal(t, ExplainedTarget{
		Priority: 1, Weight: 95, Share: 0.95, Ready: 1, Attempts: 2,
		ExplainedPool: ExplainedPool{
			Pool: "gpus", Policy: "round_robin", Model: "meta/Llama-3.1", Headers: []string{"X-Account"}, Keys: 1,
			Edits: append(append([]ExplainedEdit{}, ruled...), options, temperature), UsageWithheld: true,
		},
		Backends: []ExplainedBackend{
			{URL: "http://127.0.0.1:1", Weight: 3, MaxInFlight: 2, State: "healthy", Eligible: true, Usable: true},
			{URL: "http://127.0.0.1:2", Weight: 1, State: "healthy", Eligible: true, Usable: true},
		},
	}, r.Targets[0])
	assert.Equal(t, ExplainedPool{
		Pool: "canary", Policy: "adaptive", Model: "llama-3.1-70b", Edits: append(append([]ExplainedEdit{}, ruled...), temperature),
	}, r.Targets[1].ExplainedPool)
	assert.Equal(t, 0.05, r.Targets[1].Share)
	assert.Equal(t, 2, r.Targets[2].Priority)
	assert.Equal(t, 1.0, r.Targets[2].Share)
	require.Len(t, r.Mirrors, 1)
	assert.Equal(t, 0.01, r.Mirrors[0].Share)
	assert.Equal(t, "canary", r.Mirrors[0].Pool)
}

// TestExplainedModel: a question's model goes before the body's.
func TestExplainedModel(t *testing.T) {
	p := newPlan(t, explained)
	f := func(model, body, want string, assumed bool) {
		t.Helper()
		q := Question{Model: model}
		if body != "" {
			q.Body = []byte(body)
		}
		x := p.explain(t, q)
		require.Nil(t, x.Refusal)
		assert.Equal(t, want, x.Model)
		assert.Equal(t, want, x.Route.Targets[0].Model)
		assert.Equal(t, assumed, x.AssumedBody)
		assert.Nil(t, x.Principal)
	}
	f("other", "", "other", true)
	f("other", `{}`, "other", false)
	f("other", `{"n":1}`, "other", false)
	f("other", `{"model":"gpt-4o","n":1}`, "other", false)
	f("", `{"model":"other"}`, "other", false)
	f("", `{"model":"ot\u0068er"}`, "other", false)
}

func TestExplainedOperation(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		assert.Equal(t, want, operationOf([]byte(body)).String())
	}
	f(`{"messages":[]}`, "chat_completions")
	f(`{"prompt":"x"}`, "completions")
	f(`{"input":"x"}`, "responses")
	f(`{}`, "chat_completions")
	f(`{broken`, "chat_completions")
}

func TestExplainRefusals(t *testing.T) {
	p := newPlan(t, explained)
	f := func(q Question, status int, code, hint string) {
		t.Helper()
		x := p.explain(t, q)
		require.NotNil(t, x.Refusal)
		assert.Equal(t, status, x.Refusal.Status)
		assert.Equal(t, code, x.Refusal.Code)
		assert.NotEmpty(t, x.Refusal.Text)
		if hint == "" {
			assert.Empty(t, x.Refusal.Hint)
		}
		assert.Contains(t, x.Refusal.Hint, hint)
	}
	ci := p.ci.Text.Reveal()
	wrongSecret := "sk-hfx_test_" + p.ci.ID + strings.TrimPrefix(p.only.Text.Reveal(), "sk-hfx_test_"+p.only.ID)
	stranger, err := authn.Generate("live", rand.Reader)
	require.NoError(t, err)
	f(Question{Model: "gpt-4o", Credential: secret.New("nonsense")}, 401, "invalid_api_key", "not 75 characters long")
	f(Question{Model: "gpt-4o", Credential: secret.New(wrongSecret)}, 401, "invalid_api_key", "checksum is wrong")
	f(Question{Model: "gpt-4o", Credential: stranger.Text}, 401, "invalid_api_key", "no key of its id")
	f(Question{Model: "gpt-4o", Credential: p.old.Text}, 401, "invalid_api_key", "key old of tenant acme expired 2020-01-01")
	f(Question{Model: "gpt-4o", Tenant: "acme", Key: "old"}, 401, "invalid_api_key", "key old of tenant acme expired 2020-01-01")
	f(Question{Model: "other", Credential: secret.New(ci)}, 403, "model_not_allowed", "tenant acme may use llama-*, gpt-4o")
	f(Question{Model: "other", Tenant: "acme"}, 403, "model_not_allowed", "tenant acme may use")
	f(Question{Model: "llama-70b", Tenant: "beta"}, 404, "model_not_found", "did you mean llama-3.1-70b?")
	f(Question{Model: "gpt4o"}, 404, "model_not_found", "did you mean gpt-4o?")
	f(Question{Model: "zzz"}, 404, "model_not_found", "")
	f(Question{Body: []byte(`{broken`)}, 400, "invalid_json", "")
	f(Question{Body: []byte(`{}`)}, 400, "missing_model", "")
	f(Question{Model: "gpt-4o", Body: []byte(`{"max_tokens":1,"max_tokens":2}`)}, 400, "duplicate_key", "")
	f(Question{Model: "gpt-4o", Body: []byte(`{"Logit_bias":1}`)}, 400, "duplicate_key", "")
	f(Question{Model: "gpt-4o", Body: make([]byte, 33<<20)}, 413, "request_too_large", "")
}

func TestQuestionsWithoutSense(t *testing.T) {
	p := newPlan(t, explained)
	f := func(q Question, want string) {
		t.Helper()
		_, err := p.Explain(q)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), p.ci.Text.Reveal())
	}
	f(Question{}, "without a model")
	f(Question{Model: "m", Key: "ci"}, "without its tenant")
	f(Question{Model: "m", Tenant: "acme", Credential: p.ci.Text}, "at once")
	f(Question{Model: "m", Tenant: "acne"}, "did you mean acme?")
	f(Question{Model: "m", Tenant: p.ci.Text.Reveal()}, "none of that name")
	f(Question{Model: "m", Tenant: "acme", Key: "od"}, "none of that name")
	f(Question{Model: "m", Tenant: "acme", Key: p.ci.Text.Reveal()}, "none of that name")
	_, err := new(Server).Explain(Question{Model: "m"})
	require.ErrorContains(t, err, "before there is a plan")
}

// TestExplainFollowsWhatLives: drained, full, held, and nobody left.
func TestExplainFollowsWhatLives(t *testing.T) {
	p := newPlan(t, explained)
	q := Question{Model: "gpt-4o", Tenant: "acme"}
	gpus := p.names["gpt-4o"].route.targets[0].pool
	for range 2 {
		require.True(t, gpus.endpoints[0].Load.Acquire(2))
	}
	x := p.explain(t, q)
	first := x.Route.Targets[0].Backends[0]
	assert.Equal(t, ExplainedBackend{
		URL: "http://127.0.0.1:1", Weight: 3, MaxInFlight: 2, InFlight: 2, State: "healthy", Eligible: true, Reason: "at its limit",
	}, first)
	assert.Equal(t, 0.95, x.Route.Targets[0].Share, "the other one has room")

	require.NoError(t, p.fleet.Drain("gpus", "http://127.0.0.1:2"))
	x = p.explain(t, q)
	assert.Equal(t, "draining", x.Route.Targets[0].Backends[1].State)
	assert.Equal(t, "drained by an operator", x.Route.Targets[0].Backends[1].Reason)
	assert.Zero(t, x.Route.Targets[0].Share)
	assert.Equal(t, 1.0, x.Route.Targets[1].Share)
	assert.Equal(t, 1, x.Route.Chosen)

	require.NoError(t, p.fleet.Drain("canary", "http://127.0.0.1:3"))
	assert.Equal(t, 2, p.explain(t, q).Route.Chosen)
	require.NoError(t, p.fleet.Drain("hosted", "http://127.0.0.1:4"))
	x = p.explain(t, q)
	assert.Zero(t, x.Route.Chosen)
	require.NotNil(t, x.Refusal)
	assert.Equal(t, 503, x.Refusal.Status)
	assert.Equal(t, "no_backend_available", x.Refusal.Code)

	for _, at := range [][2]string{{"gpus", "http://127.0.0.1:2"}, {"canary", "http://127.0.0.1:3"}, {"hosted", "http://127.0.0.1:4"}} {
		require.NoError(t, p.fleet.Undrain(at[0], at[1]))
	}
	p.names["gpt-4o"].route.fallback.fell(1, p.now, time.Minute)
	x = p.explain(t, q)
	assert.Equal(t, 2, x.Route.Chosen)
	require.NotNil(t, x.Route.Hold)
	assert.Equal(t, 2, x.Route.Hold.Priority)
	assert.WithinDuration(t, p.now.Add(time.Minute), x.Route.Hold.Until, time.Second)
	q.Now = p.now.Add(2 * time.Minute)
	x = p.explain(t, q)
	assert.Equal(t, 1, x.Route.Chosen)
	assert.Nil(t, x.Route.Hold)
}

// TestExplainDisturbsNothing: no place is taken, no turn, no connection.
func TestExplainDisturbsNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if c, err := ln.Accept(); err == nil {
			_ = c.Close()
			t.Error("a backend was asked")
		}
	}()
	p := newPlan(t, strings.ReplaceAll(explained, "127.0.0.1:1", ln.Addr().String()))
	pool := p.names["gpt-4o"].route.targets[0].pool
	turn := fmt.Sprintf("%+v", pool.policy)
	for range 5 {
		p.explain(t, Question{Model: "gpt-4o"})
	}
	assert.Equal(t, turn, fmt.Sprintf("%+v", pool.policy))
	for _, ep := range pool.endpoints {
		assert.Zero(t, ep.Load.InFlight())
	}
	_ = ln.Close()
	<-asked
}

// TestExplainedEditsAreTheBackends: what is said of the body is what a backend
// then reads, and the chosen one is the one asked.
func TestExplainedEditsAreTheBackends(t *testing.T) {
	got := make(chan string, 1)
	url := newBackend(t, func(a *asked) bool {
		got <- a.body
		a.write(jsonAnswer(`{"object":"chat.completion"}`))
		return true
	})
	w := newWorld(t, open("", url)+"    params: {default: {top_p: 0.5}, drop: [user]}\n")
	body := `{"model":"m","messages":[],"user":"u"}`
	x, err := w.srv.Explain(Question{Body: []byte(body), Now: time.Now()})
	require.NoError(t, err)
	assert.True(t, x.Live)
	assert.Equal(t, &ExplainedPrincipal{Tenant: "all", Anonymous: true, Models: []string{}}, x.Principal)
	require.Equal(t, 200, w.ask(t, chat(body)).status)
	assert.Equal(t, compared([]byte(body), []byte(<-got)), x.Route.Targets[0].Edits)
	assert.Equal(t, []ExplainedEdit{{"top_p", "added"}, {"user", "removed"}}, x.Route.Targets[0].Edits)
}

func TestDidYouMean(t *testing.T) {
	names := []string{"gpt-4o", "gpt-4o-mini", "llama-3.1-70b-instruct", "org/qwen-2.5:7b"}
	f := func(word, want string) {
		t.Helper()
		assert.Equal(t, want, didYouMean(word, names))
	}
	f("gpt4o", "; did you mean gpt-4o?")
	f("GPT-4O", "; did you mean gpt-4o or gpt-4o-mini?")
	f("llama-70b", "; did you mean llama-3.1-70b-instruct?")
	f("qwen-2.5", "; did you mean org/qwen-2.5:7b?")
	f("mistral", "")
	f("", "")
	f(strings.Repeat("gpt-4o", 100), "")
}

// TestExplainCosts: a router that serves says what the request would cost on each
// backend, and changes nothing by that.
func TestExplainCosts(t *testing.T) {
	a, b := newCounting(t, someUsage), newCounting(t, someUsage)
	w := newWorld(t, adaptively("", a.url, b.url))
	body := message("m", strings.Repeat(longEnough, 100))
	require.Equal(t, 200, w.ask(t, chat(body)).status)
	w.settled(t)
	entries := w.srv.snapshot.Load().pools[0].index.table.Stats().Entries
	for range 2 {
		x, err := w.srv.Explain(Question{Tenant: "all", Body: []byte(body), Now: time.Now()})
		require.NoError(t, err)
		list := x.Route.Targets[0].Backends
		require.Len(t, list, 2)
		given, other := list[0].Predicted, list[1].Predicted
		if b.count.Load() > 0 {
			given, other = other, given
		}
		assert.Positive(t, given.Tokens)
		assert.Greater(t, given.Hit, given.Tokens/2)
		assert.Zero(t, other.Hit)
		assert.Less(t, given.Cost, other.Cost)
	}
	assert.EqualValues(t, 1, a.count.Load()+b.count.Load())
	assert.Equal(t, entries, w.srv.snapshot.Load().pools[0].index.table.Stats().Entries)
	w.assertBooksEmpty(t)
}
