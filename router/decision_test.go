package router

// What a caller with a debugging key is told of how it was routed, and nobody else.

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/authn"
)

// choiceFigures are the figures of a choice, which depend on the clock.
var choiceFigures = regexp.MustCompile(`, hit=\d+, ahead=\d+\.\d{3}, cost=\d+\.\d{3}(, second=\d+\.\d{3})?`)

func TestDecision(t *testing.T) {
	debug, h1 := newKey(t)
	plain, h2 := newKey(t)
	good := newBackend(t, func(a *asked) bool {
		if strings.Contains(a.body, `"stream":true`) {
			a.write(sseHead + chunkOf("data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n") + lastChunk)
		} else {
			a.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Helixflow-Decision: forged\r\nContent-Length: 2\r\n\r\n{}")
		}
		assert.Empty(t, a.req.Header.Get("X-Helixflow-Explain"), "never forwarded")
		return true
	})
	dead := newBackend(t, func(*asked) bool { return false })
	w := newWorld(t, fmt.Sprintf(`
tenants:
  - name: acme
    models: ["m*", dead]
    keys: [{name: debug, hash: %q, debug: true}, {name: plain, hash: %q}]
pools:
  - {name: first, balance: round_robin, ejection: off, backends: [{url: %q}]}
  - {name: second, ejection: off, backends: [{url: %q}]}
models:
  - {name: m, aliases: [m-2], targets: [{pool: second}]}
  - {name: m-fallback, fallback_hold: 0s, targets: [{pool: first, priority: 1}, {pool: second, priority: 5}]}
  - {name: dead, targets: [{pool: first}]}
  - {name: "mß", targets: [{pool: second}]}
  - {name: other, targets: [{pool: second}]}
`, h1, h2, dead, good))
	const ask = "X-Helixflow-Explain: 1"
	f := func(body, want string, headers ...string) {
		t.Helper()
		got := w.ask(t, chat(body, headers...)).header.Values("X-Helixflow-Decision")
		for i := range got {
			got[i] = choiceFigures.ReplaceAllString(got[i], "")
		}
		if want == "" {
			assert.Empty(t, got)
			return
		}
		assert.Equal(t, []string{want}, got)
	}
	served := `attempts=1, model="m", pool="second", balance="adaptive", priority=1, backend="` + good + `", reason="load"`
	f(simple, served, bearerLine(debug), ask)
	f(streaming, served, bearerLine(debug), ask)
	f(strings.Replace(simple, `"m"`, `"m-2"`, 1), served, bearerLine(debug), ask)
	f(strings.Replace(simple, `"m"`, `"mß"`, 1), strings.Replace(served, `"m"`, `%"m%c3%9f"`, 1), bearerLine(debug), ask)
	f(simple, "", bearerLine(debug))
	f(simple, "", bearerLine(debug), "X-Helixflow-Explain: 2")
	f(simple, "", bearerLine(plain), ask)
	f(simple, "", bearerLine("sk-nonsense"), ask)
	f(strings.Replace(simple, `"m"`, `"m-fallback"`, 1),
		`attempts=2, model="m-fallback", pool="second", balance="adaptive", priority=2, backend="`+good+`", reason="fallback", failed="wait"`, bearerLine(debug), ask)
	f(strings.Replace(simple, `"m"`, `"dead"`, 1),
		`attempts=1, model="dead", priority=1, backend="`+dead+`", reason="policy", problem="backend_broken"`, bearerLine(debug), ask)
	f(strings.Replace(simple, `"m"`, `"nothing"`, 1), `attempts=0, problem="model_not_found"`, bearerLine(debug), ask)
	f(strings.Replace(simple, `"m"`, `"other"`, 1), `attempts=0, problem="model_forbidden"`, bearerLine(debug), ask)
	f(`{"model":"m`, `attempts=0, problem="invalid_json"`, bearerLine(debug), ask)
	list := w.ask(t, "GET /v1/models HTTP/1.1\r\nHost: x\r\n"+ask+"\r\n"+bearerLine(debug)+"\r\n\r\n")
	assert.Equal(t, "attempts=0", list.header.Get("X-Helixflow-Decision"))
}

func TestDecisionText(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		assert.Equal(t, want, string(appendMember(nil, "x", value)))
	}
	f("", `, x=""`)
	f(`http://10.0.0.1:8000/v1`, `, x="http://10.0.0.1:8000/v1"`)
	f(`a"b\c`, `, x="a\"b\\c"`)
	f("fü 100%\"", `, x=%"f%c3%bc 100%25%22"`)
	f("a\r\nb", `, x=%"a%0d%0ab"`)
}

// TestDecisionAllocs: who does not ask pays nothing.
func TestDecisionAllocs(t *testing.T) {
	e := &Exchange{}
	e.principal = authn.Anonymous("acme", nil)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if len(e.appendDecision(nil)) > 0 {
			t.Error("told to nobody")
		}
	}))
}
