//go:build integration

// What the backends saw of an order, and what the engine says when nobody is
// between.

package compat

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/tests/fakellm"
)

// counts are what the backends had seen at one moment.
type counts struct {
	Received int `json:"received"`
	Aborted  int `json:"aborted"`
	Running  int `json:"running"`
	faked    int
	said     int
}

func (w *world) count(t *testing.T) counts {
	var c counts
	w.call(t, http.MethodGet, "/sim/stats", nil, &c)
	c.faked, c.said = len(w.fake.Requests()), len(w.sockets.got())
	return c
}

func (w *world) queue(script string) {
	if script != "" {
		w.fake.Queue(fakellm.MustParse(script))
	}
}

// judge holds what the backends saw since then against what was wanted.
func (w *world) judge(t *testing.T, before counts, o Order, want Want) {
	if want.Left {
		assert.Eventually(t, func() bool {
			now := w.count(t)
			return now.Aborted == before.Aborted+1 && now.Running == 0
		}, 20*time.Second, 5*time.Millisecond, "the engine does not know that the client left")
	}
	if want.Received > 0 || want.Status > 0 {
		assert.Equal(t, want.Received, w.count(t).Received-before.Received, "requests that reached the engine")
	}
	faked := w.fake.Requests()[before.faked:]
	if want.Sent != "" && assert.Len(t, faked, 1) {
		assert.True(t, holds(t, faked[0].Body, want.Sent), "%q is not in %s", want.Sent, faked[0].Body)
	}
	said := strings.Join(w.sockets.got()[before.said:], "\n")
	assert.NotContains(t, said, o.Key, "the caller's key reached the backend of websockets")
	assert.Contains(t, said, want.Said, "what the backend of websockets got")
	if want.Uploaded && assert.Len(t, faked, 1) {
		assert.True(t, strings.Contains(faked[0].Body, string(o.Audio)), "the file is not in the %d bytes that the backend got", len(faked[0].Body))
	}
	if want.Tries > 0 && assert.Len(t, faked, want.Tries) {
		for i, r := range faked {
			assert.Equal(t, strconv.Itoa(i), r.Header.Get("X-Stainless-Retry-Count"))
		}
	}
	for _, r := range faked {
		assert.NotContains(t, r.Head, o.Key, "the caller's key reached the backend")
	}
}

// holds reports whether text is one of the strings in a JSON document.
func holds(t *testing.T, document, text string) bool {
	var v any
	require.NoError(t, json.Unmarshal([]byte(document), &v))
	var in func(v any) bool
	in = func(v any) bool {
		switch v := v.(type) {
		case string:
			return v == text
		case []any:
			for _, e := range v {
				if in(e) {
					return true
				}
			}
		case map[string]any:
			for _, e := range v {
				if in(e) {
					return true
				}
			}
		}
		return false
	}
	return in(v)
}

// engineModel is what the router calls the model at the engine.
const engineModel = "meta-llama/Llama-3.1-8B-Instruct"

// engineTexts asks the engine itself, once for each prompt of the order or for each
// way in which a client may write its prompt.
func (w *world) engineTexts(t *testing.T, o Order) (texts []string) {
	message := func(prompt string) any { return []any{map[string]any{"role": "user", "content": prompt}} }
	switch o.Do {
	case "complete", "complete-stream":
		var a struct{ Choices []struct{ Text string } }
		w.call(t, http.MethodPost, "/v1/completions", map[string]any{"model": engineModel, "prompt": o.Prompt}, &a)
		return []string{a.Choices[0].Text}
	case "respond", "respond-stream":
		item := map[string]any{"type": "message", "role": "user", "content": o.Prompt}
		for _, input := range []any{o.Prompt, []any{item}} {
			var a struct {
				Output []struct{ Content []struct{ Text string } }
			}
			w.call(t, http.MethodPost, "/v1/responses", map[string]any{"model": engineModel, "input": input}, &a)
			texts = append(texts, a.Output[0].Content[0].Text)
		}
		return texts
	}
	prompts := o.Prompts
	if len(prompts) == 0 {
		prompts = []string{o.Prompt}
	}
	for _, prompt := range prompts {
		var a struct {
			Choices []struct{ Message struct{ Content string } }
		}
		w.call(t, http.MethodPost, "/v1/chat/completions", map[string]any{"model": engineModel, "messages": message(prompt)}, &a)
		texts = append(texts, a.Choices[0].Message.Content)
	}
	return texts
}

// engineVectors asks the engine itself.
func (w *world) engineVectors(t *testing.T, o Order) [][]float64 {
	body := map[string]any{"model": o.Model, "input": o.Prompts, "encoding_format": "float"}
	if o.Dimensions > 0 {
		body["dimensions"] = o.Dimensions
	}
	var a struct {
		Data []struct{ Embedding []float64 }
	}
	w.call(t, http.MethodPost, "/v1/embeddings", body, &a)
	var vectors [][]float64
	for _, d := range a.Data {
		vectors = append(vectors, d.Embedding)
	}
	return vectors
}

// call asks the simulated engine.
func (w *world) call(t *testing.T, method, path string, body, into any) {
	data, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, w.sim+path, bytes.NewReader(data))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode, path)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(into))
}
