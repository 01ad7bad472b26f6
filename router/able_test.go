package router

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A request goes to targets that can serve it, and where none is said to be able
// to, to the first.
func TestAbilities(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
	const tooLong = `{"object":"error","message":"This model's maximum context length is 100 tokens.","type":"BadRequestError","code":400}`
	var refusing atomic.Bool
	named := func(name string) string {
		return newBackend(t, func(a *asked) bool {
			if name == "small" && refusing.Load() {
				a.write(fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(tooLong), tooLong))
				return true
			}
			body := `{"choices":[{"message":{"content":"` + name + `"},"finish_reason":"stop"}]}`
			a.write(fmt.Sprintf(answer, len(body), body))
			return true
		})
	}
	config := func(small, middle, large string) string {
		return fmt.Sprintf(`
auth: {anonymous: all}
tenants: [{name: all}]
pools:
  - {name: small, backends: [{url: %q}]}
  - {name: middle, backends: [{url: %q}]}
  - {name: large, backends: [{url: %q}]}
models:
  - name: m
    targets:
      - {pool: small, %s}
      - {pool: middle, priority: 2, %s}
      - {pool: large, priority: 3, %s}
`, named("small"), named("middle"), named("large"), small, middle, large)
	}
	text := func(bytes int) string {
		return `"messages":[{"role":"user","content":"` + strings.Repeat("word ", bytes/5) + `"}]`
	}
	image := `"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]`
	var w *world
	f := func(body, want string) {
		t.Helper()
		assert.Contains(t, w.ask(t, chat(`{"model":"m",`+body+`}`)).body, want)
	}

	w = newWorld(t, config("context: 1k, lacks: [tools, images]", "context: 10k, lacks: [images]", "lacks: []"))
	f(text(100), `"small"`)
	f(text(20_000), `"middle"`)
	f(text(100)+`,"max_tokens":5000`, `"middle"`)
	f(text(200_000), `"large"`)
	f(text(100)+`,"tools":[{"type":"function","function":{"name":"f"}}]`, `"middle"`)
	f(text(100)+`,"functions":[{"name":"f"}]`, `"middle"`)
	f(image, `"large"`)
	f(text(100), `"small"`) // nobody stays with a later priority because one request had to go there

	// What no target is said to be able to do the first one answers to.
	w = newWorld(t, config("lacks: [images]", "lacks: [images]", "lacks: [images]"))
	f(image, `"small"`)

	// A backend that finds the prompt too long is believed, where another is known to have room.
	refusing.Store(true)
	w = newWorld(t, config("context: 1k", "weight: 1", "context: 10k"))
	f(text(100), `"large"`)
	w = newWorld(t, config("weight: 1", "weight: 1", "context: 10k"))
	f(text(100), `"large"`)
	w = newWorld(t, config("context: 10k", "weight: 1", "context: 10k"))
	f(text(100), "maximum context length")
	w = newWorld(t, config("weight: 1", "weight: 1", "weight: 1"))
	f(text(100), "maximum context length")
}
