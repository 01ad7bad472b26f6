package replay

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadFormats(t *testing.T) {
	f := func(format, text string, want ...Request) {
		t.Helper()
		trace, err := Read(strings.NewReader(text), format, 1)
		require.NoError(t, err)
		assert.Equal(t, want, trace.Requests)
	}
	const ms = int64(time.Millisecond)
	f("mooncake", `{"timestamp": 10, "input_length": 600, "output_length": 5, "hash_ids": [3, 9]}
{"timestamp": 27.5, "input_length": 5, "output_length": 0, "hash_ids": [], "tenant": "a"}
`, Request{Prompt: 600, Output: 5, Pieces: []uint64{3, 9}}, Request{At: 17500 * ms / 1000, Prompt: 5, Output: 1, Pieces: []uint64{}, Tenant: 1})
	f("azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n",
		Request{Prompt: 4808, Output: 10}, Request{At: 52 * ms, Prompt: 3180, Output: 8})
	f("azure", "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2024-05-10 00:00:00.009930+00:00,2162,5\r\n", Request{Prompt: 2162, Output: 5})
	f("burstgpt", "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n"+
		"45.5,GPT-4,0,0,0,API log\n45.75,GPT-4,7,9,16,API log\n", Request{Prompt: 472, Output: 18}, Request{At: 40750 * ms, Prompt: 7, Output: 9})
	f("access-log", `{"time":"2026-11-23T10:00:01.500Z","request_id":"b","tenant":"x","status":200,"tokens_in":100,"tokens_out":3,"prefix_hashes":"0000000a000000ff"}
{"time":"2026-11-23T10:00:01.000Z","request_id":"a","status":429}
{"time":"2026-11-23T10:00:01.250Z","request_id":"a","tenant":"y","tokens_in":50,"tokens_out":4,"prefix_hashes":"0000000a000000ff"}
`, Request{Prompt: 50, Output: 4, Tenant: 2, Pieces: []uint64{10}},
		Request{At: 250 * ms, Prompt: 100, Output: 3, Tenant: 1, Pieces: []uint64{10, 255}})
}

func TestReadComplains(t *testing.T) {
	f := func(format, text, want string) {
		t.Helper()
		_, err := Read(strings.NewReader(text), format, 1)
		require.Error(t, err)
		assert.Contains(t, err.Error(), want)
	}
	const good = `{"timestamp": 1, "input_length": 6, "output_length": 5, "hash_ids": [3]}` + "\n"
	f("mooncake", "", "cannot read a request: there is none")
	f("mooncake", "\n \n", "there is none")
	f("mooncake", good+"{", "cannot read line 2: it is no JSON object")
	f("mooncake", good+"\n[]\n", "cannot read line 3:")
	f("mooncake", good+`{"timestamp": "x", "input_length": 6}`, "line 2: timestamp must not be a JSON string")
	f("mooncake", `{"input_length": 6}`, "line 1: it has no timestamp")
	f("mooncake", `{"timestamp": -1, "input_length": 6}`, "line 1: its time is not within")
	f("mooncake", `{"timestamp": 1e300, "input_length": 6}`, "line 1: its time")
	f("mooncake", `{"timestamp": 1}`, "line 1: a prompt has from 1 to")
	f("mooncake", `{"timestamp": 1, "input_length": 99999999999999}`, "line 1: a prompt has from 1 to")
	f("mooncake", `{"timestamp": 1, "input_length": 5, "output_length": -1}`, "line 1: an answer has from 0 to")
	f("mooncake", `{"timestamp": 1, "input_length": 512, "hash_ids": [1, 2]}`, "line 1: 2 pieces are more than a prompt of 512 tokens has")
	f("mooncake", `{"timestamp": 1, "input_length": 512, "hash_ids": [-1]}`, "line 1: hash_ids")
	f("mooncake", good+strings.Repeat("x", maxLine+1), "line 2: it is longer than")
	f("azure", "a,b\n", `line 1: the first line has no heading "TIMESTAMP"`)
	f("azure", "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", "line 2: its TIMESTAMP is no time")
	f("azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1\n", "line 2: it has 2 fields, and the first line 3")
	f("azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,x,2\n", "line 2: ContextTokens is no whole number")
	f("burstgpt", "Timestamp,Request tokens,Response tokens\nNaN,1,2\n", "line 2: its time makes no sense")
	f("burstgpt", "Timestamp,Request tokens,Response tokens\n0,1,2\n1e9,1,2\n", "line 3: its time is too far")
	f("access-log", `{"tokens_in": 5}`, "line 1: it has no time")
	f("access-log", `{"time":"2026-11-23T10:00:00Z","tokens_in":9,"tokens_out":1,"prefix_hashes":"12"}`, "line 1: prefix_hashes is no row")
	f("access-log", `{"time":"2026-11-23T10:00:00Z","tokens_in":9,"tokens_out":1,"prefix_hashes":"zzzzzzzz"}`, "line 1: prefix_hashes is no row")
	f("csv", good, `cannot read format "csv": the formats are mooncake, azure, burstgpt, access-log`)
}

// Times of 3 s each become times between; the order of lines stays.
func TestReadSpreadsTimes(t *testing.T) {
	line := func(ms, prompt string) string {
		return `{"timestamp": ` + ms + `, "input_length": ` + prompt + `, "output_length": 1}` + "\n"
	}
	text := line("0", "1") + line("0", "2") + line("3000", "3") + line("3000", "4") + line("3000", "5")
	read := func(seed uint64) *Trace {
		trace, err := Read(strings.NewReader(text), "mooncake", seed)
		require.NoError(t, err)
		return trace
	}
	trace := read(1)
	last := int64(-1)
	for i, r := range trace.Requests {
		require.EqualValues(t, i+1, r.Prompt)
		require.Greater(t, r.At, last)
		last = r.At
	}
	assert.Zero(t, trace.Requests[0].At)
	assert.Less(t, trace.Duration(), 6*time.Second)
	assert.Equal(t, trace.Requests, read(1).Requests)
	assert.NotEqual(t, trace.Requests, read(2).Requests)
	assert.InDelta(t, trace.Duration()/2, trace.Faster(2).Duration(), 2)
}

// What is generated and written is read again as it was, but for times, which are
// written to the microsecond.
func TestWriteRead(t *testing.T) {
	want := traffic(t, "mixed", 500)
	var file bytes.Buffer
	require.NoError(t, want.Write(&file))
	got, err := Read(&file, "mooncake", 1)
	require.NoError(t, err)
	require.Len(t, got.Requests, len(want.Requests))
	for i := range want.Requests {
		w, g := want.Requests[i], got.Requests[i]
		require.InDelta(t, w.At, g.At, float64(2*time.Microsecond))
		w.At, w.Tenant, g.At, g.Tenant = 0, 0, 0, 0
		require.Equal(t, w, g)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("mooncake", `{"timestamp": 1, "input_length": 600, "output_length": 5, "hash_ids": [3, 4]}`)
	f.Add("azure", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,4808,10\n")
	f.Add("burstgpt", "Timestamp,Model,Request tokens,Response tokens\n5,ChatGPT,472,18\n")
	f.Add("access-log", `{"time":"2026-11-23T10:00:00Z","tokens_in":900,"tokens_out":1,"prefix_hashes":"12345678"}`)
	f.Fuzz(func(t *testing.T, format, text string) {
		trace, err := Read(strings.NewReader(text), format, 1)
		if err != nil {
			return
		}
		require.NotEmpty(t, trace.Requests)
		p, last := newPrompts(trace, 1), int64(0)
		for i := range trace.Requests {
			r := &trace.Requests[i]
			require.GreaterOrEqual(t, r.At, last)
			last = r.At
			require.Positive(t, r.Prompt)
			require.Positive(t, r.Output)
			tokens := 0
			p.each(i, func(_ uint64, n int) { tokens += n })
			require.EqualValues(t, r.Prompt, tokens, "the pieces of a prompt are all of it")
		}
	})
}
