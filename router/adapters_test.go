package router

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAdapterGoesWhereItLies: a model that is an adapter goes to the backend that has
// it in memory, the model below it anywhere.
func TestAdapterGoesWhereItLies(t *testing.T) {
	engine := func(running string) (url string, chats *atomic.Int64) {
		chats = new(atomic.Int64)
		return newBackend(t, func(a *asked) bool {
			if strings.Contains(a.head, " /metrics ") {
				text := fmt.Sprintf("vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=%q,waiting_lora_adapters=\"\"} 5\n", running)
				a.write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
				return true
			}
			chats.Add(1)
			a.write(jsonAnswer(`{"choices":[]}`))
			return true
		}), chats
	}
	first, a := engine("other")
	second, b := engine("adapter")
	w := newWorld(t, fmt.Sprintf(`
auth: {anonymous: all}
tenants: [{name: all}]
pools:
  - name: p
    engine: vllm
    serves: any
    signals: {every: 200ms}
    backends: [{url: %q}, {url: %q}]
models:
  - {name: adapter, targets: [{pool: p}]}
  - {name: renamed, targets: [{pool: p, model: adapter}]}
  - {name: base, targets: [{pool: p}]}
  - {name: "*", targets: [{pool: p}]}
`, first, second))
	pool := w.srv.snapshot.Load().pools[0]
	require.Eventually(t, func() bool {
		one, _ := pool.members.Adapters("adapter", time.Now())
		two, _ := pool.members.Adapters("other", time.Now())
		return one.Has(0) && !one.Has(1) && two.Has(1)
	}, 20*time.Second, 5*time.Millisecond)
	f := func(model string, only *atomic.Int64) {
		t.Helper()
		before, all := int64(0), a.Load()+b.Load()
		if only != nil {
			before = only.Load()
		}
		for i := range 20 {
			require.Equal(t, 200, w.ask(t, chat(message(model, fmt.Sprint(i)))).status)
		}
		require.EqualValues(t, 20, a.Load()+b.Load()-all)
		if only != nil {
			assert.EqualValues(t, 20, only.Load()-before, model)
		}
	}
	f("adapter", b)
	f("renamed", b)
	f("other", a) // by the model "*"
	f("base", nil)
	assert.Positive(t, a.Load()-20, "the base model goes anywhere")

	x, err := w.srv.Explain(Question{Model: "adapter", Now: time.Now()})
	require.NoError(t, err)
	assert.Equal(t, "absent", x.Route.Targets[0].Backends[0].Predicted.Adapter)
	assert.Empty(t, x.Route.Targets[0].Backends[1].Predicted.Adapter)
	assert.InDelta(t, 1, x.Route.Targets[0].Backends[0].Predicted.Cost-x.Route.Targets[0].Backends[1].Predicted.Cost, 0.5)
}
