package openai

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/helixflow/helixflow"
)

func eventsOf(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		b.WriteString("data: " + d + "\n\n")
	}
	return b.String()
}

func TestAppendAssembled(t *testing.T) {
	f := func(op helixflow.Op, want string, data ...string) {
		t.Helper()
		got, ok := AppendAssembled([]byte("before"), []byte(eventsOf(data...)), op)
		assert.Equal(t, want != "", ok)
		assert.Equal(t, "before"+want, string(got))
	}
	const chat, text, responses = helixflow.OpChatCompletions, helixflow.OpCompletions, helixflow.OpResponses
	const head = `"id":"1","object":"chat.completion.chunk","created":5,"model":"m"`
	f(chat, `{"id":"1","created":5,"model":"m","usage":{"prompt_tokens":1},"object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Hé\n\"lo"}}]}`,
		`{`+head+`,"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
		`{`+head+`,"choices":[{"index":0,"delta":{"content":"H\u00e9\n"},"finish_reason":null}],"usage":null}`,
		`{`+head+`,"choices":[{"index":0,"delta":{"content":"\"lo"},"finish_reason":null}]}`,
		`{`+head+`,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
		`{`+head+`,"choices":[],"usage":{"prompt_tokens":1}}`, `[DONE]`)
	f(chat, `{"object":"chat.completion","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"function","function":{"name":"g","arguments":""}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}},{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}}]}`,
		`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`, `[DONE]`)
	f(chat, `{"object":"chat.completion","choices":[{"index":0,"message":{"content":"a","role":"assistant"}},{"index":1,"logprobs":{"content":[{"t":1},{"t":2}],"refusal":null},"message":{"reasoning":"rr","content":"bc","role":"assistant"}}]}`,
		`{"choices":[{"index":1,"delta":{"reasoning":"r"}}]}`, `{"choices":[{"index":1,"delta":{"reasoning":"r","content":"b"},"logprobs":{"content":[{"t":1}],"refusal":null}}]}`,
		`{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":null}]}`, `{"choices":[{"index":1,"delta":{"content":"c"},"logprobs":{"content":[{"t":2}]}}]}`, `[DONE]`)
	f(text, `{"id":"1","object":"text_completion","choices":[{"index":0,"text":"ab","finish_reason":"length"}]}`,
		`{"id":"1","choices":[{"index":0,"text":"a","finish_reason":null}],"object":"text_completion"}`, `{"id":"1","choices":[{"index":0,"text":"b","finish_reason":"length"}]}`, `[DONE]`)
	f(responses, `{"id":"r","output":[{"x":1}],"usage":{}}`,
		`{"type":"response.created","response":{"id":"r"}}`, `{"type":"response.output_text.delta","delta":"a"}`,
		`{"type":"response.completed","response":{"id":"r","output":[{"x":1}],"usage":{}}}`)

	f(chat, "")
	f(chat, "", `[DONE]`)
	f(chat, "", `{"choices":[{"index":0,"delta":{"content":"a"}}]}`)
	f(chat, "", `{"choices":[{"index":1,"delta":{"content":"a"}}]}`, `[DONE]`)
	f(chat, "", `{"choices":[{"index":-1,"delta":{}}]}`, `[DONE]`)
	f(chat, "", `{"choices":[{"index":99999999,"delta":{}}]}`, `[DONE]`)
	f(chat, "", `{"choices":[{"index":0,"delta":{"content":7}}]}`, `[DONE]`)
	f(chat, "", `{"choices":[{"index":0,"delta":{"audio":{"data":"x"}}}]}`, `[DONE]`)
	f(chat, "", `{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":""}}]}}]}`, `[DONE]`)
	f(chat, "", `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"a"}]}}]}`, `[DONE]`)
	f(chat, "", `{"error":{"message":"x"}}`, `[DONE]`)
	f(chat, "", `broken`, `[DONE]`)
	f(responses, "", `{"type":"response.failed","response":{"id":"r"}}`)
	f(responses, "", `{"type":"response.completed"}`)
}

func TestAppendSplit(t *testing.T) {
	const body = `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`
	f := func(op helixflow.Op, body string, usage bool, want string) {
		t.Helper()
		got, ok := AppendSplit([]byte("before"), []byte(body), op, usage)
		assert.Equal(t, want != "", ok)
		assert.Equal(t, "before"+want, string(got))
	}
	const chunk = `{"id":"1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	const used = `{"id":"1","object":"chat.completion.chunk","model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}`
	f(helixflow.OpChatCompletions, body, false, eventsOf(chunk, "[DONE]"))
	f(helixflow.OpChatCompletions, body, true, eventsOf(chunk, used, "[DONE]"))
	f(helixflow.OpCompletions, `{"object":"text_completion","choices":[{"index":0,"text":"x"}],"usage":{}}`, true,
		eventsOf(`{"object":"text_completion","choices":[{"index":0,"text":"x"}]}`, `{"object":"text_completion","choices":[],"usage":{}}`, "[DONE]"))
	f(helixflow.OpChatCompletions, `{"choices":[]}`, true, "")
	f(helixflow.OpChatCompletions, `[]`, true, "")
	f(helixflow.OpEmbeddings, body, true, "")
	f(helixflow.OpResponses, `{"output":[]}`, true, "")

	// There and back.
	stream, _ := AppendSplit(nil, []byte(body), helixflow.OpChatCompletions, true)
	whole, ok := AppendAssembled(nil, stream, helixflow.OpChatCompletions)
	assert.True(t, ok)
	assert.JSONEq(t, body, string(whole))
}

// Nothing that comes makes it panic, and what it makes is one JSON object.
func FuzzAppendAssembled(f *testing.F) {
	f.Add([]byte(eventsOf(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"x"}}]},"logprobs":{"content":[1]}}]}`, "[DONE]")))
	f.Add([]byte(eventsOf(`{"choices":[{"index":0,"text":"a"}]}`, "[DONE]")))
	f.Add([]byte(eventsOf(`{"type":"response.completed","response":{"id":"r"}}`)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		for _, op := range []helixflow.Op{helixflow.OpChatCompletions, helixflow.OpCompletions, helixflow.OpResponses} {
			whole, ok := AppendAssembled(nil, stream, op)
			if !ok {
				assert.Empty(t, whole)
				continue
			}
			assert.True(t, IsObject(whole), "%s", whole)
			if split, ok := AppendSplit(nil, whole, op, true); ok && op != helixflow.OpResponses {
				assert.True(t, strings.HasSuffix(string(split), "data: [DONE]\n\n"))
			}
		}
	})
}
