package openai

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

func TestAppendMended(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		ev := "id: 1\r\ndata:" + data + "\r\n\r\n"
		var e Event
		ReadEvent([]byte(ev), chat, &e)
		assert.Equal(t, data != want, e.Odd, data)
		if e.Odd {
			assert.False(t, e.Failed)
			assert.Equal(t, "xid: 1\r\ndata:"+want+"\r\n\r\n", string(AppendMended([]byte("x"), []byte(ev), chat, faultDefault, 1)))
		}
	}
	f(`{"error":null}`, `{}`)
	f(`{ "error" : null }`, `{  }`)
	f(`{"error":null,"a":1}`, `{"a":1}`)
	f(`{ "error" : null , "a":1}`, `{  "a":1}`)
	f(`{"a":1,"error":null,"b":2}`, `{"a":1,"b":2}`)
	f(`{"a":1 , "error": null , "b":2}`, `{"a":1 ,  "b":2}`)
	f(`{"a":1,"error":null}`, `{"a":1}`)
	f(`{"a":"," , "error":null }`, `{"a":","  }`)
	f(`{"a":[1,2],"b":{"error":null,"c":1},"error":null}`, `{"a":[1,2],"b":{"error":null,"c":1}}`)
	f(`{"a":{"error":null}}`, `{"a":{"error":null}}`)
	f(`{"error":null`, `{"error":null`)
	f(`{"a":1,"error":null,"error":null}`, `{"a":1,"error":null}`)

	choice := func(reason string) string {
		return `{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason": ` + reason + ` }]}`
	}
	g := func(reason, want string) { t.Helper(); f(choice(reason), choice(want)) }
	for _, known := range []string{"null", `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"`, `"function_call"`, `"abort"`, "1", "{}"} {
		g(known, known)
	}
	g(`""`, "null")
	g(`"eos_token"`, `"stop"`)
	g(`"stop_sequence"`, `"stop"`)
	g(`"end_turn"`, `"stop"`)
	g(`"max_tokens"`, `"length"`)
	g(`"tool_use"`, `"tool_calls"`)
	f(`{"choices":[{"finish_reason":""},1,{"finish_reason":"eos_token"}],"error":null}`, `{"choices":[{"finish_reason":null},1,{"finish_reason":"stop"}]}`)
	many := strings.Repeat(`{"finish_reason":""},`, 100)
	f(`{"choices":[`+many+`1]}`, `{"choices":[`+strings.ReplaceAll(many, `""`, "null")+`1]}`)
}

func TestAppendMendedAnswer(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		a := ReadAnswer([]byte(body))
		assert.Equal(t, body != want, a.Odd, body)
		assert.Equal(t, want, string(AppendMendedAnswer(nil, []byte(body))))
	}
	f(`{"choices":[{"message":{},"finish_reason":"eos_token"},{"finish_reason":"length"}],"error":null} `, `{"choices":[{"message":{},"finish_reason":"stop"},{"finish_reason":"length"}],"error":null} `)
	f(`{"choices":[{"message":{},"finish_reason":""}]}`, `{"choices":[{"message":{},"finish_reason":""}]}`)
	f(`{"choices":{"finish_reason":"eos_token"}}`, `{"choices":{"finish_reason":"eos_token"}}`)
}

func TestReadAnswer(t *testing.T) {
	f := func(body string, want Answer) {
		t.Helper()
		assert.Equal(t, want, ReadAnswer([]byte(body)), body)
	}
	f(`{"choices":[{}]}`, Answer{Choices: true})
	f(`{"choices":[]}`, Answer{})
	f(`{"error":{"message":"m"}}`, Answer{Failed: true})
	f(`{"error":"m"}`, Answer{Failed: true})
	f(`{"object":"error","message":"m"}`, Answer{Failed: true})
	f(`{"error":null}`, Answer{})
	for _, result := range []string{"choices", "output", "data", "results"} {
		f(`{"error":{"message":"m"},"`+result+`":[]}`, Answer{})
	}
	f(`{"error":"m"`, Answer{})
	f(`data: {}`, Answer{})
}

func TestAppendAsStream(t *testing.T) {
	f := func(op helixflow.Op, body, want string) {
		t.Helper()
		require.True(t, ReadAnswer([]byte(body)).Choices)
		assert.Equal(t, "data: "+want+"\n\ndata: [DONE]\n\n", string(AppendAsStream(nil, []byte(body), op)))
	}
	f(chat, "{\n  \"id\": \"1\",\r\n  \"object\": \"chat.completion\",\n  \"choices\": [{\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \"a\\nb\"}, \"finish_reason\": \"eos_token\"}],\n  \"usage\": {\"total_tokens\": 3},\n  \"error\": null\n}\n",
		`{   "id": "1",    "object": "chat.completion.chunk",   "choices": [{"index": 0, "delta": {"role": "assistant", "content": "a\nb"}, "finish_reason": "stop"}],   "usage": {"total_tokens": 3} }`)
	f(chat, `{"choices":[{"message":{"tool_calls":[{"id":"a","function":{}},{"index":1},{},7]}},{"message":null}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{}},{"index":1},{},7]}},{"message":null}]}`)
	f(completions, `{"object":"text_completion","choices":[{"text":"x","message":{},"finish_reason":"stop"}]}`,
		`{"object":"text_completion","choices":[{"text":"x","message":{},"finish_reason":"stop"}]}`)
}

func TestSniff(t *testing.T) {
	f := func(b string, want Media) { t.Helper(); assert.Equal(t, want, Sniff([]byte(b)), "%q", b) }
	f("", MediaUnknown)
	f(" \r\n\t", MediaUnknown)
	f("\xef\xbb\xbf", MediaUnknown)
	for _, field := range []string{"data:", "event:", "error:", "id:", "retry:"} {
		for n := 1; n < len(field); n++ {
			f(field[:n], MediaUnknown)
			f(field[:n]+"!", MediaOther)
		}
		f(field, MediaEvents)
		f("\n"+field+" x", MediaEvents)
	}
	f(":", MediaEvents)
	f("\xef\xbb\xbf: hi\n\n", MediaEvents)
	f(" {", MediaJSON)
	f("[", MediaJSON)
	f("<html>", MediaOther)
	f("\x1f\x8b", MediaOther)
}

func TestWhole(t *testing.T) {
	f := func(ev string, want bool) { t.Helper(); assert.Equal(t, want, Whole([]byte(ev)), "%q", ev) }
	f("data: [DONE]", true)
	f("data: [DON", false)
	f("data: {\"a\":1}", true)
	f("data: {\"a\":1}\r\n", true)
	f("data: {\"a\":1", false)
	f("data: {\"a\":\ndata: 1}", false)
	f("error: {}", false)
	f(": ping\n", true)
	f(": pi", false)
	f("dat", false)
}

// What is mended is what a slow reader of JSON makes of it, and nothing else.
func FuzzAppendMended(f *testing.F) {
	for _, s := range eventSeeds {
		f.Add(strings.TrimPrefix(strings.TrimRight(s, "\r\n"), "data: "))
	}
	f.Add(`{"choices":[{"finish_reason":""},{"finish_reason":"eos_token"}],"error":null}`)
	f.Fuzz(func(t *testing.T, data string) {
		data = strings.NewReplacer("\r", " ", "\n", " ").Replace(data)
		root, ok := object([]byte(data))
		if !ok || tooDeep(data) || strings.Contains(data, `\u`) {
			return
		}
		ev := []byte("data: " + data + "\n\n")
		var e Event
		if ReadEvent(ev, chat, &e); !e.Odd {
			return
		}
		out := AppendMended(nil, ev, chat, faultDefault, 1)
		require.Equal(t, len(out), EventEnd(out))
		if e.Failed {
			ReadEvent(out, chat, &e)
			require.Equal(t, Event{Failed: true}, e, "%q", out)
			return
		}
		if string(root["error"]) == "null" {
			delete(root, "error")
		}
		got, ok := object(out[len("data: "):])
		require.True(t, ok, "%q became %q", ev, out)
		require.Equal(t, mendSlow(root), mendSlow(got), "%q became %q", ev, out)
		var again Event
		ReadEvent(out, chat, &again)
		require.False(t, again.Odd, "%q", out)
	})
}

// mendSlow is root with the reasons to finish as clients know them.
func mendSlow(root map[string]json.RawMessage) string {
	var choices []json.RawMessage
	if json.Unmarshal(root["choices"], &choices) == nil {
		for i, raw := range choices {
			choice, ok := object(raw)
			if !ok {
				continue
			}
			if with := finishReasonOf(choice["finish_reason"]); with != "" {
				choice["finish_reason"] = json.RawMessage(with)
			} else if string(choice["finish_reason"]) == `""` {
				choice["finish_reason"] = json.RawMessage("null")
			}
			choices[i], _ = json.Marshal(choice)
		}
		root["choices"], _ = json.Marshal(choices)
	}
	return fmt.Sprint(root)
}

func BenchmarkReadAnswer(b *testing.B) {
	body := []byte(`{"id":"chatcmpl-9f86","object":"chat.completion","created":1763856000,"model":"llama-3.1-70b","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("word ", 400) + `","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if !ReadAnswer(body).Usage.Reported {
			b.Fatal("no usage")
		}
	}
}
