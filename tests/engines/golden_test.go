//go:build engines

// Checks of what testdata holds: metrics, and answers to requests that are wrong.

package engines

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata instead of comparing it")

// golden compares a text with a file of testdata, or writes it.
func golden(t *testing.T, w *world, name, got string) {
	path := filepath.Join("testdata", w.name, name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "%s is not what the engine says now; -update writes it anew", path)
}

// checkMetrics keeps the names and types of what the engine says of itself.
func checkMetrics(t *testing.T, w *world) {
	w.post(t, "/v1/chat/completions", `{"model":"llama","max_tokens":3,`+hello+`}`) // some appear with use
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+ \S+)$`).FindAllStringSubmatch(w.page(t, w.chat.url("/metrics")), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	golden(t, w, "metrics.txt", strings.Join(slices.Compact(names), "\n")+"\n")
	for _, name := range []string{w.series.running, w.series.waiting, w.series.generated} {
		assert.Contains(t, strings.Join(names, "\n"), strings.TrimSuffix(name, "_total"))
	}
}

// mistake is a request that is wrong and what the engine answers it.
type mistake struct {
	Name   string `json:"name"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Kind   string `json:"content_type"`
	Body   string `json:"body"`

	request string
	ours    int // the status that the router answers itself, so that no engine sees it; 0 for what it passes on
}

func mistakes() []*mistake {
	const chat = "/v1/chat/completions"
	long := strings.Repeat("word ", 60_000)
	post := func(name, path, request string) *mistake {
		return &mistake{Name: name, Method: http.MethodPost, Path: path, request: request}
	}
	ours := func(status int, name, method, path, request string) *mistake {
		return &mistake{Name: name, Method: method, Path: path, request: request, ours: status}
	}
	return []*mistake{
		post("prompt too long", chat, `{"model":"tiny","messages":[{"role":"user","content":"`+long+`"}]}`),
		post("prompt too long, streamed", chat, `{"model":"tiny","stream":true,"messages":[{"role":"user","content":"`+long+`"}]}`),
		post("prompt too long, completions", "/v1/completions", `{"model":"tiny","prompt":"`+long+`"}`),
		post("more tokens than fit", chat, `{"model":"tiny","max_tokens":1000000,"logit_bias":{"1":100},`+hello+`}`),
		post("unknown model", chat, `{"model":"nobody-has-it","max_tokens":1,`+hello+`}`),
		post("no messages", chat, `{"model":"tiny"}`),
		ours(http.StatusBadRequest, "messages are a text", http.MethodPost, chat, `{"model":"tiny","messages":"hello"}`),
		post("empty messages", chat, `{"model":"tiny","max_tokens":1,"messages":[]}`),
		post("a message without a role", chat, `{"model":"tiny","max_tokens":1,"messages":[{"content":"hello"}]}`),
		post("temperature is a text", chat, `{"model":"tiny","max_tokens":1,"temperature":"hot",`+hello+`}`),
		post("temperature out of range", chat, `{"model":"tiny","max_tokens":1,"temperature":-3,`+hello+`}`),
		post("image for a model of text", chat, `{"model":"tiny","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}`),
		post("a tool without a name", chat, `{"model":"tiny","max_tokens":1,`+hello+`,"tools":[{"type":"function","function":{}}]}`),
		post("a schema that is none", chat, `{"model":"tiny","max_tokens":1,`+hello+`,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"nonsense"}}}}`),
		post("no prompt", "/v1/completions", `{"model":"tiny"}`),
		post("embeddings of nothing", "/v1/embeddings", `{"model":"tiny","input":[]}`),
		post("rerank", "/v1/rerank", `{"model":"tiny","query":"a","documents":["b"]}`),
		ours(http.StatusBadRequest, "body that is not JSON", http.MethodPost, chat, `{"model":"tiny",`),
		ours(http.StatusNotFound, "unknown path", http.MethodPost, "/v1/nothing", `{"model":"tiny"}`),
		ours(http.StatusMethodNotAllowed, "wrong method", http.MethodGet, chat, ""),
	}
}

// checkErrors keeps what the engine says of mistakes, and holds that a client
// behind the router is told the same: the status, and every word of it.
func checkErrors(t *testing.T, w *world) {
	all := mistakes()
	for _, m := range all {
		a := w.ask(t, m.Method, w.chat.url(m.Path), m.request)
		m.Status, m.Kind = a.status, a.kind
		if a.status >= 400 {
			m.Body = a.body
		}
		t.Run(m.Name, func(t *testing.T) { w.passesOn(t, m) })
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	require.NoError(t, out.Encode(all))
	golden(t, w, "errors.json", text.String())
}

// passesOn sends a mistake through the router: its client reads OpenAI's error
// object, with the engine's status and words.
func (w *world) passesOn(t *testing.T, m *mistake) {
	request := strings.NewReplacer(`"model":"tiny"`, `"model":"llama"`, `"model":"nobody-has-it"`, `"model":"unknown"`).Replace(m.request)
	got := w.ask(t, m.Method, w.router.url(m.Path), request)
	if m.ours != 0 {
		assert.Equal(t, m.ours, got.status, got.body)
		return
	}
	require.Equal(t, m.Status, got.status, got.body)
	if m.Status < 400 {
		return
	}
	assert.True(t, strings.HasPrefix(got.kind, "application/json"), got.kind)
	for _, key := range []string{".error.code", ".error.message", ".error.param", ".error.type"} {
		assert.Contains(t, shape(t, got.body), key)
	}
	var engines, routers struct {
		Error  struct{ Message string }
		Detail string
	}
	require.NoError(t, json.Unmarshal([]byte(m.Body), &engines))
	require.NoError(t, json.Unmarshal([]byte(got.body), &routers))
	assert.Equal(t, engines.Error.Message+engines.Detail, routers.Error.Message)
}
