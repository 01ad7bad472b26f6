//go:build engines

// A check of what routing by prefix is for: of two engines, the one that has a
// conversation's beginning in its cache gets what follows, and computes less.

package engines

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pairConfig has two engines twice: once the router looks where a prompt's
// beginning is cached, once it takes turns.
const pairConfig = `
server: {lame_duck: 0s}
tenants: [{name: team, keys: [{name: main, generate: true}]}]
pools:
  - {name: near, engine: ${ENGINE}, slow_start: 0s, balance: adaptive, backends: [{url: "${ONE}"}, {url: "${TWO}"}]}
  - {name: turns, engine: ${ENGINE}, slow_start: 0s, balance: round_robin, backends: [{url: "${ONE}"}, {url: "${TWO}"}]}
models:
  - {name: near, targets: [{pool: near, model: tiny}]}
  - {name: turns, targets: [{pool: turns, model: tiny}]}
`

// checkAffinity has two conversations go on, in an order in which who takes turns
// sends each to both engines, and asks these how many tokens of prompts they
// computed.
func checkAffinity(t *testing.T, w *world) {
	other := startEngine(t, w.name+" beside it", w.env, func(host, port string) []string { return w.engine.chat(w.python, w.model, host, port) })
	other.ready("/health", startUp)
	file := filepath.Join(t.TempDir(), "pair.yaml")
	text := strings.NewReplacer("${ENGINE}", w.name, "${ONE}", w.chat.url(""), "${TWO}", other.url("")).Replace(pairConfig)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	address, admin := freeAddress(t), freeAddress(t)
	router := start(t, "router of two", address, nil, []string{w.bin, "serve", "-c", file, "--listen", address, "--admin", admin})
	key := regexp.MustCompile(`sk-hfx_\S+`)
	require.Eventually(t, func() bool { return key.MatchString(router.said.String()) }, patience, 5*time.Millisecond)
	pair := &world{engine: w.engine, router: router, key: key.FindString(router.said.String())}

	computed := func() (tokens float64) {
		for _, p := range []*process{w.chat, other} {
			tokens += w.computed(func(name string) float64 { return w.figure(t, p.url("/metrics"), name) })
		}
		return tokens
	}
	talk := func(model string) float64 {
		said := map[int]string{}
		before := computed()
		for turn, who := range []int{0, 1, 1, 0, 0, 1, 1, 0} {
			if said[who] == "" {
				beginning := strings.Repeat(fmt.Sprintf("the %s of %d, ", model, who), 100)
				said[who] = fmt.Sprintf(`{"role":"system","content":%q}`, beginning)
			}
			said[who] += fmt.Sprintf(`,{"role":"user","content":"word %d"}`, turn)
			answer := pair.post(t, "/v1/chat/completions", fmt.Sprintf(`{"model":%q,"max_tokens":2,"messages":[%s]}`, model, said[who]))
			require.Equal(t, 200, answer.status, answer.body)
		}
		return computed() - before
	}
	near, turns := talk("near"), talk("turns")
	t.Logf("%v tokens of prompts were computed where the router looks what is cached, %v where it takes turns", near, turns)
	assert.Positive(t, near)
	assert.Less(t, 1.5*near, turns)
}
