package router

// Who gets in, from where, to what; and what those are told who do not.

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/internal/secret"
	"github.com/helixflow/helixflow/router/admission"
)

// newKey is a key and its hash.
func newKey(t testing.TB) (key, hash string) {
	t.Helper()
	k, err := authn.Generate("live", rand.Reader)
	require.NoError(t, err)
	key = k.Text.Reveal()
	hash, err = authn.Hash(key, nil)
	require.NoError(t, err)
	return key, hash
}

// keyWithID is another key with the id of one.
func keyWithID(t testing.TB, id string) string {
	t.Helper()
	k, err := authn.GenerateFor(id, "live", rand.Reader)
	require.NoError(t, err)
	return k.Text.Reveal()
}

// tenantOf is a configuration of one tenant with keys, whose model m is on a backend
// that answers everything.
func tenantOf(t testing.TB, top string, keys ...string) string {
	url := newBackend(t, func(a *asked) bool {
		a.write(jsonAnswer(`{"ok":true}`))
		return true
	})
	return top + `
tenants:
  - name: acme
    models: ["m*", n]
    keys:
      - ` + strings.Join(keys, "\n      - ") + `
pools: [{name: p, backends: [{url: "` + url + `"}]}]
models:
  - {name: m, aliases: [m-2], targets: [{pool: p}]}
  - {name: n, targets: [{pool: p}]}
  - {name: other, targets: [{pool: p}]}
`
}

func bearerLine(key string) string { return "Authorization: Bearer " + key }

func TestKeyScopes(t *testing.T) {
	all, h1 := newKey(t)
	narrow, h2 := newKey(t)
	w := newWorld(t, tenantOf(t, "",
		fmt.Sprintf("{name: all, hash: %q}", h1),
		fmt.Sprintf(`{name: narrow, hash: %q, models: ["m-*", n], endpoints: [chat_completions, "model*", "image_*"]}`, h2)))
	f := func(key, path, model string, status int, code string) {
		t.Helper()
		a := w.ask(t, postTo(path, `{"model":"`+model+`","messages":[],"input":"x"}`, bearerLine(key)))
		require.Equal(t, status, a.status, a.body)
		if code != "" {
			requireError(t, a, status, code)
		}
	}
	const chats, embeds = "/v1/chat/completions", "/v1/embeddings"
	f(all, chats, "m", 200, "")
	f(all, embeds, "n", 200, "")
	f(all, chats, "other", 403, "model_not_allowed")
	f(narrow, chats, "m", 403, "model_not_allowed")
	f(narrow, chats, "m-2", 200, "")
	f(narrow, chats, "n", 200, "")
	f(narrow, chats, "other", 403, "model_not_allowed")
	f(narrow, "/openai/deployments/n/chat/completions", "x", 200, "")
	f(narrow, "/v1/images/generations", "n", 200, "")
	f(narrow, embeds, "n", 403, "endpoint_not_allowed")
	f(narrow, "/v1/moderations", "n", 403, "endpoint_not_allowed")
	list := w.ask(t, "GET /v1/models HTTP/1.1\r\nHost: x\r\n"+bearerLine(narrow)+"\r\n\r\n")
	assert.Equal(t, 2, strings.Count(list.body, `"id"`), list.body)
	assert.Contains(t, list.body, `"id":"m-2"`)
	assert.Contains(t, list.body, `"id":"n"`)
}

func TestKeyAddresses(t *testing.T) {
	home, h1 := newKey(t)
	away, h2 := newKey(t)
	keys := []string{
		fmt.Sprintf("{name: home, hash: %q, from: [127.0.0.0/8]}", h1),
		fmt.Sprintf(`{name: away, hash: %q, from: [192.0.2.0/24, "2001:db8::/32"]}`, h2),
	}
	direct := newWorld(t, tenantOf(t, "", keys...))
	proxied := newWorld(t, tenantOf(t, "server: {trusted_proxies: [127.0.0.1]}", keys...))
	f := func(w *world, key string, status int, headers ...string) {
		t.Helper()
		a := w.ask(t, chat(simple, append(headers, bearerLine(key))...))
		if status == 200 {
			require.Equal(t, status, a.status, a.body)
			return
		}
		requireError(t, a, status, "ip_not_authorized")
	}
	const xff = "X-Forwarded-For: "
	f(direct, home, 200)
	f(direct, home, 200, xff+"192.0.2.1") // nobody believes it
	f(direct, away, 401)
	f(direct, away, 401, xff+"192.0.2.1")
	f(proxied, home, 200)
	f(proxied, home, 401, xff+"192.0.2.1")
	f(proxied, away, 200, xff+"192.0.2.1")
	f(proxied, away, 200, xff+"10.0.0.1, 2001:db8::7")
	f(proxied, away, 401, xff+"192.0.2.1, 10.0.0.1")
	scrape := metricsOf(direct)
	assert.Contains(t, scrape, `helixflow_auth_failures_total{reason="address"} 2`)
	assert.Contains(t, scrape, "helixflow_auth_throttled_total 0")
}

// metricsOf is a scrape's figures of authentication.
func metricsOf(w *world) string {
	var b strings.Builder
	w.metrics.WritePrometheus(&b)
	var lines []string
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "helixflow_auth_") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func TestAuthFailuresAreCounted(t *testing.T) {
	good, h1 := newKey(t)
	expired, h2 := newKey(t)
	revoked, h3 := newKey(t)
	early, h4 := newKey(t)
	stranger, _ := newKey(t)
	w := newWorld(t, tenantOf(t, "auth: {failures_per_minute: 0}",
		fmt.Sprintf("{name: a, hash: %q}", h1),
		fmt.Sprintf("{name: b, hash: %q, expires: 2020-01-01}", h2),
		fmt.Sprintf("{name: c, hash: %q, revoked: true}", h3),
		fmt.Sprintf("{name: d, hash: %q, not_before: 2100-01-01}", h4)))
	credentials := map[string]string{
		"malformed": "sk-other", "checksum": swapLast(good), "unknown_key": stranger,
		"expired": expired, "revoked": revoked, "not_yet_valid": early,
	}
	bodies := map[string]bool{}
	for reason, credential := range credentials {
		for range 3 {
			a := w.ask(t, chat(simple, bearerLine(credential)))
			requireError(t, a, 401, "invalid_api_key")
			bodies[a.body] = true
		}
		assert.Contains(t, metricsOf(w), `helixflow_auth_failures_total{reason="`+reason+`"} 3`)
	}
	assert.Len(t, bodies, 1, "every refusal reads the same")
	requireError(t, w.ask(t, chat(simple)), 401, "invalid_api_key")
	assert.Contains(t, metricsOf(w), `helixflow_auth_failures_total{reason="missing"} 1`)
	require.Equal(t, 200, w.ask(t, chat(simple, bearerLine(good))).status)
	for _, secret := range []string{good, stranger, expired, h1[len(h1)-20:]} {
		assert.NotContains(t, metricsOf(w), secret)
		assert.NotContains(t, w.log.String(), secret)
	}
}

// swapLast changes the last character of a key: its checksum is wrong.
func swapLast(key string) string {
	last := "0"
	if strings.HasSuffix(key, last) {
		last = "1"
	}
	return key[:len(key)-1] + last
}

func TestAuthFailuresAreThrottled(t *testing.T) {
	good, hash := newKey(t)
	config := tenantOf(t, "auth: {failures_per_minute: 3}\nserver: {trusted_proxies: [127.0.0.1]}", fmt.Sprintf("{name: a, hash: %q}", hash))
	w := newWorld(t, config)
	from := func(address, key string) answer {
		return w.ask(t, chat(simple, "X-Forwarded-For: "+address, bearerLine(key)))
	}
	throttled := func(a answer) bool {
		if a.status != 429 {
			requireError(t, a, 401, "invalid_api_key")
			return false
		}
		requireError(t, a, 429, "too_many_auth_failures")
		assert.Equal(t, "false", a.header.Get("X-Should-Retry"))
		assert.Contains(t, []string{"19", "20"}, a.header.Get("Retry-After"), "one more is allowed a third of a minute after the last")
		return true
	}
	for range 3 {
		require.False(t, throttled(from("192.0.2.1", "sk-nonsense")))
	}
	for range 5 {
		require.True(t, throttled(from("192.0.2.1", "sk-nonsense")))
	}
	require.Equal(t, 200, from("192.0.2.1", good).status, "a good key is never refused for its neighbours")
	require.False(t, throttled(from("192.0.2.2", "sk-nonsense")))
	for i := range 3 { // an IPv6 client has a whole /64
		require.False(t, throttled(from(fmt.Sprintf("2001:db8::%d", i+1), "sk-nonsense")))
	}
	require.True(t, throttled(from("2001:db8::ffff", "sk-nonsense")))
	require.False(t, throttled(from("2001:db8:0:1::1", "sk-nonsense")))
	assert.Contains(t, metricsOf(w), "helixflow_auth_throttled_total 6")
	assert.Contains(t, metricsOf(w), `helixflow_auth_failures_total{reason="malformed"} 14`)

	// Without any credential nobody is guessing.
	for range 5 {
		a := w.ask(t, chat(simple, "X-Forwarded-For: 192.0.2.9"))
		requireError(t, a, 401, "invalid_api_key")
	}
	// A reload changes the allowance, and keeps what was counted.
	w.srv.Publish(w.compile(t, strings.Replace(config, "failures_per_minute: 3", "failures_per_minute: 0", 1)))
	require.Equal(t, 401, from("192.0.2.1", "sk-nonsense").status)
	w.srv.Publish(w.compile(t, config))
	require.Equal(t, 429, from("192.0.2.1", "sk-nonsense").status)
}

// TestKeyIsCheckedBeforeTheBody: a refusal comes while the body is still to come.
func TestKeyIsCheckedBeforeTheBody(t *testing.T) {
	good, hash := newKey(t)
	w := newWorld(t, tenantOf(t, "", fmt.Sprintf("{name: a, hash: %q}", hash)))
	begin := func(key string, headers ...string) (io.Writer, *bufio.Reader) {
		c := w.dial(t)
		require.NoError(t, c.SetDeadline(time.Now().Add(5*time.Second)))
		raw := chat(simple, append(headers, bearerLine(key))...)
		_, err := io.WriteString(c, raw[:strings.Index(raw, "\r\n\r\n")+4]) // the head alone
		require.NoError(t, err)
		return c, bufio.NewReader(c)
	}
	stranger, _ := newKey(t)
	for _, key := range []string{"sk-nonsense", stranger, ""} {
		_, br := begin(key)
		requireError(t, readAnswer(t, br), 401, "invalid_api_key")
		// Nor is the client asked to send it.
		_, br = begin(key, "Expect: 100-continue")
		resp, err := http.ReadResponse(br, nil) // of "100 Continue" it would be the first
		require.NoError(t, err)
		require.Equal(t, 401, resp.StatusCode)
		require.True(t, resp.Close, "what may still come is not read as a request")
		_ = resp.Body.Close()
	}
	conn, br := begin(good, "Expect: 100-continue")
	line, err := br.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = br.ReadString('\n')
	require.NoError(t, err)
	_, err = io.WriteString(conn, simple)
	require.NoError(t, err)
	require.Equal(t, 200, readAnswer(t, br).status)
}

func TestRotationAndRevocation(t *testing.T) {
	key, hash := newKey(t)
	next := keyWithID(t, hash[7:19])
	nextHash, err := authn.Hash(next, nil)
	require.NoError(t, err)
	config := tenantOf(t, "", "KEY")
	with := func(line string) string { return strings.Replace(config, "KEY", "{name: ci, "+line+"}", 1) }
	w := newWorld(t, with(fmt.Sprintf("hash: %q", hash)))
	f := func(line string, old, new int) {
		t.Helper()
		w.srv.Publish(w.compile(t, with(line)))
		assert.Equal(t, old, w.ask(t, chat(simple, bearerLine(key))).status)
		assert.Equal(t, new, w.ask(t, chat(simple, bearerLine(next))).status)
	}
	f(fmt.Sprintf("hash: %q", hash), 200, 401)
	f(fmt.Sprintf("hash: %q, previous: {hash: %q, until: 2100-01-01}", nextHash, hash), 200, 200)
	f(fmt.Sprintf("hash: %q, previous: {hash: %q, until: 2020-01-01}", nextHash, hash), 401, 200)
	f(fmt.Sprintf("hash: %q", nextHash), 401, 200)
	f(fmt.Sprintf("hash: %q, previous: {hash: %q, until: 2100-01-01}, revoked: true", nextHash, hash), 401, 401)
}

// TestLimitsOfKeysInFiles: a key's limits hold for it, whatever others are called.
func TestLimitsOfKeysInFiles(t *testing.T) {
	limited, h1 := newKey(t)
	free, h2 := newKey(t)
	inline, h3 := newKey(t)
	file := filepath.Join(t.TempDir(), "keys.jsonl")
	write := func(lines ...string) {
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600))
	}
	one := fmt.Sprintf(`{"tenant":"acme","name":"same","hash":%q,"limits":{"requests_per_minute":1}}`, h1)
	write(one, fmt.Sprintf(`{"tenant":"acme","name":"same","hash":%q}`, h2))
	config := tenantOf(t, "auth: {key_files: ["+file+"]}", fmt.Sprintf("{name: same, hash: %q}", h3))
	w := newWorld(t, config)
	status := func(key string) int { return w.ask(t, chat(simple, bearerLine(key))).status }
	assert.Equal(t, 200, status(limited))
	assert.Equal(t, 429, status(limited))
	for range 3 {
		assert.Equal(t, 200, status(free))
		assert.Equal(t, 200, status(inline))
	}
	w.srv.Publish(w.compile(t, config))
	assert.Equal(t, 429, status(limited), "a reload forgets nothing")

	_, h4 := newKey(t)
	write(one, fmt.Sprintf(`{"tenant":"acme","name":"same","hash":%q,"limits":{"requests_per_minute":2}}`, h4))
	cfg, err := configs.Parse("test.yaml", []byte(config), nil, nil)
	require.NoError(t, err)
	_, err = Compile(cfg, World{Fleet: w.fleet, Metrics: w.metrics, Fallbacks: &w.fallbacks, Limits: new(admission.Book), Lots: &w.lots}, 2)
	require.EqualError(t, err, file+":2:1: it has the name of another key with limits, and limits go by names")
}

// TestExplainKnowsWhatAKeyMay: the same refusals, and what the operator may know.
func TestExplainKnowsWhatAKeyMay(t *testing.T) {
	key, h1 := newKey(t)
	revoked, h2 := newKey(t)
	early, h3 := newKey(t)
	w := newWorld(t, tenantOf(t, "",
		fmt.Sprintf(`{name: narrow, hash: %q, models: ["m-*"], endpoints: [chat_completions], from: [192.0.2.0/24]}`, h1),
		fmt.Sprintf(`{name: gone, hash: %q, revoked: 2020-01-01}`, h2),
		fmt.Sprintf(`{name: early, hash: %q, not_before: 2100-01-01}`, h3)))
	f := func(key, model string, op helixflow.Op, code, hint string) {
		t.Helper()
		x, err := w.srv.Explain(Question{Model: model, Op: op, Credential: secret.New(key), Now: time.Now()})
		require.NoError(t, err)
		if code == "" {
			require.Nil(t, x.Refusal)
			assert.Equal(t, []string{"192.0.2.0/24"}, x.Principal.From)
			assert.Equal(t, []string{"chat_completions"}, x.Principal.Endpoints)
			assert.Equal(t, []string{"m-*"}, x.Principal.KeyModels)
			return
		}
		require.NotNil(t, x.Refusal)
		assert.Equal(t, code, x.Refusal.Code)
		assert.Equal(t, hint, x.Refusal.Hint)
	}
	f(key, "m-2", helixflow.OpChatCompletions, "", "")
	f(key, "m", helixflow.OpChatCompletions, "model_not_allowed", "key narrow of tenant acme may use m-*")
	f(key, "other", helixflow.OpChatCompletions, "model_not_allowed", "tenant acme may use m*, n")
	f(key, "m-2", helixflow.OpEmbeddings, "endpoint_not_allowed", "the key may call chat_completions")
	f(revoked, "m", helixflow.OpChatCompletions, "invalid_api_key", "key gone of tenant acme was revoked 2020-01-01T00:00:00Z")
	f(early, "m", helixflow.OpChatCompletions, "invalid_api_key", "key early of tenant acme is not valid yet")
	f(keyWithID(t, h1[7:19]), "m", helixflow.OpChatCompletions, "invalid_api_key", "its id is that of key narrow of tenant acme, whose hash it does not fit")
}
