package openai

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

const (
	completions = helixflow.OpCompletions
	responses   = helixflow.OpResponses
)

var typicalChunk = []byte(`data: {"id":"chatcmpl-9f86d081884c7d65","object":"chat.completion.chunk","created":1763856000,"model":"llama-3.1-70b","system_fingerprint":"fp_44709d6fcb",` +
	`"choices":[{"index":0,"delta":{"content":" world"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n")

func TestReadEvent(t *testing.T) {
	f := func(op helixflow.Op, ev string, want Event) {
		t.Helper()
		got := Event{Done: true, Odd: true}
		ReadEvent([]byte(ev), op, &got)
		assert.Equal(t, want, got, ev)
	}
	d := func(op helixflow.Op, data string, want Event) { t.Helper(); f(op, "data: "+data+"\n\n", want) }
	token, plain := Event{Token: true}, Event{}

	f(chat, ": keep-alive\n\n", Event{Comment: true})
	f(chat, "\n", Event{Comment: true})
	f(chat, "event: ping\n\n", Event{Comment: true})
	f(chat, "database: x\n\n", Event{Comment: true})
	for _, end := range []string{"\n\n", "\r\n\r\n", "\r\r", "\n", ""} {
		f(chat, "data: [DONE]"+end, Event{Done: true, Terminal: true})
		f(chat, "data:[DONE]"+end, Event{Done: true, Terminal: true})
		f(chat, "id: 1"+"\r"+`data:{"choices":[{"delta":{"content":"x"}}]}`+end, token)
	}
	f(chat, "\xef\xbb\xbfdata: [DONE]\n\n", Event{Done: true, Terminal: true})
	f(chat, string(typicalChunk), token)
	for _, garbage := range []string{"", "x", "{", `{"a":1}}`, `{"choices":[{"delta":{"content":"x"}}]`, `{"error":{}`, "null", "[1]", `{"error":1,}`, `{"error" 1}`, `{"error":01}`, `{1:2}`} {
		d(chat, garbage, plain)
	}
	f(chat, "data\n\n", plain)
	f(chat, "data: {\"error\":\ndata: {}}\n\n", plain)

	delta := func(delta string, want Event) {
		t.Helper()
		d(chat, `{"choices":[{"index":0,"delta":`+delta+`,"finish_reason":null}]}`, want)
	}
	delta(`{"role":"assistant","content":""}`, plain)
	delta(`{"role":"assistant","content":null,"refusal":null,"tool_calls":[],"function_call":{ }}`, plain)
	delta(`{}`, plain)
	delta(`null`, plain)
	for _, k := range []string{"content", "reasoning", "reasoning_content", "refusal"} {
		delta(`{"`+k+`":"x"}`, token)
	}
	delta(`{"content":" "}`, token)
	delta(`{"tool_calls":[{"index":0,"function":{"arguments":""}}]}`, token)
	delta(`{"function_call":{"name":"f"}}`, token)
	delta(`{"other":{"content":"x"}}`, plain)
	d(chat, `{"delta":{"content":"x"},"choices":[{"logprobs":{"content":"x","finish_reason":"stop"}}]}`, plain)
	d(chat, `{"choices":[{"delta":{}},{"delta":{"content":"x"}}]}`, token)
	d(completions, `{"choices":[{"text":"x","finish_reason":null}]}`, token)
	d(completions, `{"choices":[{"text":"","finish_reason":"length"}]}`, Event{Finish: true})
	d(chat, `{"choices":[{"delta":{},"finish_reason":"stop"}]}`, Event{Finish: true})
	d(chat, `{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}`, Event{Finish: true, Token: true})
	d(chat, `{"choices":[{"delta":{},"finish_reason":""}]}`, Event{Odd: true})
	d(chat, `{"choices":[{"delta":{},"finish_reason":"eos_token"}]}`, Event{Finish: true, Odd: true})
	d(chat, `{"choices":[{"delta":{},"finish_reason":["stop"]}]}`, plain)
	d(chat, `{"finish_reason":"stop","choices":[1,null,[]]}`, plain)

	usage := helixflow.Usage{InputTokens: 10, OutputTokens: 5, CachedTokens: 4, ReasoningTokens: 2, Reported: true}
	const raw = `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4,"x":[{}]},"completion_tokens_details":{"reasoning_tokens":2}}`
	d(chat, `{"choices":[],"usage":`+raw+`}`, Event{UsageOnly: true, HasUsage: true, Usage: usage})
	d(chat, `{"usage":`+raw+`,"choices":[ ],"error":null}`, Event{UsageOnly: true, HasUsage: true, Usage: usage, Odd: true})
	d(chat, `{"choices":[{"delta":{"content":"x"}}],"usage":`+raw+`}`, Event{Token: true, HasUsage: true, Usage: usage})
	d(chat, `{"choices":[],"usage":{}}`, Event{UsageOnly: true})
	d(chat, `{"choices":[],"usage":null}`, plain)
	d(chat, `{"choices":[]}`, plain)
	d(chat, `{"choices":null,"usage":{}}`, plain)
	d(chat, `{"choices":[],"usage":{},"error":"x"}`, Event{Failed: true, Odd: true})
	d(chat, `{"a":{"choices":[],"usage":`+raw+`,"error":{}}}`, plain)
	d(chat, `{"choices":[{"delta":{"content":"\"usage\":{},\"error\":{}"},"usage":{}}]}`, token)

	for _, e := range []string{`{"message":"m"}`, `"x"`, `{}`, `false`, `0`, `""`} {
		d(chat, `{"error":`+e+`}`, Event{Failed: true, Odd: true})
	}
	d(chat, `{"error":null,"error":{}}`, Event{Failed: true, Odd: true})
	d(chat, `{"object":"error","message":"m"}`, Event{Failed: true, Odd: true})
	const regular = `{"error":{"message":"m","type":"t","param":null,"code":null}}`
	d(chat, regular, Event{Failed: true})
	f(chat, "data:"+regular+"\r\n\r\n", Event{Failed: true})
	d(chat, ` `+regular, Event{Failed: true, Odd: true})
	d(chat, `{"id":1,`+regular[1:], Event{Failed: true, Odd: true})
	f(chat, "event: error\ndata: "+regular+"\n\n", Event{Failed: true, Odd: true})
	f(chat, "event: error\ndata: out of memory\n\n", Event{Failed: true, Odd: true})
	f(chat, "event: error\ndata: {\ndata: }\n\n", Event{Failed: true, Odd: true})
	f(chat, "error: {\"code\":500}\n\n", Event{Failed: true, Odd: true})
}

func TestReadEventResponses(t *testing.T) {
	f := func(ev string, want Event) {
		t.Helper()
		var got Event
		ReadEvent([]byte(ev), responses, &got)
		got.Response = Span{} // see TestResponseOfEvent
		assert.Equal(t, want, got, ev)
	}
	const raw = `{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":15}`
	usage := helixflow.Usage{InputTokens: 10, OutputTokens: 5, CachedTokens: 4, ReasoningTokens: 2, Reported: true}
	typed := func(kind, rest string, want Event) {
		t.Helper()
		f("event: "+kind+"\ndata: {\"type\":\""+kind+"\""+rest+"}\n\n", want)
		f("event: "+kind+"\ndata: {\"sequence_number\":1"+rest+"}\n\n", want)
		f("data: {\"sequence_number\":1"+rest+",\"type\":\""+kind+"\"}\n\n", want)
	}
	typed("response.created", `,"response":{"usage":null,"error":null}`, Event{})
	typed("response.output_text.delta", `,"delta":"x"`, Event{Token: true})
	typed("response.function_call_arguments.delta", `,"delta":"x"`, Event{Token: true})
	typed("response.output_text.done", `,"text":"x"`, Event{})
	typed("response.completed", `,"response":{"output":[{"usage":{"input_tokens":1}}],"usage":`+raw+`}`, Event{Terminal: true, HasUsage: true, Usage: usage})
	typed("response.incomplete", `,"response":{}`, Event{Terminal: true})
	typed("response.failed", `,"response":{"error":{"code":"x"}}`, Event{Terminal: true, Failed: true})
	f("event: error\ndata: {\"type\":\"error\",\"message\":\"m\",\"error\":null}\n\n", Event{Failed: true})
	f("event: error\ndata: {\"message\":\"m\"}\n\n", Event{Failed: true, Odd: true})
	f("event: response.completed\ndata: {\"type\":\"response.output_text.delta\"}\n\n", Event{Token: true})
	f("data: {\"type\":1}\n\n", Event{})
	f("event: error\ndata: {\"type\":\"response.created\"}\n\n", Event{})
	f("data: {\"type\":\"error\",\"error\":{\"message\":\"m\"}}\n\n", Event{Failed: true}) // as OpenAI itself sends it
	f("event: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n", Event{Failed: true, Odd: true})
	f("data: {\"error\":{\"message\":\"m\"}}\n\n", Event{Failed: true, Odd: true})
	f("data: [DONE]\n\n", Event{Done: true, Terminal: true})

	var got Event
	ReadEvent([]byte("data: {\"type\":\"response.completed\",\"response\":{\"usage\":"+raw+"}}\n\n"), chat, &got)
	assert.Equal(t, Event{}, got, "types mean nothing to chat/completions")
}

func TestReadAnswerUsage(t *testing.T) {
	f := func(body string, want helixflow.Usage) {
		t.Helper()
		assert.Equal(t, want, ReadAnswer([]byte(body)).Usage, body)
	}
	u := func(in, out int64) helixflow.Usage {
		return helixflow.Usage{InputTokens: in, OutputTokens: out, Reported: true}
	}
	none := helixflow.Usage{}
	f(`{"choices":[{"usage":{"prompt_tokens":9}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}} `, u(1, 2))
	f(`{"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}`, u(1, 2))
	f(`{"usage":{"prompt_tokens":5,"total_tokens":5}}`, u(5, 0)) // embeddings
	f(`{"usage":{"completion_tokens":2,"total_tokens":7}}`, u(5, 2))
	f(`{"usage":{"total_tokens":7}}`, u(7, 0))
	f(`{"usage":{"prompt_tokens":7,"total_tokens":5}}`, u(7, 0))
	f(`{"usage":{"prompt_tokens":0,"completion_tokens":0}}`, u(0, 0))
	f(`{"usage":{"prompt_tokens":-5,"completion_tokens":99999999999999999999999}}`, u(0, 1<<40))
	f(`{"usage":{"prompt_tokens":1.5,"completion_tokens":1e400,"total_tokens":"3"}}`, none)
	f(`{"usage":{"prompt_tokens":null}}`, none)
	f(`{"usage":{}}`, none)
	f(`{"usage":null}`, none)
	f(`{}`, none)
	f(`[]`, none)
	f(``, none)
	f(`{"usage":{"prompt_tokens":1}`, none)
	f(`{"usage":{"prompt_tokens":1}}x`, none)
	f(`{"usage":{"prompt_tokens":1,"prompt_tokens_details":null,"completion_tokens_details":7}}`, u(1, 0))
}

func TestReadEventAllocates(t *testing.T) {
	var e Event
	for _, ev := range eventSeeds {
		b := []byte(ev)
		for _, op := range []helixflow.Op{chat, completions, responses} {
			assert.Zero(t, testing.AllocsPerRun(100, func() {
				EventEnd(b)
				ReadEvent(b, op, &e)
				ReadAnswer(b[min(6, len(b)):])
			}), ev)
		}
	}
}

var eventSeeds = []string{
	string(typicalChunk), ": keep-alive\n\n", "data: [DONE]\n\n", "", "data:\n\n", "data: {\"error\":null}\n\n", "data: {\"a\":1, \"error\" : null ,\"b\":[]}\r\n\r\n",
	"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":-1}}}\n\n",
	"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}],\"content\":\"\"},\"finish_reason\":\"stop\"},{\"text\":\"x\"}]}\n\n",
	"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":99999999999999}}}\n\n",
	"event: error\ndata: {\"type\":\"error\",\"message\":\"m\"}\n\n", "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n", "data: {\ndata: }\n\n", "data: {\"error\":{\"message\":\"m\"}}\n\n",
}

func FuzzReadEvent(f *testing.F) {
	for _, s := range eventSeeds {
		f.Add([]byte(s), uint8(chat))
		f.Add([]byte(s), uint8(responses))
	}
	f.Fuzz(func(t *testing.T, ev []byte, n uint8) {
		op := helixflow.Op(n % uint8(helixflow.NumOps))
		before := bytes.Clone(ev)
		var raw Event
		ReadEvent(ev, op, &raw)
		ReadAnswer(ev)
		require.Equal(t, before, ev)

		// The same bytes as the data of one event, against encoding/json.
		data := strings.NewReplacer("\r", " ", "\n", " ").Replace(string(ev))
		root, ok := object([]byte(data))
		if !ok || json.Valid([]byte(data)) && tooDeep(data) {
			return
		}
		if _, both := root["response"]; both && root["usage"] != nil {
			return // which of the two counts is not promised
		}
		one := []byte("data: " + data + "\n\n")
		var got Event
		ReadEvent(one, op, &got)
		want := readSlow(root, op)
		if want.Failed { // whether as clients know it is FuzzAppendMended's to tell
			want.Odd = got.Odd
		}
		require.Equal(t, want, got)
	})
}

// tooDeep reports whether a sound value may be nested deeper than is read.
func tooDeep(s string) bool { return strings.Count(s, "[")+strings.Count(s, "{") >= maxDepth-8 }

// object returns the members of a JSON object that has no key twice and none with
// an escape, which the reader does not promise to understand.
func object(b []byte) (map[string]json.RawMessage, bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil || m == nil {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token()
	for n := 0; ; n++ {
		key, _ := d.Token()
		name, ok := key.(string)
		if !ok {
			return m, n == len(m)
		}
		var skip json.RawMessage
		end := d.InputOffset()
		start := end - int64(len(name)) - 2
		if start < 0 || string(b[start:end]) != `"`+name+`"` || d.Decode(&skip) != nil {
			return nil, false
		}
	}
}

// readSlow is what ReadEvent must find in an object.
func readSlow(root map[string]json.RawMessage, op helixflow.Op) (e Event) {
	filled := func(v json.RawMessage) bool {
		var x any
		_ = json.Unmarshal(v, &x)
		switch x := x.(type) {
		case string:
			return string(v) != `""`
		case []any:
			return len(x) > 0
		case map[string]any:
			return len(x) > 0
		}
		return false
	}
	var choices []json.RawMessage
	list := root["choices"]
	if op == helixflow.OpResponses {
		list = nil
	}
	isList := len(list) > 0 && list[0] == '['
	_ = json.Unmarshal(list, &choices)
	for _, raw := range choices {
		var choice, delta map[string]json.RawMessage
		_ = json.Unmarshal(raw, &choice)
		_ = json.Unmarshal(choice["delta"], &delta)
		if reason := choice["finish_reason"]; len(reason) > 0 && reason[0] == '"' {
			e.Finish = e.Finish || len(reason) > 2
			e.Odd = e.Odd || len(reason) == 2 || finishReasonOf(reason) != ""
		}
		e.Token = e.Token || filled(choice["text"])
		for _, k := range []string{"content", "reasoning", "reasoning_content", "tool_calls", "function_call", "refusal", "audio"} {
			e.Token = e.Token || filled(delta[k])
		}
	}
	failure, has := root["error"]
	e.Failed = has && string(failure) != "null" || string(root["object"]) == `"error"`
	e.Odd = e.Odd || has && string(failure) == "null"
	usage := root["usage"]
	if op == helixflow.OpResponses {
		var kind string
		_ = json.Unmarshal(root["type"], &kind)
		e.Token = e.Token || strings.HasSuffix(kind, ".delta")
		e.Failed = e.Failed || kind == "error" || kind == "response.failed"
		e.Terminal = kind == "response.completed" || kind == "response.failed" || kind == "response.incomplete"
		var response map[string]json.RawMessage
		if _ = json.Unmarshal(root["response"], &response); len(response["usage"]) > 0 && response["usage"][0] == '{' {
			usage = response["usage"]
		}
	}
	if len(usage) > 0 && usage[0] == '{' {
		e.Usage = usageSlow(usage)
		e.HasUsage = e.Usage.Reported
		e.UsageOnly = isList && len(choices) == 0 && !e.Failed
	}
	return e
}

func usageSlow(raw json.RawMessage) (u helixflow.Usage) {
	var m map[string]json.RawMessage
	_ = json.Unmarshal(raw, &m)
	count := func(raw json.RawMessage) (int64, bool) {
		n, ok := new(big.Int).SetString(string(raw), 10)
		if !ok || raw[0] == '+' {
			return 0, false
		}
		if n.Sign() < 0 {
			return 0, true
		}
		if n.Cmp(big.NewInt(1<<40)) > 0 {
			return 1 << 40, true
		}
		return n.Int64(), true
	}
	side := func(names ...string) (int64, bool) {
		for _, name := range names {
			if n, ok := count(m[name]); ok {
				return n, true
			}
		}
		return 0, false
	}
	detail := func(key string, names ...string) int64 {
		for _, name := range names {
			var d map[string]json.RawMessage
			_ = json.Unmarshal(m[name], &d)
			if n, ok := count(d[key]); ok {
				return n
			}
		}
		return 0
	}
	in, hasIn := side("prompt_tokens", "input_tokens")
	out, hasOut := side("completion_tokens", "output_tokens")
	total, hasTotal := side("total_tokens")
	u.Reported = hasIn || hasOut || hasTotal
	if !hasIn {
		in = max(0, total-out)
	}
	if !hasOut {
		out = max(0, total-in)
	}
	u.InputTokens, u.OutputTokens = in, out
	u.CachedTokens = detail("cached_tokens", "prompt_tokens_details", "input_tokens_details")
	u.ReasoningTokens = detail("reasoning_tokens", "completion_tokens_details", "output_tokens_details")
	return u
}

func BenchmarkReadEvent(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(typicalChunk)))
	var e Event
	for b.Loop() {
		ReadEvent(typicalChunk, chat, &e)
		if !e.Token {
			b.Fatal("no token")
		}
	}
}
