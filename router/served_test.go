package router

// Who lists a model gets its requests, and who has to load it is known to be cold.

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// lister is a backend that lists models, and counts the requests for others.
func lister(t *testing.T, loaded string, models ...string) (url string, chats *atomic.Int64) {
	chats = new(atomic.Int64)
	list := `{"data":[`
	for i, m := range models {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf(`{"id":%q}`, m)
	}
	return newBackend(t, func(a *asked) bool {
		switch {
		case strings.Contains(a.head, " /v1/models "):
			a.write(jsonAnswer(list + `]}`))
		case strings.Contains(a.head, " /api/ps "):
			a.write(jsonAnswer(`{"models":[{"name":"` + loaded + `"}]}`))
		case strings.Contains(a.body, `"stream":true`):
			const event = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n"
			a.write(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s", len(event), event))
		default:
			chats.Add(1)
			a.write(jsonAnswer(`{"choices":[]}`))
		}
		return true
	}), chats
}

func TestListedModels(t *testing.T) {
	first, a := lister(t, "", "one", "both")
	second, b := lister(t, "", "two", "both")
	w := newWorld(t, fmt.Sprintf(`
auth: {anonymous: all}
tenants: [{name: all}]
pools:
  - name: p
    balance: round_robin
    serves: listed
    backends: [{url: %q}, {url: %q}]
models:
  - {name: one, targets: [{pool: p}]}
  - {name: renamed, targets: [{pool: p, model: two}]}
  - {name: both, targets: [{pool: p}]}
  - {name: nobody, targets: [{pool: p}]}
  - {name: "*", targets: [{pool: p}]}
`, first, second))
	known := func() (n int) {
		for _, s := range w.fleet.Status() {
			if s.Signals != nil && s.Signals.Served != nil {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return known() == 2 }, 20*time.Second, 5*time.Millisecond)
	f := func(model string, wantA, wantB int64) {
		t.Helper()
		a.Store(0)
		b.Store(0)
		for range 10 {
			require.Equal(t, 200, w.ask(t, chat(`{"model":"`+model+`","messages":[]}`)).status)
		}
		assert.Equal(t, wantA, a.Load(), model)
		assert.Equal(t, wantB, b.Load(), model)
	}
	f("one", 10, 0)
	f("renamed", 0, 10)
	f("both", 5, 5)
	f("two", 0, 10) // by the name that catches the others
	f("nobody", 5, 5)
	f("nobody-either", 5, 5)
}

// TestColdModels: a model that is listed and not in memory is known to be cold.
func TestColdModels(t *testing.T) {
	url, _ := lister(t, "warm:latest", "warm", "cold")
	w := newWorld(t, fmt.Sprintf(`
auth: {anonymous: all}
tenants: [{name: all}]
pools:
  - {name: p, engine: ollama, backends: [{url: %q}]}
models:
  - {name: warm, targets: [{pool: p}]}
  - {name: cold, targets: [{pool: p}]}
`, url))
	snap := w.srv.snapshot.Load()
	cold := func(model string) balancer.Mask {
		e := &Exchange{}
		e.name = snap.names[model]
		return e.coldOf(&e.name.route.targets[0], time.Now())
	}
	require.Eventually(t, func() bool { return cold("cold").Has(0) }, 20*time.Second, 5*time.Millisecond)
	assert.False(t, cold("warm").Has(0))
	signals := &snap.pools[0].endpoints[0].Signals
	f := func(body string, measured bool) {
		t.Helper()
		require.Equal(t, 200, w.ask(t, chat(body)).status, "cold is dear, not forbidden")
		w.settled(t)
		assert.Equal(t, measured, signals.LoadTime() < 15*time.Second, body)
	}
	f(`{"model":"cold","messages":[]}`, false)
	f(`{"model":"warm","stream":true,"messages":[]}`, false)
	f(`{"model":"cold","stream":true,"messages":[]}`, true)
}
