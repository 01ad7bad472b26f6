package configs

// What Diff says of two files.

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reference is the reference file with replacements, old and new in turn.
func reference(t *testing.T, replacements ...string) *Config {
	t.Helper()
	data, err := os.ReadFile("helixflow.yaml")
	require.NoError(t, err)
	text := string(data)
	for i := 0; i < len(replacements); i += 2 {
		require.Contains(t, text, replacements[i])
		text = strings.Replace(text, replacements[i], replacements[i+1], 1)
	}
	c, err := Parse("helixflow.yaml", []byte(text), testEnv, testFile)
	require.NoError(t, err)
	return c
}

func sentences(changes []Change) []string {
	var list []string
	for _, c := range changes {
		list = append(list, c.String())
	}
	return list
}

func TestDiff(t *testing.T) {
	old := reference(t)
	f := func(from, to string, want ...string) {
		t.Helper()
		assert.Equal(t, want, sentences(Diff(old, reference(t, from, to))), "%s → %s", from, to)
	}
	f("", "")

	// server and log
	f(`listen: ":8080"`, `listen: ":8081"`, `server.listen ":8080" → ":8081" (needs a restart)`)
	f(`admin: "127.0.0.1:9090"`, `admin: "127.0.0.1:9091"`, `server.admin "127.0.0.1:9090" → "127.0.0.1:9091" (needs a restart)`)
	f("max_header: 16KiB", "max_header: 32KiB", "server.max_header 16KiB → 32KiB (needs a restart)")
	f("half_close: cancel", "half_close: ignore", "server.half_close cancel → ignore (needs a restart)")
	f(`handover: ""`, "handover: /run/hf.sock", `server.handover none → "/run/hf.sock" (needs a restart)`)
	f("max_body: 32MiB", "max_body: 1GB", "server.max_body 32MiB → 1000000000")
	f(`"${HELIXFLOW_ADMIN_TOKEN:-}"`, `"${LONG}"`, "server.admin_token added")
	f("trusted_proxies: []", "trusted_proxies: [10.0.0.0/8, 192.0.2.1]", "server.trusted_proxies none → 10.0.0.0/8, 192.0.2.1/32")
	f("cert: /etc/helixflow/tls.crt", "cert: a.crt", `server.tls.cert "/etc/helixflow/tls.crt" → "a.crt"`)
	f("client_ca: /etc/helixflow/clients.crt", "client_ca: ca.pem", `server.tls.client_ca "/etc/helixflow/clients.crt" → "ca.pem"`)
	f("client_auth: optional", "client_auth: required", "server.tls.client_auth optional → required")
	f("level: info", "level: debug", "log.level info → debug")
	f("access: off", "access: stdout", `log.access "off" → "stdout"`)
	f("access_sample: 100%", "access_sample: 0.5%", "log.access_sample 100% → 0.5%")

	f("max: 10k ", "max: 20 ", "server.websockets.max 10000 → 20")
	f("idle: 5m ", "idle: 10m ", "server.websockets.idle 5m → 10m")
	f("prefix: /v1/realtime", "prefix: /v1/responses", "passthrough /v1/realtime, websockets removed", "passthrough /v1/responses, websockets added")
	f("shared: false", "shared: true", "passthrough /v1/files: shared false → true")
	f("total: 1h                # up", "total: 2h                # up", "passthrough /v1/files: timeouts.total 1h → 2h")
	f("prefix: /v1/files", "prefix: /v1/batches", "passthrough /v1/files removed", "passthrough /v1/batches added")
	f("    pool: openai\n    shared", "    pool: llama-70b\n    shared", `passthrough /v1/files: pool "openai" → "llama-70b"`)
	f("tenant: acme  ", `tenant: ""  `, `pool openai: tenant "acme" → none`)

	// auth and tenants
	f(`anonymous: ""`, "anonymous: acme", `auth.anonymous none → "acme"`)
	f("an example only: set", "another one: please set", "pepper 1: secret changed")
	f("order: [key, jwt, mtls]", "order: [mtls, key, jwt]", "auth.order key, jwt, mtls → mtls, key, jwt")
	f("audience: helixflow ", "audience: [helixflow, b] ", "issuer https://id.example.com: audience b added")
	f("audience: helixflow ", "audience: b ", "issuer https://id.example.com: audience helixflow removed", "issuer https://id.example.com: audience b added")
	f("algorithms: [ES256, EdDSA]", "algorithms: [ES256]", "issuer https://cluster.local: algorithms ES256, EdDSA → ES256")
	f("value: org_Zx81kQ ", "value: org_2 ", "issuer https://id.example.com: tenant org_Zx81kQ removed", "issuer https://id.example.com: tenant org_2 added")
	f("{name: llm.debug, debug: true}", "{name: llm.debug}", "issuer https://id.example.com: role llm.debug: debug true → false")
	f("leeway: 60s", "leeway: 0", "issuer https://id.example.com: leeway 1m → 0s")
	f("issuer: https://cluster.local", "issuer: https://cluster.remote", "issuer https://cluster.local removed", "issuer https://cluster.remote added")
	f("ns/agents/*", "ns/agents", `certificate agents: spiffe "spiffe://example.org/ns/agents/*" → "spiffe://example.org/ns/agents"`)
	f("name: trial", "name: tried", "tenant acme: key trial removed", "tenant acme: key tried added")
	f("expires: 2037-01-01", "# no end", "tenant acme: key ci: expires 2037-01-01T00:00:00Z → never")
	f("debug: false ", "debug: true ", "tenant acme: key ci: debug false → true")
	f("1:Zx81kQp0aB3d:4", "1:Zx81kQp0aB3d:5", `tenant acme: key ci: hash "hmac-sha256:1:Zx81kQp0aB3d:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU" → "hmac-sha256:1:Zx81kQp0aB3d:57DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"`)
	f("until: 2036-12-24T12:00:00Z", "until: 2036-12-25", "tenant acme: key ci: previous.until 2036-12-24T12:00:00Z → 2036-12-25T00:00:00Z")
	f("not_before: 2024-01-01", "#", "tenant acme: key ci: not_before 2024-01-01T00:00:00Z → at once")
	f("revoked: false", "revoked: true", "tenant acme: key ci: revoked no → yes")
	f("revoked: false", "revoked: 2026-12-24", "tenant acme: key ci: revoked no → 2026-12-24T00:00:00Z")
	f(`models: ["llama-*"] `, "#", "tenant acme: key ci: models llama-* → all")
	f(`completions, "embeddings*"]`, "completions]", "tenant acme: key ci: endpoints embeddings* removed")
	f("from: [10.0.0.0/8", "from: [10.1.0.0/16", "tenant acme: key ci: from 10.0.0.0/8 removed", "tenant acme: key ci: from 10.1.0.0/16 added")
	f("key_files: []", "key_files: [a.jsonl]", "auth.key_files none → a.jsonl")
	f("failures_per_minute: 20", "failures_per_minute: 0", "auth.failures_per_minute 20 → 0")
	f(`models: ["llama-*", "gpt-4o-mini"]`, `models: ["gpt-4o-mini", "llama-3*"]`, "tenant acme: models llama-* removed", "tenant acme: models llama-3* added")
	f(`models: ["llama-*", "gpt-4o-mini"] `, ``, "tenant acme: models llama-*, gpt-4o-mini → all")
	f("\ntenants:  ", "\ntenants:\n  - name: globex\n#", "tenant globex added")

	// pools
	f("pools:  ", "pools:\n  - {name: spare, backends: [{url: \"http://s:1\"}]}\n#", "pool spare added")
	f("engine: vllm", "engine: sglang", "pool llama-70b: engine vllm → sglang")
	f(`"${LLAMA_KEY:-}"`, `"${WORD}"`, "pool llama-70b: api_key added")
	f(`x-team: inference`, `x-team: other`, "pool llama-70b: headers x-team changed")
	f(`x-team: inference`, `x-crew: inference`, "pool llama-70b: headers x-crew added", "pool llama-70b: headers x-team removed")
	f("path: /health  ", `path: ""  `, `pool llama-70b: health.path "/health" → none`)
	f("    health: off\n", "    health: {every: 5s}\n", "pool openai: health off → on")
	f("samples: 20 ", "samples: 2k ", "pool llama-70b: ejection.samples 20 → 2000")
	f("attempts: 2 ", "attempts: 3 ", "pool llama-70b: retry.attempts 2 → 3")
	f("budget: 20%", "budget: 12.5%", "pool llama-70b: retry.budget 20% → 12.5%")
	f("drain_timeout: 10m", "drain_timeout: 90m", "pool llama-70b: drain_timeout 10m → 1h30m")
	f("an-example}", "one}", "pool openai: keys changed")
	f(`, "${OPENAI_KEY_2:-another-example}"`, "", "pool openai: keys 2 → 1")
	f(`proxy: "" `, `proxy: "http://u:p@proxy:1" `, "pool llama-70b: proxy added")
	f("http://10.0.0.11:8000", "http://10.0.0.12:8000", "pool llama-70b: backend http://10.0.0.11:8000 removed", "pool llama-70b: backend http://10.0.0.12:8000 added")
	f("server_name: api.openai.com", "ca: ca.pem", `pool openai: backend https://api.openai.com/v1: tls.ca none → "ca.pem"`, `pool openai: backend https://api.openai.com/v1: tls.server_name "api.openai.com" → none`)
	f("weight: 1  ", "weight: 2  ", "pool llama-70b: backend http://10.0.0.11:8000: weight 1 → 2")

	// tenants
	f("idempotency: 24h", "idempotency: 0", "tenant acme: idempotency 24h → 0s")
	f("idempotency_memory: 64MiB", "idempotency_memory: 1GiB", "server.idempotency_memory 64MiB → 1GiB")

	// hooks
	f("hooks:  ", "hooks:\n  - {name: audit, url: \"http://127.0.0.1:9001\"}\n#", "hook audit added")
	f("/check\"", "/v2\"", `hook pii: url "http://127.0.0.1:9000/check" → "http://127.0.0.1:9000/v2"`)
	f(`"${HOOK_TOKEN:-}"`, `"${WORD}"`, "hook pii: token added")
	f("timeout: 300ms", "timeout: 1s", "hook pii: timeout 300ms → 1s")
	f("on_error: refuse", "on_error: pass", "hook pii: on_error refuse → pass")
	f("max_body: 1MiB", "max_body: 1GB", "hook pii: max_body 1MiB → 1000000000")
	f("    hooks: [pii] ", "", "model llama-3.1-70b: hooks pii → none")

	// models
	f("aliases: [gpt-4o]", "aliases: []", "model llama-3.1-70b: aliases gpt-4o → none")
	f("weight: 95", "weight: 90", "model llama-3.1-70b: target llama-70b as meta-llama/Llama-3.1-70B-Instruct: weight 95 → 90")
	f("model: gpt-4o-mini, priority", "model: gpt-5, priority", "model llama-3.1-70b: target openai as gpt-4o-mini removed", "model llama-3.1-70b: target openai as gpt-5 added")
	f("mirror: 1%", "mirror: 2%", "model llama-3.1-70b: target openai as gpt-4.1-nano, a mirror: mirror 1% → 2%")
	f("fallback_hold: 30s", "fallback_hold: 0s", "model llama-3.1-70b: fallback_hold 30s → 0s")
	f("first_token: 60s", "first_token: 90s", "model llama-3.1-70b: timeouts.first_token 1m → 1m30s")
	f("temperature: 0.7", "temperature: 1", "model llama-3.1-70b: params.default temperature 0.7 → 1")
	f("temperature: 0.7", "top_p: 0.7", "model llama-3.1-70b: params.default temperature removed", "model llama-3.1-70b: params.default top_p added")
	f("max_tokens: 4096", "max_tokens: 5000", "model llama-3.1-70b: params.cap max_tokens 4096 → 5000")
	f("drop: [logit_bias]", "drop: [logit_bias, seed]", "model llama-3.1-70b: params.drop seed added")
}

func TestDiffIsForPrograms(t *testing.T) {
	changes := Diff(reference(t), reference(t, "max_inflight: 64", "max_inflight: 0", "half_close: cancel", "half_close: ignore", "inference", "other"))
	got, err := json.Marshal(changes)
	require.NoError(t, err)
	require.JSONEq(t, `[
		{"path": "server.half_close", "kind": "changed", "old": "cancel", "new": "ignore", "restart": true},
		{"path": "pools[llama-70b].headers[x-team]", "kind": "changed", "restart": false},
		{"path": "pools[llama-70b].backends[http://10.0.0.11:8000].max_inflight", "kind": "changed", "old": "64", "new": "0", "restart": false}
	]`, string(got))
}

// TestDiffOfOrder: what has a name may stand anywhere.
func TestDiffOfOrder(t *testing.T) {
	c := reference(t)
	other := *c
	other.Pools = []Pool{c.Pools[1], c.Pools[0]}
	other.Models = []Model{c.Models[1], c.Models[0]}
	require.Empty(t, Diff(c, &other))
}

// TestDiffOfHooks: they are asked in turn, so their order means something.
func TestDiffOfHooks(t *testing.T) {
	old, next := reference(t), reference(t)
	old.Models[0].Hooks, next.Models[0].Hooks = []string{"a", "b"}, []string{"b", "a"}
	require.Equal(t, []string{"model llama-3.1-70b: hooks a, b → b, a"}, sentences(Diff(old, next)))
}

// TestDiffLeavesGeneratedKeys: serve puts hashes into the running one.
func TestDiffLeavesGeneratedKeys(t *testing.T) {
	running, file := reference(t), reference(t)
	running.Tenants[0].Keys[1].Hash = "sha256:made by serve"
	require.Empty(t, Diff(running, file))
	require.Equal(t, "sha256:made by serve", running.Tenants[0].Keys[1].Hash)
	require.Len(t, Diff(running, reference(t, "generate: true", `hash: "sha256:Hs93nVb1Ku7E:_N4rLtula_QIYB-3If6bXDONEO5CnqBPrlURto-_j7k"`)), 2)
}

// TestDiffTLS: only whether there is TLS waits for a restart.
func TestDiffTLS(t *testing.T) {
	f := func(from, to string, restart bool) {
		t.Helper()
		old, next := reference(t), reference(t)
		old.Server.TLS, next.Server.TLS = ServerTLS{Cert: from, Key: from}, ServerTLS{Cert: to, Key: to}
		changes := Diff(old, next)
		require.Len(t, changes, 2)
		require.Equal(t, restart, changes[0].Restart)
	}
	f("", "a.pem", true)
	f("a.pem", "", true)
	f("a.pem", "b.pem", false)
}

// TestDiffTellsNoSecret: every secret of the examples changes, none is told.
func TestDiffTellsNoSecret(t *testing.T) {
	const other = "correct-horse"
	env := func(name string) (string, bool) {
		value, ok := testEnv(name)
		return strings.ReplaceAll(value, leak, other), ok
	}
	file := func(name string) ([]byte, error) {
		data, err := testFile(name)
		return []byte(strings.ReplaceAll(string(data), leak, other)), err
	}
	secrets := 0
	for _, path := range []string{"examples/hosted.yaml", "examples/tenants.yaml", "testdata/good/variables.yaml", "testdata/good/fleet.yaml", "testdata/good/admin-token.yaml", "testdata/good/hooks.yaml"} {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		text := strings.ReplaceAll(string(data), "[hunter2,", "[\"${WORD}\",")
		old, err := Parse("old", []byte(text), testEnv, testFile)
		require.NoError(t, err)
		next, err := Parse("next", []byte(text), env, file)
		require.NoError(t, err)
		for _, changes := range [][]Change{Diff(old, next), Diff(next, old)} {
			require.NotEmpty(t, changes, path)
			secrets += len(changes)
			told, err := json.Marshal(changes)
			require.NoError(t, err)
			all := strings.Join(sentences(changes), "\n") + string(told)
			assert.NotContains(t, all, leak)
			assert.NotContains(t, all, other)
			assert.Contains(t, all, "changed")
		}
	}
	require.GreaterOrEqual(t, secrets, 16)
}
