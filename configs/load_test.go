package configs

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/secret"
)

func TestReference(t *testing.T) {
	c, err := parseTest(t, "helixflow.yaml")
	require.NoError(t, err)

	// What the reference calls defaults are the defaults.
	server := Default().Server
	server.CORS.Origins, server.TrustedProxies = []string{}, []netip.Prefix{}
	server.TLS = ServerTLS{Cert: "/etc/helixflow/tls.crt", Key: "/etc/helixflow/tls.key", ClientCA: "/etc/helixflow/clients.crt", ClientAuth: "optional"}
	require.Equal(t, server, c.Server)
	require.Equal(t, Default().Log, c.Log)
	require.Equal(t, Default().Auth.FailuresPerMinute, c.Auth.FailuresPerMinute)
	require.Empty(t, c.Auth.KeyFiles)
	require.Equal(t, defaultModel().Timeouts, c.Models[0].Timeouts)

	one, two := defaultIssuer(), defaultIssuer()
	one.Issuer, one.Audience, one.JWKSURL = "https://id.example.com", []string{"helixflow"}, "https://id.example.com/keys"
	one.Type, one.TenantClaim, one.Tenants = "at+jwt", "org.id", []ClaimTenant{{"org_Zx81kQ", "acme"}}
	one.RolesClaim, one.Roles = "scope", []Role{{Name: "llm", Models: []string{"llama-*"}}, {Name: "llm.debug", Debug: true}}
	one.NameClaim, one.Required = "email", []string{"jti"}
	two.Issuer, two.Audience = "https://cluster.local", []string{"helixflow", "https://helixflow.example.com"}
	two.JWKSFile, two.Algorithms, two.Tenant = "/etc/helixflow/cluster.jwks", []string{"ES256", "EdDSA"}, "acme"
	require.Equal(t, []Issuer{one, two}, c.Auth.JWT)
	require.Equal(t, []Certificate{
		{Name: "agents", SPIFFE: "spiffe://example.org/ns/agents/*", Tenant: "acme", Models: []string{"gpt-4o-mini"}},
		{Name: "batch", Subject: "CN=batch,O=Acme", Tenant: "acme"},
	}, c.Auth.MTLS)
	require.Equal(t, Default().Auth.Order, c.Auth.Order)

	require.Equal(t, []Tenant{{
		Name:   "acme",
		Models: []string{"llama-*", "gpt-4o-mini"}, Priority: "interactive",
		Limits: Limits{
			RequestsPerMinute: new(int64(600)), TokensPerMinute: new(int64(200_000)), TokensPerDay: new(int64(10_000_000)), Concurrent: new(int64(32)),
			Burst:  Burst{Requests: new(int64(60)), Tokens: new(int64(50_000))},
			Budget: Budget{USD: new(Money(500_000_000)), Per: "month"}, Reserve: "expected",
		},
		ModelLimits: []ModelLimits{{Model: "llama-3.1-70b", Limits: Limits{Concurrent: new(int64(8)), Budget: Budget{Per: "month"}, Reserve: "expected"}}},
		Keys: []Key{
			{
				Name: "ci", Hash: "hmac-sha256:1:Zx81kQp0aB3d:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
				Previous: PreviousKey{
					Hash:  "sha256:Zx81kQp0aB3d:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
					Until: time.Date(2036, 12, 24, 12, 0, 0, 0, time.UTC),
				},
				NotBefore: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
				Expires:   time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC),
				Models:    []string{"llama-*"},
				Endpoints: []string{"chat_completions", "completions", "embeddings*"},
				From:      []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
				Limits:    Limits{RequestsPerMinute: new(int64(60)), Budget: Budget{Per: "month"}, Reserve: "expected"},
			},
			{Name: "trial", Generate: true, Limits: defaultLimits()},
		},
		Idempotency: 24 * time.Hour,
	}}, c.Tenants)
	llama := defaultPool()
	llama.Name, llama.Engine, llama.Health.Path = "llama-70b", "vllm", "/health"
	llama.Headers = Headers{"x-team": "inference"}
	llama.Shadow = []string{"round_robin", "least_inflight"}
	llama.Backends = []Backend{
		{URL: "http://10.0.0.11:8000", Weight: 1, Tier: 1, MaxInflight: 64},
		{URL: "sim:gpu-a", Weight: 1, Tier: 1},
	}
	openai := defaultPool()
	openai.Name, openai.Tenant, openai.Health.Off = "openai", "acme", true
	openai.Concurrency.Off, openai.Hedge.Off = true, true
	openai.Keys = []secret.Text{secret.New("an-example"), secret.New("another-example")}
	openai.Backends = []Backend{{URL: "https://api.openai.com/v1", Weight: 1, Tier: 1, TLS: ClientTLS{ServerName: "api.openai.com"}}}
	llama.Warmup.Model = "meta-llama/Llama-3.1-70B-Instruct"
	llama.Discover.DNS.Name, llama.Discover.DNS.Port = "gpus.example.com", 8000
	openai.Discover.File = "/etc/helixflow/backends.yaml"
	require.Equal(t, []Pool{llama, openai}, c.Pools)
	require.Equal(t, openai.Keys, openai.Credentials())
	require.Empty(t, llama.Credentials())

	m, context := c.Models[0], int64(128_000)
	require.Equal(t, []Target{
		{Pool: "llama-70b", Model: "meta-llama/Llama-3.1-70B-Instruct", Priority: 1, Weight: 95, Context: &context, Lacks: []string{"images"}},
		{Pool: "openai", Model: "gpt-4o", Priority: 1, Weight: 5},
		{Pool: "openai", Model: "gpt-4o-mini", Priority: 2, Weight: 1},
		{Pool: "openai", Model: "gpt-4.1-nano", Mirror: Whole / 100},
	}, m.Targets)
	require.Equal(t, []string{"gpt-4o"}, m.Aliases)
	require.Equal(t, defaultModel().FallbackHold, m.FallbackHold)
	require.Equal(t, Params{
		Default: []ParamDefault{
			{"temperature", json.RawMessage("0.7")},
			{"max_tokens", json.RawMessage("1024")},
			{"stop", json.RawMessage(`["<end>","END"]`)},
		},
		Cap: []ParamCap{
			{"max_tokens", 4096, json.RawMessage("4096")},
			{"max_completion_tokens", 4096, json.RawMessage("4096")},
		},
		Drop: []string{"logit_bias"},
	}, m.Params)
	require.True(t, c.Models[1].Params.Empty())
	require.Equal(t, []Target{{Pool: "openai", Priority: 1, Weight: 1}}, c.Models[1].Targets)
	files := defaultPassthrough()
	require.Equal(t, time.Hour, files.Timeouts.Total)
	require.Equal(t, Passthrough{Prefix: "/v1/realtime", Timeouts: files.Timeouts}, c.Passthrough[0])
	files.Prefix, files.Pool = "/v1/files", "openai"
	require.Equal(t, files, c.Passthrough[1])
	require.Len(t, c.Passthrough, 2)
	require.Equal(t, "acme", c.Pools[1].Tenant)
}

// TestReferenceIsWhole: the reference names every key of the table.
func TestReferenceIsWhole(t *testing.T) {
	data, err := os.ReadFile("helixflow.yaml")
	require.NoError(t, err)
	for word := range knownWords() {
		require.Regexp(t, `(?m)^[ -]*`+word+`:`, string(data))
	}
}

func TestFleet(t *testing.T) {
	c, err := parseTest(t, "testdata/good/fleet.yaml")
	require.NoError(t, err)
	off, quick := c.Pools[0], c.Pools[1]
	require.True(t, off.Health.Off && off.Ejection.Off && c.Pools[2].Health.Off && !quick.Health.Off && !quick.Ejection.Off)
	require.Equal(t, Retry{Attempts: 1}, off.Retry)
	require.Zero(t, off.SlowStart+off.DrainTimeout)
	require.Equal(t, Retry{Attempts: 3, Budget: Whole}, quick.Retry)
	require.Equal(t, Health{Path: "/v1/models?limit=1", Every: 500 * time.Millisecond, Timeout: 500 * time.Millisecond, Unhealthy: 1, Healthy: 1}, quick.Health)
	require.Equal(t, Ejection{
		Consecutive: 5, Rate: Whole, Samples: 20, Base: 10 * time.Minute, Max: 10 * time.Minute, Panic: 125_000,
	}, quick.Ejection)
	require.True(t, off.Signals.Off && off.AsksModels() && !quick.AsksModels())
	require.Equal(t, Signals{Every: 200 * time.Millisecond, Path: "/metrics", Port: 8002}, quick.Signals)
	require.Equal(t, Signals{Every: 3 * time.Second}, c.Pools[2].Signals, "llama.cpp is not to be disturbed")
	var keys []string
	for _, key := range quick.Credentials() {
		keys = append(keys, key.Reveal())
	}
	require.Equal(t, []string{leak, leak + "x", strings.Repeat(leak, 8)}, keys)
	require.Equal(t, []Target{
		{Pool: "off", Priority: 1},
		{Pool: "quick", Priority: 100, Weight: 1000},
		{Pool: "quick", Mirror: 1},
		{Pool: "quick", Model: "other", Mirror: Whole},
		{Pool: "found", Priority: 1, Weight: 1},
		{Pool: "listed", Priority: 1, Weight: 1},
	}, c.Models[0].Targets)
	require.True(t, c.Models[0].Targets[2].IsMirror())
	require.False(t, c.Models[0].Targets[0].IsMirror())
	require.Zero(t, c.Models[0].FallbackHold)
}

func TestHooks(t *testing.T) {
	c, err := parseTest(t, "testdata/good/hooks.yaml")
	require.NoError(t, err)
	policy := c.Hooks[1]
	require.Equal(t, leak, policy.Token.Reveal())
	policy.Token = secret.Text{}
	require.Equal(t, []Hook{
		{
			Name: "pii", URL: "http://127.0.0.1:9000/check", When: "before", Timeout: time.Second,
			OnError: "refuse", OnUnseen: "refuse", MaxBody: 1 << 20, MaxInflight: 256,
		},
		{
			Name: "policy", URL: "https://guard.example.com", When: "after", Timeout: 1500 * time.Millisecond,
			OnError: "pass", OnUnseen: "pass", MaxBody: 32 << 20,
			TLS: ClientTLS{CA: "/etc/ca.crt", Cert: "/etc/a.crt", Key: "/etc/a.key", ServerName: "guard"},
		},
	}, []Hook{c.Hooks[0], policy})
	require.Equal(t, []string{"pii", "policy", "audit"}, c.Models[0].Hooks)
	require.Empty(t, c.Models[2].Hooks)
	for _, hook := range []struct {
		when              string
		requests, answers bool
	}{{"before", true, false}, {"after", false, true}, {"both", true, true}} {
		h := Hook{When: hook.when}
		require.Equal(t, hook.requests, h.SeesRequests(), hook.when)
		require.Equal(t, hook.answers, h.SeesAnswers(), hook.when)
	}
}

func TestParams(t *testing.T) {
	c, err := parseTest(t, "testdata/good/params.yaml")
	require.NoError(t, err)
	var object strings.Builder
	for _, d := range c.Models[0].Params.Default {
		require.True(t, json.Valid(d.Value), d.Name)
		fmt.Fprintf(&object, "%s: %s\n", d.Name, d.Value)
	}
	require.Equal(t, `temperature: 0.7
top_p: 1.0e-1
seed: -42
store: false
user: "`+leak+`-<&>\"é"
quoted: "0.7"
response_format: {"type":"json_schema","a key":null,"list":[1,"two",{},[]]}
text: "two\nlines\n"
max_tokens: 100
`, object.String())
	require.Equal(t, []ParamCap{
		{"max_tokens", 1200, json.RawMessage("1200")},
		{"presence_penalty", -0.5, json.RawMessage("-0.5")},
		{"n", 1, json.RawMessage("1")},
	}, c.Models[0].Params.Cap)
	require.Equal(t, []string{"logit_bias", "_private"}, c.Models[0].Params.Drop)
}

func TestServerKeys(t *testing.T) {
	c, err := parseTest(t, "testdata/good/admin-token.yaml")
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(leak, 8), c.Server.AdminToken.Reveal())
	require.Equal(t, "/run/helixflow/handover.sock", c.Server.Handover)
	prefix := netip.MustParsePrefix
	require.Equal(t, []netip.Prefix{prefix("10.0.0.0/8"), prefix("192.0.2.7/32"), prefix("2001:db8::/32"), prefix("::1/128")}, c.Server.TrustedProxies)
	require.Equal(t, Log{Level: "debug", Access: "./access.log", AccessSample: 5000, AccessMaxSize: 1 << 30}, c.Log)
}

func TestVariables(t *testing.T) {
	c, err := parseTest(t, "testdata/good/variables.yaml")
	require.NoError(t, err)
	require.Equal(t, "a12-x", c.Tenants[0].Name)
	require.True(t, c.Tenants[0].Keys[0].Generate)
	require.EqualValues(t, 1<<20, c.Server.MaxBody)
	require.Equal(t, 7*time.Second, c.Server.LameDuck)
	require.Equal(t, leak, c.Pools[0].APIKey.Reveal())
	require.Equal(t, Headers{"x-a": "${plain}", "x-b": leak}, c.Pools[0].Headers)
	require.Equal(t, 12, c.Pools[0].Backends[0].Weight)
	require.Equal(t, "llama", c.Models[0].Targets[0].Pool)
}

func TestAnchors(t *testing.T) {
	c, err := parseTest(t, "testdata/good/anchors.yaml")
	require.NoError(t, err)
	require.Equal(t, "vllm", c.Pools[1].Engine)
	require.Equal(t, "two", c.Pools[1].Name)
	require.Equal(t, Headers{"x-a": "1", "x-b": "2"}, c.Pools[1].Headers)
	require.Equal(t, []Backend{{URL: "http://a:1", Weight: 1, Tier: 1, MaxInflight: 2000}}, c.Pools[1].Backends)
	require.Equal(t, c.Pools[2].Backends, c.Pools[3].Backends)
	times := c.Models[1].Timeouts
	require.Equal(t, []time.Duration{2 * time.Second, 6 * time.Second, time.Minute}, []time.Duration{times.Connect, times.Idle, times.Total})
}

func TestPlaces(t *testing.T) {
	f := func(file string, line, column int) {
		t.Helper()
		data, err := os.ReadFile("testdata/good/" + file)
		require.NoError(t, err)
		_, err = Parse("x", []byte(strings.Replace(string(data), "acme", "a b", 1)), nil, nil)
		var problems Problems
		require.ErrorAs(t, err, &problems)
		require.Len(t, problems, 1)
		require.Equal(t, [2]int{line, column}, [2]int{problems[0].Line, problems[0].Column})
		require.Equal(t, "tenants[0].name", problems[0].Path)
	}
	f("minimal.yaml", 4, 11)
	f("crlf.yaml", 4, 11)
	f("bom.yaml", 4, 11)
	f("document-start.yaml", 5, 11)
}

func TestSecretsDoNotPrint(t *testing.T) {
	c, err := parseTest(t, "testdata/good/variables.yaml")
	require.NoError(t, err)
	hosted, err := parseTest(t, "examples/hosted.yaml")
	require.NoError(t, err)
	require.Contains(t, hosted.Pools[0].Proxy.Reveal(), leak)
	fleet, err := parseTest(t, "testdata/good/fleet.yaml")
	require.NoError(t, err)
	require.Contains(t, fleet.Pools[1].Keys[0].Reveal(), leak)
	token, err := parseTest(t, "testdata/good/admin-token.yaml")
	require.NoError(t, err)
	require.Contains(t, token.Server.AdminToken.Reveal(), leak)
	hooks, err := parseTest(t, "testdata/good/hooks.yaml")
	require.NoError(t, err)
	for _, c := range []*Config{c, hosted, fleet, token, hooks} {
		marshalled, err := json.Marshal(c)
		require.NoError(t, err)
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "all", c, "headers", c.Pools[0].Headers)
		slog.New(slog.NewTextHandler(&log, nil)).Info("config", "all", c, "headers", c.Pools[0].Headers)
		for _, text := range []string{
			fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%v %s %q", *c, c.Pools[0].Headers, c.Pools[0].Headers),
			string(marshalled), log.String(),
		} {
			assert.NotContains(t, text, leak)
			assert.Contains(t, text, secret.New("x").String())
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	file := filepath.Join(dir, "helixflow.yaml")
	require.NoError(t, os.WriteFile(key, []byte("from a file\n"), 0o600))
	data, err := os.ReadFile("testdata/good/minimal.yaml")
	require.NoError(t, err)
	text := strings.Replace(string(data), "    backends:", "    headers: {x-a: \"file:"+key+"\", x-b: \"${HELIXFLOW_TEST}\"}\n    backends:", 1)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	t.Setenv("HELIXFLOW_TEST", "from the environment")
	c, err := Load(file)
	require.NoError(t, err)
	require.Equal(t, Headers{"x-a": "from a file", "x-b": "from the environment"}, c.Pools[0].Headers)
}

func TestLoadUnreadable(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		_, err := Load(path)
		var problems Problems
		require.ErrorAs(t, err, &problems)
		require.EqualError(t, err, path+": "+want)
	}
	dir := t.TempDir()
	f(filepath.Join(dir, "none.yaml"), "cannot read the file: no such file or directory")
	f(dir, "cannot read the file: is a directory")
	big := filepath.Join(dir, "big.yaml")
	require.NoError(t, os.WriteFile(big, []byte(strings.Repeat("# x\n", maxFile/4+1)), 0o600))
	f(big, "is bigger than 4MiB")
}

func TestProblemsAsJSON(t *testing.T) {
	_, err := parseTest(t, "testdata/bad/unknown-key.yaml")
	got, err := json.Marshal(err)
	require.NoError(t, err)
	require.JSONEq(t, `[{
		"file": "unknown-key.yaml", "line": 3, "column": 3, "path": "server.listne",
		"message": "unknown key; did you mean \"listen\"?",
		"excerpt": "    3 |   listne: *\n      |   ^"
	}]`, string(got))
}

func TestAtMostHundredProblems(t *testing.T) {
	_, err := parseTest(t, "testdata/bad/too-many.yaml")
	var problems Problems
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems, maxProblems+1)
	require.Equal(t, "and 33 more problems from here on", problems[maxProblems].Message)
}

func TestDefaultIsFresh(t *testing.T) {
	Default().Server.Listen = "changed"
	require.Equal(t, ":8080", Default().Server.Listen)
}
