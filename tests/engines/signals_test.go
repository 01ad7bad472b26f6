//go:build engines

// Checks of what the router reads of the engine: the names it knows are the
// engine's, and the numbers are those that the engine tells.

package engines

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// told is what the router knows of the engine that chats.
type told struct {
	Engine  string
	Problem string
	Known   map[string]float64
	Models  []string
}

func (w *world) told(t *testing.T) (s told) {
	var list struct {
		Backends []struct {
			Pool    string
			Signals told
		}
	}
	require.NoError(t, json.Unmarshal([]byte(w.page(t, w.admin+"/-/backends")), &list))
	for _, b := range list.Backends {
		if b.Pool == "chat" {
			s = b.Signals
		}
	}
	return s
}

// checkSignals holds that what the engine tells is read, and that a request is seen
// while it runs.
func checkSignals(t *testing.T, w *world) {
	w.post(t, "/v1/chat/completions", `{"model":"llama","max_tokens":3,`+hello+`}`)
	require.Eventually(t, func() bool {
		known := w.told(t).Known
		return !slices.ContainsFunc(w.tells, func(name string) bool { _, ok := known[name]; return !ok })
	}, patience, 50*time.Millisecond)
	s := w.told(t)
	assert.Equal(t, w.name, s.Engine)
	assert.Empty(t, s.Problem)
	assert.Equal(t, w.lists, slices.Contains(s.Models, "tiny"))

	w.leave(t, endless, func() bool { return w.told(t).Known["running"] >= 1 }) // it is seen while it runs
}
