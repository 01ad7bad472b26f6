//go:build engines

// Checks of answers: whole ones and streams, and what they cost.

package engines

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const hello = `"messages":[{"role":"user","content":"hello"}]`

// checkFront puts a router without a file before the engine, which finds its model.
func checkFront(t *testing.T, w *world) {
	address, admin := freeAddress(t), freeAddress(t)
	front := start(t, "front", address, nil, []string{w.bin, "serve", "--backend", w.chat.url(""), "--listen", address, "--admin", admin})
	key := regexp.MustCompile(`sk-hfx_\S+`)
	require.Eventually(t, func() bool { return key.MatchString(front.said.String()) }, patience, 5*time.Millisecond)
	f := &world{engine: w.engine, router: front, key: key.FindString(front.said.String())}

	assert.Contains(t, f.page(t, front.url("/v1/models")), `"id":"tiny"`)
	assert.Contains(t, f.page(t, front.url("/v1/models/tiny")), `"id":"tiny"`)
	text, _ := said(read(t, f.post(t, "/v1/chat/completions", `{"model":"tiny","max_tokens":3,`+hello+`}`).body))
	assert.NotEmpty(t, text)
	front.kill() // it would wait for load balancers to notice
}

// checkUnary compares the router's answers with the engine's own: no key of them
// is lost, and none is added.
func checkUnary(t *testing.T, w *world) {
	f := func(path, rest, finish string, tokens int) {
		t.Helper()
		direct := w.ask(t, http.MethodPost, w.chat.url(path), `{"model":"tiny",`+rest)
		require.Equal(t, http.StatusOK, direct.status, direct.body)
		since := w.counts(t, "llama", "output")
		got := w.post(t, path, `{"model":"llama",`+rest)
		since(tokens)
		assert.Equal(t, shape(t, direct.body), shape(t, got.body))
		assert.Equal(t, direct.kind, got.kind)
		c := read(t, got.body)[0]
		_, why := said([]chunk{c})
		assert.Equal(t, finish, why)
		require.NotNil(t, c.Usage)
		assert.Equal(t, tokens, c.Usage.Completion)
		assert.Positive(t, c.Usage.Prompt)
	}
	f("/v1/chat/completions", `"max_tokens":7,`+hello+`}`, "length", 7)
	f("/v1/chat/completions", `"max_completion_tokens":5,`+hello+`}`, "length", 5)
	f("/v1/chat/completions", `"max_tokens":7,"logit_bias":{"1":100},`+hello+`}`, "stop", 1)
	f("/v1/chat/completions", `"max_tokens":3,"logprobs":true,"top_logprobs":2,"seed":1,"temperature":0,`+hello+`}`, "length", 3)
	f("/v1/completions", `"max_tokens":7,"prompt":"hello"}`, "length", 7)
	several := 6
	if w.quirks.countsOne {
		several = 3
	}
	f("/v1/chat/completions", `"max_tokens":3,"n":2,`+hello+`}`, "length", several)
	f("/v1/completions", `"max_tokens":3,"prompt":["hello","the word"]}`, "length", several)
	f("/v1/chat/completions", `"max_tokens":2,"no_such_parameter":[1,{"a":null}],`+hello+`}`, "length", 2)
}

// checkStream holds that a stream has all its text, one reason to end, and the
// mark of a proper end.
func checkStream(t *testing.T, w *world) {
	f := func(path, rest, finish string) {
		t.Helper()
		whole, _ := said(read(t, w.post(t, path, `{"model":"llama","temperature":0,`+rest).body))
		data := w.stream(t, path, `{"model":"llama","temperature":0,"stream":true,`+rest)
		assert.Equal(t, "[DONE]", data[len(data)-1])
		text, why := said(read(t, data...))
		assert.Equal(t, whole, text)
		assert.Equal(t, finish, why)
	}
	f("/v1/chat/completions", `"max_tokens":40,`+hello+`}`, "length")
	f("/v1/chat/completions", `"max_tokens":40,"logit_bias":{"1":100},`+hello+`}`, "stop")
	f("/v1/completions", `"max_tokens":40,"prompt":"hello"}`, "length")
}

// checkUsage holds that a stream's tokens are counted, asked for or not, and that
// a client sees them as it would without a router.
func checkUsage(t *testing.T, w *world) {
	f := func(path, model, rest string, counted int, seen string) {
		t.Helper()
		since := w.counts(t, model, "output")
		data := w.stream(t, path, fmt.Sprintf(`{"model":%q,"max_tokens":6,"stream":true,%s`, model, rest))
		since(counted)
		how := "nowhere"
		for _, c := range read(t, data...) {
			switch {
			case c.Usage != nil && len(c.Choices) == 0:
				how = "alone"
			case c.Usage != nil:
				how = "with text"
			}
			if c.Usage != nil {
				assert.Equal(t, 6, c.Usage.Completion)
			}
		}
		assert.Equal(t, seen, how, "where the client sees usage")
	}
	const asked = `"stream_options":{"include_usage":true},`
	f("/v1/chat/completions", "llama", hello+`}`, 6, "nowhere")
	f("/v1/chat/completions", "llama", asked+hello+`}`, 6, "alone")
	f("/v1/chat/completions", "as-is", hello+`}`, 0, "nowhere")
	f("/v1/chat/completions", "as-is", asked+hello+`}`, 6, "alone")
	alone, unasked := "alone", "nowhere"
	if w.quirks.usageWithText {
		alone, unasked = "with text", "with text"
	}
	f("/v1/completions", "llama", `"prompt":"hello"}`, 6, unasked)
	f("/v1/completions", "llama", asked+`"prompt":"hello"}`, 6, alone)
}

// checkResponses is about OpenAI's newer interface, which both engines have.
func checkResponses(t *testing.T, w *world) {
	const rest = `"max_output_tokens":6,"input":"hello"}`
	direct := w.ask(t, http.MethodPost, w.chat.url("/v1/responses"), `{"model":"tiny",`+rest)
	since := w.counts(t, "llama", "output")
	got := w.post(t, "/v1/responses", `{"model":"llama",`+rest)
	since(6)
	assert.Equal(t, shape(t, direct.body), shape(t, got.body))

	since = w.counts(t, "llama", "output")
	data := w.stream(t, "/v1/responses", `{"model":"llama","stream":true,`+rest)
	var last struct {
		Type     string
		Response struct{ Status string }
	}
	require.NoError(t, json.Unmarshal([]byte(data[len(data)-1]), &last))
	assert.Contains(t, []string{"response.completed", "response.incomplete"}, last.Type)
	since(6)
}

// checkTools has the model made to call a tool: what it answers with then is the engine's.
func checkTools(t *testing.T, w *world) {
	const rest = `"temperature":0,"max_tokens":400,"logit_bias":{"1":100,"2":90},"tool_choice":"required",` + hello + `,
		"tools":[{"type":"function","function":{"name":"lamp","description":"switches it",
			"parameters":{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}}}]}`
	whole := read(t, w.post(t, "/v1/chat/completions", `{"model":"llama",`+rest).body)
	_, finish := said(whole)
	assert.Equal(t, "tool_calls", finish)
	require.NotEmpty(t, whole[0].Choices[0].Message.ToolCalls)
	call := whole[0].Choices[0].Message.ToolCalls[0].Function
	assert.Equal(t, "lamp", call.Name)
	assert.True(t, json.Valid([]byte(call.Arguments)), call.Arguments)

	data := w.stream(t, "/v1/chat/completions", `{"model":"llama","stream":true,`+rest)
	var name, arguments string
	chunks := read(t, data...)
	for _, c := range chunks {
		for _, choice := range c.Choices {
			for _, part := range choice.Delta.ToolCalls {
				name += part.Function.Name
				arguments += part.Function.Arguments
			}
		}
	}
	_, finish = said(chunks)
	assert.Equal(t, "tool_calls", finish)
	assert.True(t, strings.HasPrefix(name, "lamp"), name) // of several calls: one after the other
	assert.NotEmpty(t, arguments)
}

// checkSchema asks for structured output.
func checkSchema(t *testing.T, w *world) {
	const rest = `"temperature":0,"max_tokens":400,"logit_bias":{"1":100},` + hello + `,
		"response_format":{"type":"json_schema","json_schema":{"name":"lamp","strict":true,
			"schema":{"type":"object","properties":{"on":{"type":"boolean"}},"required":["on"],"additionalProperties":false}}}}`
	text, finish := said(read(t, w.post(t, "/v1/chat/completions", `{"model":"llama",`+rest).body))
	assert.Equal(t, "stop", finish)
	var lamp struct{ On *bool }
	require.NoError(t, json.Unmarshal([]byte(text), &lamp), text)
	assert.NotNil(t, lamp.On)
}

func checkEmbeddings(t *testing.T, w *world) {
	f := func(rest string, vectors int) {
		t.Helper()
		direct := w.ask(t, http.MethodPost, w.embed.url("/v1/embeddings"), `{"model":"tiny",`+rest)
		require.Equal(t, http.StatusOK, direct.status, direct.body)
		since := w.counts(t, "embedder", "input")
		got := w.post(t, "/v1/embeddings", `{"model":"embedder",`+rest)
		assert.Equal(t, shape(t, direct.body), shape(t, got.body))
		var list struct{ Data []struct{ Embedding any } }
		require.NoError(t, json.Unmarshal([]byte(got.body), &list))
		assert.Len(t, list.Data, vectors)
		usage := read(t, got.body)[0].Usage
		require.NotNil(t, usage)
		assert.Positive(t, usage.Prompt)
		since(usage.Prompt)
	}
	f(`"input":"hello"}`, 1)
	f(`"input":["hello","the word"]}`, 2)
	f(`"input":["hello","the word"],"encoding_format":"base64"}`, 2)
	f(`"input":[5,6,7]}`, 1)
}
