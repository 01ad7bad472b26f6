package openai

// Plain against ReadEvent: what it waves through has nothing in it.

import (
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
	assert.False(t, Plain([]byte("data: {}\n\n"), helixflow.OpResponses), "its types say more")
	assert.Zero(t, testing.AllocsPerRun(100, func() { Plain([]byte(plainChunk), helixflow.OpChatCompletions) }))
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte(plainChunk))
	f.Add([]byte(`data: {"choices":[{"finish_reason":null},{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}` + "\n\n"))
	f.Add([]byte(`data: {"error":{"message":"x"}}` + "\n\n"))
	f.Fuzz(func(t *testing.T, ev []byte) {
		if EventEnd(ev) != len(ev) || !Plain(ev, helixflow.OpChatCompletions) {
			return
		}
		var got Event
		ReadEvent(ev, helixflow.OpChatCompletions, &got)
		got.Token = false
		require.Equal(t, Event{}, got, "%q", ev)
	})
}

func BenchmarkPlain(b *testing.B) {
	for b.Loop() {
		Plain([]byte(plainChunk), helixflow.OpChatCompletions)
	}
}
