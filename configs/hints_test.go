package configs

// What Inspect says of a file that is allowed, and looks like a mistake.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inspectText is Inspect of a text, in the year 2026.
func inspectText(name, text string) *Report {
	r := newReader(name, testEnv, testFile)
	return r.inspect(r.read([]byte(text)), time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
}

const plain = `
server: {listen: "127.0.0.1:8080"}
tenants:
  - name: acme
    keys: [{name: ci, generate: true}]
pools:
  - name: llama
    backends: [{url: "http://10.0.0.11:8000"}]
models:
  - name: m
    targets: [{pool: llama}]
`

func TestHints(t *testing.T) {
	// f replaces, pair by pair, and wants the hints: path, colon, message.
	f := func(replacements []string, want ...string) {
		t.Helper()
		text := plain
		for i := 0; i < len(replacements); i += 2 {
			require.Contains(t, text, replacements[i])
			text = strings.Replace(text, replacements[i], replacements[i+1], 1)
		}
		report := inspectText("x.yaml", text)
		require.Empty(t, report.Problems, text)
		require.NotNil(t, report.Config)
		var got []string
		for _, h := range report.Hints {
			require.Equal(t, "x.yaml", h.File)
			require.Positive(t, h.Line)
			require.NotEmpty(t, h.Excerpt)
			got = append(got, h.Path+": "+h.Message)
		}
		assert.Equal(t, want, got, text)
		assert.NotContains(t, report.Hints.Error(), leak)
	}
	with := func(replacements ...string) []string { return replacements }
	f(nil)

	// who may call
	f(with("    keys: [{name: ci, generate: true}]\n", ""), `tenants[0].name: "acme" has no keys: nobody can call as this tenant`)
	anonymous := with("    keys: [{name: ci, generate: true}]\n", "", "tenants:", "auth: {anonymous: acme}\ntenants:")
	f(anonymous)
	f(append(anonymous, "127.0.0.1:8080", ":8080"), "auth.anonymous: lets in everybody who reaches server.listen, which is not on loopback")
	f(with("generate: true", "generate: true, expires: 2026-05-31"), "tenants[0].keys[0].expires: is past: the key is refused")
	f(with("generate: true", "generate: true, expires: 2026-06-02"))
	rotated := func(until string) []string {
		return with("generate: true", `hash: "sha256:Zx81kQp0aB3d:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", previous: {hash: "sha256:Zx81kQp0aB3d:57DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", until: `+until+`}`)
	}
	f(rotated("2026-06-02"))
	f(rotated("2026-05-31"), "tenants[0].keys[0].previous.until: is past: previous can be taken out")
	const issuer = "auth:\n  jwt: [{issuer: https://id.example.com, audience: a, %s}]\ntenants:"
	f(with("    keys: [{name: ci, generate: true}]\n", "", "tenants:", fmt.Sprintf(issuer, "tenant: acme")))
	f(with("    keys: [{name: ci, generate: true}]\n", "", "tenants:", fmt.Sprintf(issuer, "tenant_claim: org")))
	f(with("    keys: [{name: ci, generate: true}]\n", "", "tenants:", fmt.Sprintf(issuer, "tenant_claim: org, tenants: [{value: x, tenant: acme}]")))
	f(with("tenants:", strings.Replace(fmt.Sprintf(issuer, "tenant_claim: org"), "}]", "}, {issuer: https://b, audience: a, tenant: acme}]", 1)),
		"auth.jwt[0].tenant_claim: lets this issuer name any tenant, those of other issuers too; tenants bounds it")
	f(with("tenants:", "auth: {order: [jwt, mtls]}\ntenants:"), "auth.order: lacks key: what is configured for it has no use")
	f(with("tenants:", strings.Replace(fmt.Sprintf(issuer, "tenant: acme"), "auth:", "auth:\n  order: [key]", 1)), "auth.order: lacks jwt: what is configured for it has no use")
	f(with("listen:", `trusted_proxies: ["10.0.0.0/8", "0.0.0.0/0"], listen:`), "server.trusted_proxies[1]: believes every client about its own address")

	// what nobody reaches
	f(with("acme\n", "acme\n    models: [m, m*, n, n-*]\n"), `tenants[0].models[2]: "n" fits no model`, `tenants[0].models[3]: "n-*" fits no model`)
	f(with("acme\n", "acme\n    models: [n, a-*]\n", "name: m\n", "name: m\n    aliases: [a-1]\n"), `tenants[0].models[0]: "n" fits no model`)
	f(with("acme\n", "acme\n    models: [n]\n", "name: m\n", "name: \"*\"\n"))
	f(with("acme\n", "acme\n    models: [\"*\"]\n"))
	f(with("acme\n", "acme\n    models: [n]\n", "name: m\n", "name: n\n    targets: [{pool: llama}]\n  - name: m\n"), `models[1].name: no tenant may use "m"`)
	f(with("acme\n", "acme\n    models: [\"${POOL}\"]\n"), `tenants[0].models[0]: "${POOL}" fits no model`, `models[0].name: no tenant may use "m"`)
	spare := "pools:\n  - name: spare\n    backends: [{url: \"http://10.0.0.12:8000\"}]\n"
	f(with("pools:\n", spare), `pools[0].name: "spare" is no model's target, and no passthrough's`)
	f(with("pools:\n", spare, "models:", "passthrough: [{prefix: /v1/files, pool: spare}]\nmodels:"))

	// passthrough
	f(with("models:", "passthrough:\n  - {prefix: /v1, pool: llama}\n  - {prefix: /v1/projects/x, pool: llama}\n  - {prefix: /organization, pool: llama}\n  - {prefix: /api, pool: llama}\n  - {prefix: /v1/realtime}\nmodels:"),
		`passthrough[0].prefix: "/v1" passes on every path that the router does not know, whatever it does`,
		`passthrough[1].prefix: lets every tenant administer the account of pool llama`,
		`passthrough[2].prefix: lets every tenant administer the account of pool llama`)
	f(with("pools:\n", spare, "{pool: llama}", "{pool: llama}, {pool: spare, mirror: 1%}"))
	f(with("pools:\n", spare, "10.0.0.12", "10.0.0.11", "{pool: llama}", "{pool: llama}, {pool: spare}"),
		`pools[1].backends[0].url: "http://10.0.0.11:8000" is also pools[0].backends[0].url: each pool counts its own requests only, so their bounds add up`)

	// secrets in the clear
	clear := func(url, secret string, hinted bool) {
		t.Helper()
		var want []string
		if hinted {
			want = []string{`pools[0].backends[0].url: "` + url + `" is not a private address, and http sends the pool's credentials and headers unencrypted`}
		}
		f(with("http://10.0.0.11:8000", url, "name: llama\n", "name: llama\n"+secret), want...)
	}
	key := "    api_key: " + leak + "\n"
	clear("http://203.0.113.1", key, true)
	clear("http://api.example.com/v1", key, true)
	clear("http://api.example.com/v1", "    keys: ["+leak+"]\n", true)
	clear("http://api.example.com/v1", "    headers: {x-api-key: "+leak+"}\n", true)
	clear("http://api.example.com/v1", "", false)
	clear("https://api.example.com/v1", key, false)
	for _, host := range []string{"127.0.0.1", "[::1]", "192.168.1.1", "100.64.0.1", "[fd00::1]", "169.254.1.1", "engine", "engine.svc.cluster.local", "gpu.internal", "localhost", "a.lan"} {
		clear("http://"+host+":1", key, false)
	}

	// hooks
	hook := func(text string) []string {
		return with("models:", "hooks: [{name: guard, "+text+"}]\nmodels:", "targets:", "hooks: [guard]\n    targets:")
	}
	f(hook(`url: "http://127.0.0.1:9000"`))
	f(hook(`url: "http://127.0.0.1:9000"`)[:2], `hooks[0].name: no model has the hook "guard"`)
	f(hook(`url: "http://127.0.0.1:9000", when: both`),
		"hooks[0].when: a streamed answer cannot be shown to a hook, so requests for one are refused: on_unseen: refuse says that this is meant, pass lets them through")
	f(hook(`url: "http://127.0.0.1:9000", when: after, on_unseen: refuse`))
	f(hook(`url: "http://guard.example.com"`),
		`hooks[0].url: "http://guard.example.com" is not a private address, and http sends it what callers write, unencrypted`)
	f(hook(`url: "https://guard.example.com"`))

	// models
	f(with("targets:", "timeouts: {total: 10m}\n    targets:"))
	f(with("targets:", "timeouts: {total: 11m}\n    targets:"), `models[0].timeouts.total: "11m" is longer than the official SDKs wait, 10m, unless their callers raise that`)
	f(with("targets:", "params: {cap: {max_tokens: 5}}\n    targets:"), "models[0].params.cap.max_tokens: does not bound max_completion_tokens, which newer clients send instead")
	f(with("targets:", "params: {cap: {max_tokens: 5, max_completion_tokens: 5}}\n    targets:"))
	f(with("{pool: llama}", "{pool: llama, weight: 0}, {pool: llama, model: x, priority: 2}"), "models[0].targets[0]: no target of priority 1 has a weight: this priority is passed over")
	f(with("{pool: llama}", "{pool: llama, weight: 0}, {pool: llama, model: x}"))
}

// TestShippedFilesNeedNoHints: what people copy from says nothing odd.
func TestShippedFilesNeedNoHints(t *testing.T) {
	for _, path := range files(t, 6, "*.yaml", "examples/*.yaml") {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		report := inspectText(path, string(data))
		assert.Empty(t, report.Problems, path)
		assert.Empty(t, report.Hints.Error(), path)
	}
}

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	file, key, missing := filepath.Join(dir, "x.yaml"), filepath.Join(dir, "key"), filepath.Join(dir, "missing")
	write(t, key, leak)
	secret := func(path string) string {
		return strings.Replace(plain, "name: llama\n", `name: llama
    api_key: "file:`+path+`"
    tls: {ca: /etc/ca.crt, cert: /etc/x.crt, key: /etc/x.key}
`, 1)
	}

	good := strings.Replace(secret(key), `"http://10.0.0.11:8000"`, `"https://10.0.0.11:8000"`, 1)
	good = strings.Replace(good, "server: {", "server: {tls: {cert: /etc/x.crt, key: /etc/x.key}, ", 1)
	write(t, file, good)
	report := Inspect(file)
	require.Empty(t, report.Problems)
	require.Empty(t, report.Hints)
	require.Equal(t, leak, report.Config.Pools[0].APIKey.Reveal())
	require.Equal(t, []string{"/etc/ca.crt", "/etc/x.crt", "/etc/x.key", key}, report.Files)

	hooks := strings.Replace(plain, "models:", `hooks: [{name: guard, url: "https://127.0.0.1:9000", tls: {ca: /etc/ca.crt, cert: /etc/x.crt, key: /etc/x.key}}]
models:`, 1)
	require.Equal(t, []string{"/etc/ca.crt", "/etc/x.crt", "/etc/x.key"}, inspectText("x.yaml", hooks).Files)

	// A missing secret is worth watching for.
	write(t, file, secret(missing))
	report = Inspect(file)
	require.Nil(t, report.Config)
	require.Len(t, report.Problems, 2)
	require.Empty(t, report.Hints)
	require.Contains(t, report.Files, missing)

	report = Inspect(missing)
	require.Nil(t, report.Config)
	require.Equal(t, Problems{{File: missing, Message: "cannot read the file: no such file or directory"}}, report.Problems)
	require.Empty(t, report.Files)
}
