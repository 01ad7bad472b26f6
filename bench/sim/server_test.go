package sim

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// engineFor starts an engine on loopback and returns it with a client of its own.
func engineFor(t *testing.T, cfg Config) (*Running, *http.Client) {
	t.Helper()
	r, err := Start(cfg, "127.0.0.1:0")
	require.NoError(t, err)
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		require.NoError(t, r.Close())
	})
	return r, &http.Client{Transport: transport}
}

// post sends a body and returns the answer's status, header and body.
func post(t *testing.T, r *Running, c *http.Client, path, body string) (int, http.Header, string) {
	t.Helper()
	resp, err := c.Post("http://"+r.Addr()+path, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(data)
}

func get(t *testing.T, r *Running, c *http.Client, path string) (int, string) {
	t.Helper()
	resp, err := c.Get("http://" + r.Addr() + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(data)
}

func chatJSON(prompt, more string) string {
	return fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}]%s}`, marshal(prompt), more)
}

// event is one server-sent event.
type event struct {
	name string
	data map[string]any
}

// parseEvents reads a whole stream strictly: every event is data, with event
// before it or not, and each is valid JSON but [DONE], which done reports.
func parseEvents(t *testing.T, stream string) (events []event, done bool) {
	t.Helper()
	require.True(t, strings.HasSuffix(stream, "\n\n"), "%q", stream)
	for block := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		require.False(t, done, "something after [DONE]")
		var e event
		if name, rest, named := strings.Cut(block, "\n"); named {
			e.name = strings.TrimPrefix(name, "event: ")
			block = rest
		}
		data, ok := strings.CutPrefix(block, "data: ")
		require.True(t, ok, "%q", block)
		if data == "[DONE]" {
			done = true
			continue
		}
		require.NoError(t, json.Unmarshal([]byte(data), &e.data), "%q", data)
		events = append(events, e)
	}
	return events, done
}

// at follows keys and indexes into decoded JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func decodeJSON(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &m), body)
	return m
}

func TestChat(t *testing.T) {
	r, c := engineFor(t, Config{Name: "gpu-a", Preset: "instant"})
	status, header, body := post(t, r, c, "/v1/chat/completions", chatJSON("hello", ""))
	require.Equal(t, 200, status, body)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	m := decodeJSON(t, body)
	require.Equal(t, "chat.completion", m["object"])
	require.Equal(t, "m", m["model"])
	require.Equal(t, "sim-gpu-a", m["system_fingerprint"])
	text := at(m, "choices", 0, "message", "content").(string)
	require.True(t, strings.HasPrefix(text, "This is gpu-a, a simulated engine. The "), text)
	require.True(t, strings.HasSuffix(text, "."), text)
	require.Equal(t, "stop", at(m, "choices", 0, "finish_reason"))
	u := m["usage"].(map[string]any)
	require.EqualValues(t, 4, u["prompt_tokens"]) // "<|user|>hello\n"
	require.EqualValues(t, u["prompt_tokens"].(float64)+u["completion_tokens"].(float64), u["total_tokens"])

	_, _, again := post(t, r, c, "/v1/chat/completions", chatJSON("hello", ""))
	require.Equal(t, text, at(decodeJSON(t, again), "choices", 0, "message", "content"), "same seed and prompt, same words")
	_, _, other := post(t, r, c, "/v1/chat/completions", chatJSON("good bye", ""))
	require.NotEqual(t, text, at(decodeJSON(t, other), "choices", 0, "message", "content"))
}

func TestLengthsAndReasons(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	f := func(prompt, more string, tokens int, reason string) {
		t.Helper()
		_, _, body := post(t, r, c, "/v1/chat/completions", chatJSON(prompt, more))
		m := decodeJSON(t, body)
		assert.EqualValues(t, tokens, at(m, "usage", "completion_tokens"), body)
		assert.Equal(t, reason, at(m, "choices", 0, "finish_reason"), body)
	}
	f("a", `,"max_tokens":3`, 3, "length")
	f("a", `,"max_completion_tokens":4`, 4, "length")
	f("a", `,"max_tokens":200,"ignore_eos":true`, 200, "length")
	f("sim:tokens=7;", "", 7, "stop")
	f("sim:tokens=7;", `,"max_tokens":7`, 7, "stop")
	f("sim:tokens=7;", `,"max_tokens":6`, 6, "length")
	f("sim:tokens=7,finish=content_filter;", "", 7, "content_filter")
	f("sim:tokens=2;", `,"n":3`, 6, "stop")

	_, _, body := post(t, r, c, "/v1/chat/completions", chatJSON("sim:tokens=3,size=4B;", ""))
	require.Len(t, at(decodeJSON(t, body), "choices", 0, "message", "content"), 12)
	status, _, body := post(t, r, c, "/v1/chat/completions", chatJSON("a", `,"max_tokens":131072`))
	require.Equal(t, 400, status)
	require.Equal(t, "context_length_exceeded", at(decodeJSON(t, body), "error", "code"))
}

func TestCachedTokens(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	f := func(prompt, more string, want int) {
		t.Helper()
		_, _, body := post(t, r, c, "/v1/chat/completions", chatJSON(prompt, more))
		require.EqualValues(t, want, at(decodeJSON(t, body), "usage", "prompt_tokens_details", "cached_tokens"), body)
	}
	long := strings.Repeat("0123456789abcdef", 40)
	f(long, "", 0)
	f(long, "", 160)
	f(long[:320]+"something else", "", 80)
	f(long, `,"cache_salt":"s"`, 0)
	f("sim:ttft=0s,gap=0s;"+long, "", 0)
	f("sim:ttft=0s,gap=0s;"+long, "", 160)
}

func TestChatStream(t *testing.T) {
	r, c := engineFor(t, Config{Name: "gpu-a"})
	status, header, body := post(t, r, c, "/v1/chat/completions",
		chatJSON("sim:tokens=5;", `,"stream":true,"stream_options":{"include_usage":true}`))
	require.Equal(t, 200, status)
	require.Equal(t, "text/event-stream; charset=utf-8", header.Get("Content-Type"))
	require.Empty(t, header.Get("Content-Length"))
	events, done := parseEvents(t, body)
	require.True(t, done)
	require.Len(t, events, 1+5+1+1)
	require.Equal(t, map[string]any{"role": "assistant", "content": ""}, at(events[0].data, "choices", 0, "delta"))
	text := ""
	for _, e := range events[1:6] {
		require.Equal(t, "chat.completion.chunk", e.data["object"])
		require.Nil(t, at(e.data, "choices", 0, "finish_reason"))
		usage, has := e.data["usage"]
		require.True(t, has)
		require.Nil(t, usage)
		text += at(e.data, "choices", 0, "delta", "content").(string)
	}
	require.Equal(t, "This is gpu-a, a simulated", text)
	require.Equal(t, "stop", at(events[6].data, "choices", 0, "finish_reason"))
	require.Equal(t, map[string]any{}, at(events[6].data, "choices", 0, "delta"))
	require.Equal(t, []any{}, events[7].data["choices"])
	require.EqualValues(t, 5, at(events[7].data, "usage", "completion_tokens"))

	_, _, body = post(t, r, c, "/v1/chat/completions", chatJSON("sim:tokens=2;", `,"stream":true,"n":2`))
	events, done = parseEvents(t, body)
	require.True(t, done)
	require.Len(t, events, 2*(1+2+1))
	perIndex := map[any]int{}
	for _, e := range events {
		_, has := e.data["usage"]
		require.False(t, has)
		perIndex[at(e.data, "choices", 0, "index")]++
	}
	require.Equal(t, map[any]int{0.0: 4, 1.0: 4}, perIndex)
}

func TestCompletions(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	_, _, body := post(t, r, c, "/v1/completions", `{"model":"m","prompt":["abcd","sim:tokens=3;"],"n":2}`)
	m := decodeJSON(t, body)
	require.Equal(t, "text_completion", m["object"])
	require.Len(t, m["choices"], 4)
	require.EqualValues(t, 1+4, at(m, "usage", "prompt_tokens"))
	require.EqualValues(t, 12, at(m, "usage", "completion_tokens"))
	require.EqualValues(t, 3, at(m, "choices", 3, "index"))

	_, _, body = post(t, r, c, "/v1/completions", `{"model":"m","prompt":"sim:tokens=3;","stream":true,"stream_options":{"include_usage":true}}`)
	events, done := parseEvents(t, body)
	require.True(t, done)
	require.Len(t, events, 3+1+1)
	require.Equal(t, "This", at(events[0].data, "choices", 0, "text"))
	require.Equal(t, "stop", at(events[3].data, "choices", 0, "finish_reason"))
	require.EqualValues(t, 3, at(events[4].data, "usage", "completion_tokens"))
}

const tools = `,"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object",` +
	`"properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city","days"]}}}]`

func TestTools(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	const arguments = `{"city":"example","days":1}`
	f := func(prompt, more string, calls bool) {
		t.Helper()
		_, _, body := post(t, r, c, "/v1/chat/completions", chatJSON(prompt, tools+more))
		m := decodeJSON(t, body)
		if !calls {
			assert.Equal(t, "stop", at(m, "choices", 0, "finish_reason"), body)
			assert.NotEmpty(t, at(m, "choices", 0, "message", "content"), body)
			return
		}
		assert.Equal(t, "tool_calls", at(m, "choices", 0, "finish_reason"), body)
		assert.Equal(t, "weather", at(m, "choices", 0, "message", "tool_calls", 0, "function", "name"))
		assert.Equal(t, arguments, at(m, "choices", 0, "message", "tool_calls", 0, "function", "arguments"))
	}
	f("hi", "", false)
	f("hi", `,"tool_choice":"auto"`, false)
	f("hi", `,"tool_choice":"required"`, true)
	f("hi", `,"tool_choice":{"type":"function","function":{"name":"weather"}}`, true)
	f("sim:tool=weather;", "", true)
	f("sim:tool=weather;", `,"tool_choice":"none"`, false)

	_, _, body := post(t, r, c, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"sim:tool=weather;"},`+
		`{"role":"assistant","content":null,"tool_calls":[{"id":"x"}]},{"role":"tool","tool_call_id":"x","content":"rain"}]`+tools+`}`)
	require.Equal(t, "stop", at(decodeJSON(t, body), "choices", 0, "finish_reason"), "the result is there")

	_, _, body = post(t, r, c, "/v1/chat/completions", chatJSON("sim:tool=weather;", tools+`,"stream":true`))
	events, done := parseEvents(t, body)
	require.True(t, done)
	require.Equal(t, "weather", at(events[1].data, "choices", 0, "delta", "tool_calls", 0, "function", "name"))
	got := ""
	for _, e := range events[1 : len(events)-1] {
		got += at(e.data, "choices", 0, "delta", "tool_calls", 0, "function", "arguments").(string)
	}
	require.Equal(t, arguments, got)
	require.Equal(t, "tool_calls", at(events[len(events)-1].data, "choices", 0, "finish_reason"))
}

func TestResponseFormat(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	f := func(format, want string) {
		t.Helper()
		_, _, body := post(t, r, c, "/v1/chat/completions", chatJSON("hi", `,"response_format":`+format))
		require.Equal(t, want, at(decodeJSON(t, body), "choices", 0, "message", "content"))
	}
	f(`{"type":"json_object"}`, `{"answer":"example"}`)
	f(`{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"a":{"type":"boolean"}}}}}`, `{"a":true}`)
}

func TestResponses(t *testing.T) {
	r, c := engineFor(t, Config{Name: "gpu-a", Preset: "instant"})
	_, _, body := post(t, r, c, "/v1/responses", `{"model":"m","input":"sim:tokens=2;","instructions":"be kind","metadata":{"k":"v"}}`)
	m := decodeJSON(t, body)
	require.Equal(t, "response", m["object"])
	require.Equal(t, "completed", m["status"])
	require.Equal(t, "be kind", m["instructions"])
	require.Equal(t, map[string]any{"k": "v"}, m["metadata"])
	require.Equal(t, "This is", at(m, "output", 0, "content", 0, "text"))
	require.EqualValues(t, 2, at(m, "usage", "output_tokens"))
	require.EqualValues(t, 0, at(m, "usage", "input_tokens_details", "cached_tokens"))

	_, _, body = post(t, r, c, "/v1/responses", `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}],"max_output_tokens":2}`)
	m = decodeJSON(t, body)
	require.Equal(t, "incomplete", m["status"])
	require.Equal(t, "max_output_tokens", at(m, "incomplete_details", "reason"))

	_, _, body = post(t, r, c, "/v1/responses", `{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n","schema":{"properties":{"a":{"type":"string"}}}}}}`)
	require.Equal(t, `{"a":"example"}`, at(decodeJSON(t, body), "output", 0, "content", 0, "text"))
}

func TestResponsesStream(t *testing.T) {
	r, c := engineFor(t, Config{})
	f := func(body string, want ...string) []event {
		t.Helper()
		_, _, stream := post(t, r, c, "/v1/responses", body)
		events, done := parseEvents(t, stream)
		require.False(t, done)
		var names []string
		for i, e := range events {
			require.Equal(t, e.name, e.data["type"])
			require.EqualValues(t, i, e.data["sequence_number"])
			names = append(names, strings.TrimPrefix(e.name, "response."))
		}
		require.Equal(t, want, names)
		return events
	}
	events := f(`{"model":"m","input":"sim:tokens=2;","stream":true}`, "created", "in_progress",
		"output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
		"content_part.done", "output_item.done", "completed")
	require.Equal(t, "in_progress", at(events[0].data, "response", "status"))
	require.Equal(t, at(events[2].data, "item", "id"), events[4].data["item_id"])
	require.Equal(t, "This is", events[6].data["text"])
	last := at(events[9].data, "response")
	require.Equal(t, "This is", at(last, "output", 0, "content", 0, "text"))
	require.EqualValues(t, 2, at(last, "usage", "output_tokens"))

	f(`{"model":"m","input":"x","max_output_tokens":1,"stream":true}`, "created", "in_progress",
		"output_item.added", "content_part.added", "output_text.delta", "output_text.done",
		"content_part.done", "output_item.done", "incomplete")
	events = f(`{"model":"m","input":"x","stream":true,"tools":[{"type":"function","name":"g","parameters":{}}],"tool_choice":{"type":"function","name":"g"}}`,
		"created", "in_progress", "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
		"output_item.done", "completed")
	require.Equal(t, "g", at(events[5].data, "item", "name"))
	require.Equal(t, "{}", at(events[6].data, "response", "output", 0, "arguments"))
	f(`{"model":"m","input":"sim:error_after=0;","stream":true}`, "created", "in_progress", "error")
}

func TestEmbeddings(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	_, _, body := post(t, r, c, "/v1/embeddings", `{"model":"m","input":["abcd","other"]}`)
	m := decodeJSON(t, body)
	require.Len(t, m["data"], 2)
	first := at(m, "data", 0, "embedding").([]any)
	require.Len(t, first, dimensions)
	sum := 0.0
	for _, x := range first {
		sum += x.(float64) * x.(float64)
	}
	require.InDelta(t, 1, sum, 1e-5)
	require.NotEqual(t, first, at(m, "data", 1, "embedding"))
	require.EqualValues(t, 3, at(m, "usage", "prompt_tokens"))

	_, _, body = post(t, r, c, "/v1/embeddings", `{"model":"m","input":"abcd","encoding_format":"base64"}`)
	raw, err := base64.StdEncoding.DecodeString(at(decodeJSON(t, body), "data", 0, "embedding").(string))
	require.NoError(t, err)
	require.Len(t, raw, 4*dimensions)
	for i, x := range first {
		require.InDelta(t, x, math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])), 1e-7)
	}
	_, _, body = post(t, r, c, "/v1/embeddings", `{"model":"m","input":[1,2,3],"dimensions":5}`)
	require.Len(t, at(decodeJSON(t, body), "data", 0, "embedding"), 5)
}

func TestModerations(t *testing.T) {
	r, c := engineFor(t, Config{})
	_, _, body := post(t, r, c, "/v1/moderations", `{"input":["a","b"]}`)
	m := decodeJSON(t, body)
	require.Len(t, m["results"], 2)
	require.Equal(t, false, at(m, "results", 0, "flagged"))
	require.Len(t, at(m, "results", 1, "categories"), 13)
}

func TestModelsAndPaths(t *testing.T) {
	open, c := engineFor(t, Config{Name: "gpu-a"})
	strict, _ := engineFor(t, Config{Models: []string{"org/a:b", "two"}})
	f := func(r *Running, path string, status int, want ...any) map[string]any {
		t.Helper()
		got, body := get(t, r, c, path)
		require.Equal(t, status, got, body)
		m := decodeJSON(t, body)
		if len(want) > 0 {
			require.Equal(t, want[0], at(m, want[1:]...), body)
		}
		return m
	}
	f(open, "/v1/models", 200, "gpu-a", "data", 0, "id")
	f(open, "/v1/models/anything", 200, "anything", "id")
	f(strict, "/v1/models", 200, "two", "data", 1, "id")
	f(strict, "/v1/models/org%2Fa:b", 200, "org/a:b", "id")
	f(strict, "/v1/models/org/a:b", 200, "org/a:b", "id")
	f(strict, "/v1/models/three", 404, "model_not_found", "error", "code")
	f(open, "/v1/other", 404, "invalid_request_error", "error", "type")
	f(open, "/v1/chat/completions", 405, "invalid_request_error", "error", "type")
	status, body := get(t, open, c, "/health")
	require.Equal(t, 200, status)
	require.Empty(t, body)
	status, _, body = post(t, open, c, "/v1/models", "{}")
	require.Equal(t, 405, status, body)

	status, _, body = post(t, strict, c, "/v1/chat/completions", chatJSON("a", ""))
	require.Equal(t, 404, status)
	require.Equal(t, map[string]any{"error": map[string]any{
		"message": `The model "m" does not exist.`, "type": "invalid_request_error", "param": "model", "code": "model_not_found",
	}}, decodeJSON(t, body))
}

func TestMetricsAndStats(t *testing.T) {
	r, c := engineFor(t, Config{Name: "gpu-a", Preset: "instant"})
	req, err := http.NewRequest(http.MethodPost, "http://"+r.Addr()+"/v1/chat/completions", strings.NewReader(chatJSON("sim:tokens=3;", "")))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer sk-very-secret")
	resp, err := c.Do(req)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	require.Eventually(t, func() bool { return r.Stats().Finished == 1 }, 20*time.Second, time.Millisecond)

	_, page := get(t, r, c, "/metrics")
	for _, want := range []string{
		`vllm:num_requests_running{engine="0",model_name="gpu-a"} 0`,
		`vllm:num_requests_waiting{engine="0",model_name="gpu-a"} 0`,
		`vllm:kv_cache_usage_perc{engine="0",model_name="gpu-a"} 0`,
		`vllm:prefix_cache_queries_total{engine="0",model_name="gpu-a"} 6`,
		`vllm:prefix_cache_hits_total{engine="0",model_name="gpu-a"} 0`,
		`vllm:generation_tokens_total{engine="0",model_name="gpu-a"} 3`,
		`vllm:request_success_total{engine="0",model_name="gpu-a"} 1`,
		`vllm:cache_config_info{block_size="16",enable_prefix_caching="True",engine="0",num_gpu_blocks="8192"} 1`,
		`vllm:time_to_first_token_seconds_bucket{engine="0",model_name="gpu-a",le="+Inf"} 1`,
		`vllm:time_to_first_token_seconds_count{engine="0",model_name="gpu-a"} 1`,
		`vllm:inter_token_latency_seconds_count{engine="0",model_name="gpu-a"} 2`,
		`vllm:e2e_request_latency_seconds_count{engine="0",model_name="gpu-a"} 1`,
	} {
		require.Contains(t, page, want+"\n")
	}
	_, body := get(t, r, c, "/sim/stats")
	require.NotContains(t, body, "secret")
	var st Stats
	require.NoError(t, json.Unmarshal([]byte(body), &st))
	require.Equal(t, "gpu-a", st.Name)
	require.Contains(t, st.LastHeaders, "Authorization")
}

func TestBodies(t *testing.T) {
	r, c := engineFor(t, Config{Preset: "instant"})
	f := func(change func(*http.Request), body io.Reader, want int) {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, "http://"+r.Addr()+"/v1/chat/completions", body)
		require.NoError(t, err)
		change(req)
		resp, err := c.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		var e struct {
			Error map[string]any `json:"error"`
		}
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&e))
		require.Equal(t, want, resp.StatusCode)
		if want != 200 {
			require.Len(t, e.Error, 4)
		}
	}
	nothing := func(*http.Request) {}
	f(nothing, strings.NewReader(chatJSON("a", "")), 200)
	f(nothing, io.MultiReader(strings.NewReader(chatJSON("a", ""))), 200) // chunked
	f(nothing, strings.NewReader(""), 400)
	f(nothing, strings.NewReader("\x00\xff"), 400)
	f(func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, strings.NewReader("x"), 415)
	f(nothing, io.MultiReader(strings.NewReader(`{"model":"`), io.LimitReader(zeros{}, maxBody)), 413)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestConfig(t *testing.T) {
	require.NoError(t, Config{}.Validate())
	require.ErrorContains(t, Config{Preset: "x"}.Validate(), `cannot find preset "x"`)
	require.ErrorContains(t, Config{TimeScale: -1}.Validate(), "time scale -1")
	require.ErrorContains(t, Config{TimeScale: math.NaN()}.Validate(), "time scale NaN")
	_, err := Start(Config{Preset: "x"}, "127.0.0.1:0")
	require.Error(t, err)
	_, err = Start(Config{}, "127.0.0.1:notaport")
	require.ErrorContains(t, err, "cannot listen for simulated engine")
	require.Panics(t, func() { New(Config{Preset: "x"}) })
}

func TestCloseCutsOpenAnswers(t *testing.T) {
	r, err := Start(Config{}, "127.0.0.1:0")
	require.NoError(t, err)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Post("http://"+r.Addr()+"/v1/chat/completions", "application/json",
		strings.NewReader(chatJSON("sim:ttft=1h;", `,"stream":true`)))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err)
	require.Zero(t, r.Stats().BlocksUsed)
}
