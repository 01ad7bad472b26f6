package sim

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/stretchr/testify/require"
)

func TestParseOrders(t *testing.T) {
	none := orders{ttft: -1, gap: -1, errorAfter: -1, cutAfter: -1, stallAfter: -1}
	f := func(text string, change func(*orders)) {
		t.Helper()
		want := none
		change(&want)
		got, err := parseOrders(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	f("hello", func(*orders) {})
	f("a url like https://sim:80 or xsim:gpu", func(*orders) {})
	f("sim:tokens=5;", func(o *orders) { o.tokens = 5 })
	f("please sim:ttft=200ms, gap=0s; sim:nonsense", func(o *orders) { o.ttft, o.gap = 200*time.Millisecond, 0 })
	f("\nsim:size=4B;", func(o *orders) { o.size = 4 })
	f("sim:size=7;", func(o *orders) { o.size = 7 })
	f("sim:size=2KiB;", func(o *orders) { o.size = 2048 })
	f("sim:size=1MiB,finish=length;", func(o *orders) { o.size, o.finish = 1<<20, "length" })
	f("sim:error=503,retry_after=1500ms,id=a,times=2;", func(o *orders) {
		o.status, o.retryAfter, o.id, o.times = 503, 1500*time.Millisecond, "a", 2
	})
	f("sim:error_after=0,cut_after=3,stall_after=5,tool=f;", func(o *orders) {
		o.errorAfter, o.cutAfter, o.stallAfter, o.tool = 0, 3, 5, "f"
	})

	bad := func(text, want string) {
		t.Helper()
		_, err := parseOrders(text)
		require.EqualError(t, err, want, text)
	}
	bad("sim:tokens=5", "cannot read orders: no ';' ends them")
	bad("sim:;", `cannot read order "": there is no such order`)
	bad("sim:tokens=5,;", `cannot read order "": there is no such order`)
	bad("sim:tokns=5;", `cannot read order "tokns": there is no such order`)
	bad("sim:tokens=5,tokens=6;", `cannot read order "tokens": it stands twice`)
	bad("sim:tokens=0;", `cannot read order "tokens": "0" is no whole number from 1 to 16777216`)
	bad("sim:tokens;", `cannot read order "tokens": "" is no whole number from 1 to 16777216`)
	bad("sim:ttft=5;", `cannot read order "ttft": "5" is no duration from 0s to 24h`)
	bad("sim:gap=-1s;", `cannot read order "gap": "-1s" is no duration from 0s to 24h`)
	bad("sim:size=2MiB;", `cannot read order "size": "2MiB" is no size from 1B to 1MiB`)
	bad("sim:size=-1;", `cannot read order "size": "-1" is no size from 1B to 1MiB`)
	bad("sim:error=200;", `cannot read order "error": "200" is no whole number from 400 to 599`)
	bad("sim:finish=done;", `cannot read order "finish": "done" is none of stop, length, content_filter`)
	bad("sim:tool=;", `cannot read order "tool": it names no tool`)
	bad("sim:retry_after=1s;", "cannot read orders: retry_after, times and id need error")
	bad("sim:error=503,times=2;", "cannot read orders: times needs id, and id needs times")
	bad("sim:error=503,times=2,id=;", `cannot read order "id": it has 0 bytes, not 1 to 128`)
}

func TestReadAskRefusals(t *testing.T) {
	f := func(op helixflow.Op, body, param, message string) {
		t.Helper()
		_, fault := readAsk(op, "m", []byte(body))
		require.NotNil(t, fault, body)
		require.Equal(t, 400, fault.status)
		require.Equal(t, param, fault.param, body)
		require.Contains(t, fault.message, message)
	}
	const chat, text, resp, emb = helixflow.OpChatCompletions, helixflow.OpCompletions, helixflow.OpResponses, helixflow.OpEmbeddings
	f(chat, `{`, "", "cannot parse the body as JSON")
	f(chat, `[]`, "", "invalid type")
	f(chat, ``, "", "cannot parse")
	f(chat, `{"model":"m","messages":[]} x`, "", "cannot parse")
	f(chat, `{"messages":[]}`, "model", "must provide a model")
	f(chat, `{"model":5}`, "model", "number")
	f(chat, `{"model":"m"}`, "messages", "non-empty")
	f(chat, `{"model":"m","messages":[{"role":"user","content":5}]}`, "messages", "message 0: content is neither")
	f(chat, `{"model":"m","messages":[{"role":"user","content":"sim:x=1;"}]}`, "", `order "x"`)
	f(chat, `{"model":"m","messages":[{"role":"user"}],"n":0}`, "n", "from 1 to 128")
	f(chat, `{"model":"m","messages":[{"role":"user"}],"max_tokens":-1}`, "max_tokens", "from 1 to")
	f(chat, `{"model":"m","messages":[{"role":"user"}],"tool_choice":5}`, "tool_choice", "string or an object")
	f(chat, `{"model":"m","messages":[{"role":"user"}],"tool_choice":"required"}`, "tool_choice", "no tools")
	f(chat, `{"model":"m","messages":[{"role":"user","content":"sim:tool=g;"}]}`, "tools", `no tool of that name`)
	f(text, `{"model":"m"}`, "prompt", "missing")
	f(text, `{"model":"m","prompt":null}`, "prompt", "missing")
	f(text, `{"model":"m","prompt":[]}`, "prompt", "non-empty list")
	f(text, `{"model":"m","prompt":[1,"a"]}`, "prompt", "whole numbers")
	f(text, `{"model":"m","prompt":["a",1]}`, "prompt", "item 1")
	f(resp, `{"model":"m"}`, "input", "missing")
	f(resp, `{"model":"m","input":5}`, "input", "string or a non-empty list")
	f(emb, `{"model":"m","input":"a","dimensions":0}`, "dimensions", "from 1 to 8192")
	f(emb, `{"model":"m","input":"a","encoding_format":"hex"}`, "encoding_format", "float or base64")
}

func TestPromptLengthAndBlocks(t *testing.T) {
	f := func(raw string, tokens, blocks int) {
		t.Helper()
		p, err := plainPrompts(1, json.RawMessage(raw))
		require.NoError(t, err)
		require.Len(t, p, 1)
		require.Equal(t, tokens, p[0].tokens)
		require.Len(t, p[0].blocks, blocks)
	}
	f(`""`, 1, 0)
	f(`"abcd"`, 1, 0)
	f(`"abcde"`, 2, 0)
	f(`"`+strings.Repeat("a", 64)+`"`, 16, 1)
	f(`"`+strings.Repeat("a", 130)+`"`, 33, 2)
	f(`[1,2,3]`, 3, 0)
	f(`[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]`, 16, 1)

	a, b := textPrompt(1, strings.Repeat("a", 128)), textPrompt(1, strings.Repeat("a", 64)+strings.Repeat("b", 64))
	require.Equal(t, a.blocks[0], b.blocks[0])
	require.NotEqual(t, a.blocks[1], b.blocks[1])
	require.NotEqual(t, a.blocks[0], a.blocks[1], "a block stands for all before it too")
	require.NotEqual(t, a.blocks[0], textPrompt(2, strings.Repeat("a", 128)).blocks[0])
}

func TestSample(t *testing.T) {
	f := func(schema, want string) {
		t.Helper()
		got := sample(json.RawMessage(schema))
		require.True(t, json.Valid([]byte(got)), got)
		require.Equal(t, want, got)
	}
	f(``, `{}`)
	f(`true`, `{}`)
	f(`{"type":"object"}`, `{}`)
	f(`{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"integer"}}}`, `{"a":1,"b":"example"}`)
	f(`{"properties":{"b":{"type":"boolean"},"a":{"type":"number","minimum":2.5}},"required":["b","a"]}`, `{"b":true,"a":2.5}`)
	f(`{"properties":{"c":{"enum":["x","y"]},"n":{"type":["null","string"]}}}`, `{"c":"x","n":null}`)
	f(`{"properties":{"l":{"type":"array","items":{"const":3},"minItems":2}}}`, `{"l":[3,3]}`)
	f(`{"properties":{"s":{"type":"string","minLength":9}},"required":["s","free"]}`, `{"s":"examplexx","free":"example"}`)
	f(`{"$ref":"#/$defs/P","$defs":{"P":{"type":"object","properties":{"name":{"type":"string"}}}}}`, `{"name":"example"}`)
	f(`{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}}}`, `{"a":"example"}`)
	f(`{"$ref":"#"}`, `null`)
	wide := sample(json.RawMessage(`{"properties":{"x":{"type":"array","minItems":99,"items":{"$ref":"#"}}}}`))
	require.True(t, json.Valid([]byte(wide)))
	require.Less(t, len(wide), 2*maxSchemaBytes)
}

func FuzzReadAsk(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":"sim:tokens=3,gap=1ms;"}],"tools":[{"type":"function","function":{"name":"f"}}]}`,
		`{"model":"m","prompt":[[1,2],[3]],"n":2}`,
		`{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}],"text":{"format":{"type":"json_schema","schema":{"$ref":"#"}}}}`,
		`{"input":["a",{"type":"text","text":"b"}],"encoding_format":"base64"}`,
	} {
		for op := helixflow.OpChatCompletions; op <= helixflow.OpModerations; op++ {
			f.Add(uint8(op), seed)
		}
	}
	f.Fuzz(func(t *testing.T, op uint8, body string) {
		a, fault := readAsk(helixflow.OpChatCompletions+helixflow.Op(op%5), "m", []byte(body))
		if (a == nil) == (fault == nil) {
			t.Fatal("neither or both")
		}
		if fault != nil && (fault.status != 400 || fault.message == "") {
			t.Fatalf("%+v", fault)
		}
		if a != nil && (len(a.prompts) == 0 || a.prompts[0].tokens < 1 || a.jsonText != "" && !json.Valid([]byte(a.jsonText))) {
			t.Fatalf("%+v", a)
		}
	})
}
