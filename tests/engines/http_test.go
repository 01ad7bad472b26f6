//go:build engines

// Requests, and what came of them.

package engines

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// answer is one that was read whole.
type answer struct {
	status int
	kind   string // Content-Type
	header http.Header
	body   string
}

// ask sends a request, with the router's key, and reads its answer.
func (w *world) ask(t *testing.T, method, url, body string) answer {
	resp := w.open(t, method, url, body)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err, "%s %s", method, url)
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), resp.Header, string(text)}
}

// open sends a request and returns the answer's head.
func (w *world) open(t *testing.T, method, url, body string) *http.Response {
	resp, err := w.try(t.Context(), method, url, body)
	require.NoError(t, err)
	return resp
}

// try is open of a request that may be given up.
func (w *world) try(ctx context.Context, method, url, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	req.Header.Set("Content-Type", "application/json")
	if req.URL.Host == w.router.address {
		w.asked.Add(1)
	}
	return w.web.Do(req)
}

// post sends a body to the router and expects 200.
func (w *world) post(t *testing.T, path, body string) answer {
	a := w.ask(t, http.MethodPost, w.router.url(path), body)
	require.Equal(t, http.StatusOK, a.status, "%s: %s", path, a.body)
	return a
}

// shape is what keys a JSON text has, at all depths, each once: the same request
// answered twice has the same. null and values of any type are alike.
func shape(t *testing.T, text string) []string {
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	var keys []string
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, inner := range v {
				keys = append(keys, at+"."+k)
				walk(at+"."+k, inner)
			}
		case []any:
			for _, inner := range v {
				walk(at+"[]", inner)
			}
		}
	}
	walk("", v)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// events are the data of a stream of events; saw is told of each as it comes. err
// is how the stream ended, nil for well.
func events(r io.Reader, saw func(n int)) (all []string, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, found := strings.CutPrefix(lines.Text(), "data: ")
		if !found {
			continue
		}
		all = append(all, data)
		saw(len(all))
	}
	return all, lines.Err()
}

// stream posts a body to the router and returns the whole stream's data.
func (w *world) stream(t *testing.T, path, body string) []string {
	resp := w.open(t, http.MethodPost, w.router.url(path), body)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.True(t, strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream"), resp.Header)
	all, err := events(resp.Body, func(int) {})
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// chunk is an event of a stream, or a whole answer, of chat and of completions.
type chunk struct {
	Choices []struct {
		Text         string  `json:"text"`
		Delta        message `json:"delta"`
		Message      message `json:"message"`
		FinishReason *string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
		Input      int `json:"input_tokens"`
		Output     int `json:"output_tokens"`
	} `json:"usage"`
}

type message struct {
	Content   string `json:"content"`
	ToolCalls []struct {
		Function struct{ Name, Arguments string } `json:"function"`
	} `json:"tool_calls"`
}

// read makes chunks of a stream's data, less the mark of its end.
func read(t *testing.T, data ...string) []chunk {
	var chunks []chunk
	for _, d := range data {
		if d == "[DONE]" {
			continue
		}
		var c chunk
		require.NoError(t, json.Unmarshal([]byte(d), &c), d)
		chunks = append(chunks, c)
	}
	return chunks
}

// said is all the text of chunks, and why they ended.
func said(chunks []chunk) (text, finish string) {
	for _, c := range chunks {
		for _, choice := range c.Choices {
			text += choice.Text + choice.Delta.Content + choice.Message.Content
			if choice.FinishReason != nil {
				finish = *choice.FinishReason
			}
		}
	}
	return text, finish
}
