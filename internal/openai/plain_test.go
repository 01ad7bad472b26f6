package openai

// Plain against ReadEvent: what it waves through has nothing in it.

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

const plainChunk = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" harbour"},"logprobs":null,"finish_reason":null}]}` + "\n\n"

func TestPlain(t *testing.T) {
	f := func(ev string, want bool) {
		t.Helper()
		assert.Equal(t, want, Plain([]byte(ev), helixflow.OpChatCompletions), "%q", ev)
	}
	f(plainChunk, true)
	f("data: {}\n\n", true)
	f("data: [DONE]\n\n", false)
	f(": ping\n\n", false)
	f("data:{}\n\n", false)
	f("data: {}\r\n\r\n", false)
	f("data: {\ndata: }\n\n", false)
	f(`data: {"choices":[{"finish_reason":"stop"}]}`+"\n\n", false)
	f(`data: {"choices":[{"finish_reason": null}]}`+"\n\n", false)
	f(`data: {"usage":null}`+"\n\n", false)
	f(`data: {"error":null}`+"\n\n", false)
	f(`data: {"choices":[{"delta":{"content":"\"error\": \"usage\""}}]}`+"\n\n", true)
	assert.Zero(t, testing.AllocsPerRun(100, func() { Plain([]byte(plainChunk), helixflow.OpChatCompletions) }))
}

const plainDeltaEvent = "event: response.output_text.delta\n" +
	`data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":" harbour","logprobs":[]}` + "\n\n"

func TestPlainDelta(t *testing.T) {
	f := func(ev string, want bool) {
		t.Helper()
		assert.Equal(t, want, Plain([]byte(ev), helixflow.OpResponses), "%q", ev)
	}
	const name = "event: response.output_text.delta\n"
	f(plainDeltaEvent, true)
	f(name+`data: {"content_index":0,"delta":"a","type": "response.output_text.delta"}`+"\n\n", true)
	f("event: response.function_call_arguments.delta\n"+`data: {"type":"response.function_call_arguments.delta","delta":"{\"type\":1}"}`+"\n\n", true)
	f(name+`data: {"type":"response.output_text.delta","delta":"type"}`+"\n\n", false)
	f(name+`data: {"type":"response.output_text.delta","type":"response.completed"}`+"\n\n", false)
	f(name+`data: {"type":"response.output_text.deltas"}`+"\n\n", false)
	f(name+`data: {"type":"response.completed"}`+"\n\n", false)
	f(name+`data: {"type":"response.output_text.delta","response":{}}`+"\n\n", false)
	f(name+`data: {"type":"response.output_text.delta","error":null}`+"\n\n", false)
	f(name+`data: {"delta":"a"}`+"\n\n", false)
	f(name+`data: {"type":"response.output_text.delta"}`+"\ndata: {}\n\n", false)
	f(name+`data: {"type"`+"\n\n", false)
	f("event: response.completed\n"+`data: {"type":"response.completed","response":{}}`+"\n\n", false)
	f(`data: {"type":"response.output_text.delta","delta":"a"}`+"\n\n", false)
	f(strings.ReplaceAll(plainDeltaEvent, "\n", "\r\n"), false)
	f("data: {}\n\n", false)
	f(": ping\n\n", false)
	assert.False(t, Plain([]byte(plainDeltaEvent), helixflow.OpChatCompletions))
	assert.Zero(t, testing.AllocsPerRun(100, func() { Plain([]byte(plainDeltaEvent), helixflow.OpResponses) }))
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte(plainChunk))
	f.Add([]byte(`data: {"choices":[{"finish_reason":null},{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}` + "\n\n"))
	f.Add([]byte(`data: {"error":{"message":"x"}}` + "\n\n"))
	f.Add([]byte(plainDeltaEvent))
	f.Add([]byte("event: response.a.delta\ndata: {\"x\":{\"type\":\"response.a.delta\"},\"response\":1}\n\n"))
	f.Fuzz(func(t *testing.T, ev []byte) {
		for _, op := range []helixflow.Op{helixflow.OpChatCompletions, helixflow.OpResponses} {
			if EventEnd(ev) != len(ev) || !Plain(ev, op) {
				continue
			}
			var got Event
			ReadEvent(ev, op, &got)
			got.Token = false
			require.Equal(t, Event{}, got, "%q", ev)
		}
	})
}

func BenchmarkPlain(b *testing.B) {
	f := func(name, ev string, op helixflow.Op) {
		b.Run(name, func(b *testing.B) {
			one := []byte(ev)
			for b.Loop() {
				Plain(one, op)
			}
		})
		b.Run(name+" read", func(b *testing.B) {
			one := []byte(ev)
			var out Event
			for b.Loop() {
				ReadEvent(one, op, &out)
			}
		})
	}
	f("chunk", plainChunk, helixflow.OpChatCompletions)
	f("delta", plainDeltaEvent, helixflow.OpResponses)
}
