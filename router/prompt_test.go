package router

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/openai"
)

// shared returns how many blocks two requests have in common, of how many the
// first has.
func shared(t *testing.T, op helixflow.Op, a, b string) (common, of int) {
	t.Helper()
	var chains [2]balancer.Chain
	for i, body := range []string{a, b} {
		var c openai.Call
		require.NoError(t, openai.Scan([]byte(body), op, &c), body)
		chainPrompt(&chains[i], 1, &c, []byte(body))
	}
	for common < min(chains[0].Len(), chains[1].Len()) && chains[0].Hash(common) == chains[1].Hash(common) {
		common++
	}
	return common, chains[0].Len()
}

func TestPromptsShareWhatTheModelReadsFirst(t *testing.T) {
	long := strings.Repeat("Why is the sky blue at noon and red at dusk? ", 50) // 2250 bytes: 8 blocks
	other := "X" + long[1:]
	f := func(op helixflow.Op, a, b string, want int) {
		t.Helper()
		common, of := shared(t, op, a, b)
		assert.Equal(t, want, common, "of %d", of)
	}
	all := func(op helixflow.Op, a, b string) {
		t.Helper()
		common, of := shared(t, op, a, b)
		assert.Equal(t, of, common)
		assert.Positive(t, of)
	}
	const chat, responses, completions, messages = helixflow.OpChatCompletions, helixflow.OpResponses, helixflow.OpCompletions, helixflow.OpMessages

	// The order of keys does not matter, nor what the model does not read.
	all(chat, `{"model":"m","messages":["`+long+`"],"tools":["`+long+`"]}`, `{"tools":["`+long+`"],"stream":true,"messages":["`+long+`"],"temperature":1,"model":"m"}`)
	// Tools come first, then the system prompt, then messages.
	f(chat, `{"messages":["`+long+`"],"tools":["`+long+`"]}`, `{"messages":["`+other+`"],"tools":["`+long+`"]}`, 8)
	f(chat, `{"messages":["`+long+`"],"tools":["`+long+`"]}`, `{"messages":["`+long+`"],"tools":["`+other+`"]}`, 0)
	f(chat, `{"messages":["`+long+`"],"functions":["`+long+`"]}`, `{"messages":["`+other+`"],"functions":["`+long+`"]}`, 8)
	f(responses, `{"input":"`+long+`","instructions":"`+long+`"}`, `{"input":"`+other+`","instructions":"`+long+`"}`, 8)
	f(messages, `{"messages":["`+long+`"],"system":"`+long+`"}`, `{"messages":["`+other+`"],"system":"`+long+`"}`, 8)
	// The same bytes as another part are another prompt.
	f(responses, `{"input":"`+long+`"}`, `{"instructions":"`+long+`"}`, 0)
	// All messages count, not the first one; the next turn shares the last.
	f(chat, `{"messages":["a","`+long+`"]}`, `{"messages":["a","`+other+`"]}`, 0)
	f(chat, `{"messages":["a","`+long+`"]}`, `{"messages":["a","`+long+`","b","`+other+`"]}`, 8)
	// Of a batch the first one counts; a prompt of tokens is one prompt.
	all(completions, `{"prompt":["`+long+`","a"]}`, `{"prompt":["`+long+`","b"]}`)
	all(completions, `{"prompt":[[1`+strings.Repeat(",22", 200)+`],[3]]}`, `{"prompt":[[1`+strings.Repeat(",22", 200)+`],[4]]}`)
	all(completions, `{"prompt":[1`+strings.Repeat(",22", 200)+`]}`, `{"prompt":[1`+strings.Repeat(",22", 400)+`]}`)
	all(helixflow.OpEmbeddings, `{"input":["`+long+`","a"]}`, `{"input":["`+long+`","b"]}`)
	// A salt keeps apart.
	f(completions, `{"prompt":"`+long+`","cache_salt":"a"}`, `{"prompt":"`+long+`","cache_salt":"b"}`, 0)
	f(completions, `{"prompt":"`+long+`","cache_salt":"a"}`, `{"prompt":"`+long+`"}`, 0)
	all(completions, `{"prompt":"`+long+`","cache_salt":null}`, `{"prompt":"`+long+`"}`)
}

func TestImagesAreSampled(t *testing.T) {
	image := make([]byte, 300_000)
	for i := range image {
		image[i] = byte(i * i >> 7)
	}
	body := func(image []byte) []byte {
		return fmt.Appendf(nil, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}},{"type":"text","text":"%s"}]}]}`,
			base64.StdEncoding.EncodeToString(image), strings.Repeat("What is it? ", 200))
	}
	chain := func(body []byte) *balancer.Chain {
		var c openai.Call
		require.NoError(t, openai.Scan(body, helixflow.OpChatCompletions, &c))
		chain := new(balancer.Chain)
		chainPrompt(chain, 1, &c, body)
		return chain
	}
	a := chain(body(image))
	assert.Less(t, a.Bytes(), int64(8000), "an image counts as some text")
	assert.Equal(t, a.Hash(a.Len()-1), chain(body(image)).Hash(a.Len()-1))
	assert.NotEqual(t, a.Hash(a.Len()-1), chain(body(image[3:])).Hash(a.Len()-1), "another length")
	different := bytes.Clone(image)
	for i := 100_000; i < len(image); i++ {
		different[i] ^= 0x55
	}
	assert.NotEqual(t, a.Hash(a.Len()-1), chain(body(different)).Hash(a.Len()-1), "another from some place on")
}

// FuzzChainPrompt holds the chain against one made of what encoding/json found in
// the body.
func FuzzChainPrompt(f *testing.F) {
	f.Add([]byte(`{"model":"m","tools":[{}],"messages":[{"role":"user","content":"hi"}],"prompt":["a","b"]}`))
	f.Add([]byte(`{"input":[[1],[2]],"system":"s","cache_salt":"x","functions":null,"instructions":{"a":";base64,AAAA"}}`))
	f.Add([]byte(`{"input":"i","messages":["data:image/png;base64,` + strings.Repeat("AbCd", 2000) + `"],"system":1,"system":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var c openai.Call
		if openai.Scan(body, helixflow.OpChatCompletions, &c) != nil {
			return
		}
		var chain, want balancer.Chain
		chainPrompt(&chain, 1, &c, body)

		var m map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &m))
		want.Reset(1)
		if salt := m["cache_salt"]; salt != nil && string(salt) != "null" {
			want.Reset(balancer.Salt(1, salt))
		}
		for _, key := range []string{"tools", "functions", "system", "instructions", "messages", "input", "prompt"} {
			v := m[key]
			if string(v) == "null" {
				v = nil
			}
			var batch []json.RawMessage
			if (key == "input" || key == "prompt") && json.Unmarshal(v, &batch) == nil && len(batch) > 0 && strings.ContainsAny(string(batch[0][:1]), `"[`) {
				v = v[:bytes.Index(v, batch[0])+len(batch[0])]
			}
			for i, piece := range strings.Split(string(v), ";base64,") {
				if i > 0 {
					want.Write([]byte(";base64,"))
					data, _, _ := strings.Cut(piece, `"`)
					sampleInto(&want, []byte(data))
					piece = piece[len(data):]
				}
				want.Write([]byte(piece))
			}
			want.EndSpan()
		}
		tail := make([]byte, 4<<10) // so that all of it is in blocks
		chain.Write(tail)
		want.Write(tail)
		require.Equal(t, want.Len(), chain.Len())
		for i := range want.Len() {
			require.Equal(t, want.Hash(i), chain.Hash(i))
		}
	})
}

func TestChainPromptAllocatesNothing(t *testing.T) {
	body := []byte(`{"cache_salt":"s","tools":[],"messages":["` + strings.Repeat("hello ", 2000) + `","data:image/png;base64,` + strings.Repeat("AbC0", 5000) + `"]}`)
	var c openai.Call
	require.NoError(t, openai.Scan(body, helixflow.OpChatCompletions, &c))
	var chain balancer.Chain
	assert.Zero(t, testing.AllocsPerRun(100, func() { chainPrompt(&chain, 1, &c, body) }))
	assert.Positive(t, chain.Len())
}

func BenchmarkChainPrompt(b *testing.B) {
	for _, size := range []int{1 << 10, 8 << 10, 32 << 10, 400 << 10} {
		b.Run(fmt.Sprintf("%dK", size>>10), func(b *testing.B) {
			body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("Why is the sky blue? ", size/21) + `"}]}`)
			var c openai.Call
			require.NoError(b, openai.Scan(body, helixflow.OpChatCompletions, &c))
			var chain balancer.Chain
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				chainPrompt(&chain, 1, &c, body)
			}
		})
	}
}
