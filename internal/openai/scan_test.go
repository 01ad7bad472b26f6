package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/helixflow/helixflow"
)

const chat = helixflow.OpChatCompletions

func TestScanFinds(t *testing.T) {
	body := []byte(` {
		"model": "llama-3.1-70b", "stream" :true, "stream_options": {"x":[1], "include_usage" : true},
		"max_tokens": 100, "max_completion_tokens": 50, "max_output_tokens": null, "n": 3,
		"user": "u-1", "safety_identifier": "", "prompt_cache_key": "a\"b", "previous_response_id": "resp_1",
		"service_tier": null, "conversation": {"id": "c"}, "messages": [{"role":"user","content":"hi"}],
		"input": "text", "prompt": ["a", "b"], "instructions": {"a":1}, "tools": [], "temperature": 0.5
	} ` + "\r\n\t")
	var c Call
	require.NoError(t, Scan(body, chat, &c))

	f := func(s Span, want string) {
		t.Helper()
		require.True(t, s.Present())
		assert.Equal(t, want, string(s.In(body)))
		assert.Equal(t, len(want), s.Len())
	}
	f(c.Model, "llama-3.1-70b")
	f(c.StreamValue, "true")
	f(c.StreamOptions, `{"x":[1], "include_usage" : true}`)
	f(c.IncludeUsageValue, "true")
	f(c.MaxTokensValue, "50")
	f(c.LimitValues[LimitMaxTokens], "100")
	f(c.LimitValues[LimitMaxCompletionTokens], "50")
	f(c.LimitValues[LimitMaxOutputTokens], "null")
	f(c.User, "u-1")
	f(c.SafetyIdentifier, "")
	f(c.PromptCacheKey, `a\"b`)
	f(c.PreviousResponseID, "resp_1")
	f(c.Conversation, `{"id": "c"}`)
	f(c.Messages, `[{"role":"user","content":"hi"}]`)
	f(c.Input, `"text"`)
	f(c.Prompt, `["a", "b"]`)
	f(c.Instructions, `{"a":1}`)
	f(c.Tools, `[]`)
	assert.Equal(t, chat, c.Op)
	assert.True(t, c.Stream)
	assert.True(t, c.IncludeUsage)
	assert.EqualValues(t, 50, c.MaxTokens)
	assert.EqualValues(t, 3, c.N)
	assert.EqualValues(t, 19, c.Members)
	assert.Equal(t, bytes.LastIndexByte(body, '}'), int(c.Close))
	assert.False(t, c.ServiceTier.Present())
	assert.Nil(t, c.ServiceTier.In(body))

	require.NoError(t, Scan([]byte("{}"), chat, &c), "a Call is reset")
	assert.Equal(t, Call{Op: chat, MaxTokens: -1, N: 1, Close: 1}, c)
	assert.Nil(t, c.ModelName([]byte("{}")))
}

// TestScanNotes: what else belongs to the prompt may be of any type and come
// twice, and then the last one counts.
func TestScanNotes(t *testing.T) {
	body := []byte(`{"system":1,"functions":[{}],"cache_salt":"x","system":["s"],"cache_salt":null,"System":2}`)
	var c Call
	require.NoError(t, Scan(body, helixflow.OpMessages, &c))
	assert.Equal(t, `["s"]`, string(c.System.In(body)))
	assert.Equal(t, `[{}]`, string(c.Functions.In(body)))
	assert.False(t, c.CacheSalt.Present())
}

func TestPromptPartsAreInTheOrderOfTemplates(t *testing.T) {
	body := []byte(`{"prompt":"7","input":"6","messages":[5],"instructions":"4","system":"3","functions":[2],"tools":[1]}`)
	var c Call
	require.NoError(t, Scan(body, chat, &c))
	var got string
	for _, part := range c.PromptParts() {
		got += string(part.In(body))
	}
	assert.Equal(t, `[1][2]"3""4"[5]"6""7"`, got)
}

func TestSpanInIsClipped(t *testing.T) {
	body := []byte("abcdef")
	in := Span{1, 3}.In(body)
	_ = append(in, 'X')
	assert.Equal(t, "abcdef", string(body))
}

func TestScanModelName(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		body := fmt.Appendf(nil, `{"a":"\n","model":"%s"}`, raw)
		var c Call
		require.NoError(t, Scan(body, chat, &c), raw)
		assert.Equal(t, raw, string(c.Model.In(body)))
		assert.Equal(t, want, string(c.ModelName(body)))
	}
	f("gpt-4o", "gpt-4o")
	f("a", "a")
	f(`meta\/llama`, "meta/llama")
	f(`\u0061\u00e9\u20ac`, "aé€")
	f(`\ud83d\ude00x`, "😀x")
	f(`q\"\\q`, `q"\q`)
	f("é😀", "é😀")
	f(`\ufffd`+"\ufffd", "\ufffd\ufffd")
	f(strings.Repeat("m", 256), strings.Repeat("m", 256))
	f(strings.Repeat(`\u006d`, 256), strings.Repeat("m", 256))
	f(strings.Repeat(`\u00e9`, 128), strings.Repeat("é", 128))
}

func TestScanRefuses(t *testing.T) {
	f := func(body string, kind helixflow.Kind, param, text string) {
		t.Helper()
		err := Scan([]byte(body), chat, new(Call))
		var e *helixflow.Error
		require.ErrorAs(t, err, &e, "%q", body)
		assert.Equal(t, kind, e.Kind, "%q: %s", body, e.Public)
		assert.Equal(t, param, e.Param, "%q", body)
		assert.Contains(t, e.Public, text, "%q", body)
		assert.Less(t, len(e.Public), 200)
	}
	bad := func(body, text string) { t.Helper(); f(body, helixflow.KindInvalidJSON, "", text) }
	bad("", "it is empty")
	bad(" \n", "white space only")
	bad("\xef\xbb\xbf{}", "byte order mark")
	bad("[]", "begins as an array (byte 0)")
	bad(` "a"`, "begins as a string (byte 1)")
	bad("-1", "begins as a number")
	bad("null", "begins as something else")
	bad("\x00\x01", "begins as something else")
	bad("{", "too early (byte 1)")
	bad(`{"a`, "too early (byte 3)")
	bad(`{"a"`, "too early")
	bad(`{"a":`, "too early")
	bad(`{"a":1`, "too early (byte 6)")
	bad(`{"a":1,`, "too early")
	bad(`{"a":"x\`, "too early")
	bad(`{"a":"x\u00`, "too early")
	bad(`{"a":tru`, "too early")
	bad(`{"a":[1,2`, "too early")
	bad(`{"a":1,}`, "unexpected character (byte 7)")
	bad(`{,}`, "unexpected character (byte 1)")
	bad(`{a:1}`, "unexpected character (byte 1)")
	bad(`{"a" 1}`, "unexpected character (byte 5)")
	bad(`{"a":1 "b":2}`, "unexpected character (byte 7)")
	bad(`{"a":}`, "unexpected character (byte 5)")
	bad(`{"a":[1,]}`, "unexpected character")
	bad(`{"a":[1}}`, "unexpected character (byte 7)")
	bad(`{"a":{"b":1]}`, "unexpected character")
	bad(`{"a":[1 2]}`, "unexpected character")
	bad(`{"a":nul1}`, "unexpected character (byte 8)")
	bad(`{"a":True}`, "unexpected character")
	bad(`{"a":NaN}`, "unexpected character")
	bad(`{"a":'x'}`, "unexpected character")
	bad(`{"a":1}x`, "goes on behind the end of its JSON object (byte 7)")
	bad(`{"a":1}{"a":1}`, "goes on behind")
	bad("{\"a\":1}\x00", "goes on behind")
	bad("{\"a\":\"x\ny\"}", "control character inside a string must be escaped (byte 7)")
	bad("{\"a\":\"\x00\"}", "control character")
	bad("{\"a\x1f\":1}", "control character")
	bad("{\"a\":\""+strings.Repeat("long text ", 20)+"\x01\"}", "control character inside a string must be escaped (byte 206)")
	bad(`{"a":"\x"}`, "unknown escape sequence in a string (byte 6)")
	bad(`{"a":"\u12g4"}`, "unknown escape")
	for _, n := range []string{"01", "-", "-a", "1.", "1.e1", "1e", "1e+", "-01"} {
		bad(`{"a":`+n+`}`, "malformed number (byte 5)")
	}
	bad(`{"a":+1}`, "unexpected character")
	bad(`{"a":.5}`, "unexpected character")
	bad(`{"a":`+strings.Repeat("[", 512), "nested deeper than 512 levels (byte 516)")
	bad(strings.Repeat(`{"a":`, 10_000), "nested deeper")

	dup := func(body, param, text string) { t.Helper(); f(body, helixflow.KindDuplicateKey, param, text) }
	dup(`{"model":"a","x":1,"model":"a"}`, "model", "'model' is given twice (byte 20)")
	dup(`{"stream":null,"stream":true}`, "stream", "given twice")
	dup(`{"model":"a","Model":"b"}`, "model", "byte 14 is another spelling of 'model'")
	dup(`{"MODEL":"b"}`, "model", "another spelling")
	dup(`{"ſtream":true}`, "stream", "another spelling")
	dup(`{"max_toKens":1}`, "max_tokens", "another spelling") // U+212A
	dup(`{"uſer":"x"}`, "user", "another spelling")
	dup(`{"N":1}`, "n", "another spelling")
	dup(`{"MAX_COMPLETION_TOKENS":1}`, "max_completion_tokens", "another spelling")
	dup(`{"mod\u0065l":"b"}`, "", "without escape sequences (byte 2)")
	dup(`{"x\"y":1}`, "", "without escape sequences")
	dup(`{"stream_options":{"include_usage":true,"include_usage":false}}`, "stream_options.include_usage", "given twice")
	dup(`{"stream_options":{"Include_Usage":true}}`, "stream_options.include_usage", "another spelling")
	dup(`{"stream_options":{"include\u005fusage":true}}`, "stream_options", "in 'stream_options' must be written without escape")

	typ := func(body, param, text string) { t.Helper(); f(body, helixflow.KindInvalidRequest, param, text) }
	for _, v := range []string{
		"null", "1", "true", "[]", "{}", `""`, `"a\u0000"`, `"\n"`, "\"\x7f\"", `"\u0085"`, "\"\xff\"", "\"a\xc3\"", `"\ud800"`,
		`"\ud800x"`, `"\ud800\n23456"`, `"\udc00\ud800"`, `"` + strings.Repeat("m", 257) + `"`, `"` + strings.Repeat(`\n`, 257) + `"`, `"` + strings.Repeat("m", 255) + `\u00e9"`,
	} {
		typ(`{"model":`+v+`}`, "model", "'model' must be a string")
	}
	for _, v := range []string{"1", `"true"`, "{}"} {
		typ(`{"stream":`+v+`}`, "stream", "must be true or false (byte 10)")
		typ(`{"stream_options":{"a":1,"include_usage":`+v+`}}`, "stream_options.include_usage", "must be true or false (byte 41)")
	}
	typ(`{"stream_options":[]}`, "stream_options", "must be an object")
	typ(`{"stream_options":true}`, "stream_options", "must be an object")
	for _, v := range []string{"-1", "-0", "1.0", "1e3", "1E400", "9007199254740993", "99999999999999999999", `"1"`, "true", "[]"} {
		typ(`{"max_tokens":`+v+`}`, "max_tokens", "must be an integer, 0 or more")
		typ(`{"max_completion_tokens":`+v+`}`, "max_completion_tokens", "must be an integer")
		typ(`{"max_output_tokens":`+v+`}`, "max_output_tokens", "must be an integer")
		typ(`{"n":`+v+`}`, "n", "from 1 to 1024")
	}
	typ(`{"n":0}`, "n", "from 1 to 1024")
	typ(`{"n":1025}`, "n", "from 1 to 1024")
	for _, k := range []string{"user", "safety_identifier", "prompt_cache_key", "previous_response_id", "service_tier"} {
		typ(`{"`+k+`":1}`, k, "'"+k+"' must be a string")
	}
	typ(`{"conversation":[]}`, "conversation", "a string or an object")
	typ(`{"messages":{}}`, "messages", "an array")
	typ(`{"messages":"x"}`, "messages", "an array")
	typ(`{"input":{}}`, "input", "a string or an array")
	typ(`{"prompt":{}}`, "prompt", "a string or an array")
	typ(`{"instructions":1}`, "instructions", "a string, an array or an object")
	typ(`{"tools":true}`, "tools", "an array")
}

func TestScanAccepts(t *testing.T) {
	f := func(body string, op helixflow.Op) {
		t.Helper()
		require.NoError(t, Scan([]byte(body), op, new(Call)), body)
		require.True(t, json.Valid([]byte(body)), body)
	}
	for _, k := range []string{
		"stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "user", "safety_identifier",
		"prompt_cache_key", "previous_response_id", "service_tier", "conversation", "messages", "input", "prompt", "instructions", "tools",
	} {
		f(`{"`+k+`":null}`, chat)
	}
	f(`{"prompt":{"id":"p"}}`, helixflow.OpResponses)
	f(`{"max_tokens":9007199254740992}`, chat)
	f(`{"x":1,"x":2,"X":3,"models":1,"ملف":1,"model_":2,"max_completion_tokens_":1}`, chat)
	f(`{"messages":[{"content":"\u0000\ud800","content":1,"mod\u0065l":2}]}`, chat)
	f(`{"a":-0.0E+00,"b":1e400,"c":10,"d":[[],{},[{}]]}`, chat)
	f(`{"a":`+strings.Repeat("[", 511)+strings.Repeat("]", 511)+`}`, chat)
	f(`{"a":`+strings.Repeat("9", 1<<20)+`}`, chat)
	f(`{"stream_options":{"includeusage":1,"INCLUDE_USAGE_":2}}`, chat)
}

func TestScanOptions(t *testing.T) {
	f := func(options string, include bool, value string) {
		t.Helper()
		body := []byte(`{"stream_options":` + options + `}`)
		var c Call
		require.NoError(t, Scan(body, chat, &c), options)
		assert.Equal(t, include, c.IncludeUsage)
		assert.Equal(t, value, string(c.IncludeUsageValue.In(body)))
		assert.Equal(t, options, string(c.StreamOptions.In(body)))
	}
	f("null", false, "")
	f("{}", false, "")
	f("{ }", false, "")
	f(`{ "a" : {"include_usage":true} , "b":[1,2] }`, false, "")
	f(`{"a":1,"include_usage":false}`, false, "false")
	f(`{"include_usage" : null , "b":1}`, false, "null")
	f(`{"include_usage":true}`, true, "true")
}

func TestScanTooLong(t *testing.T) {
	require.NoError(t, checkLength(math.MaxInt32))
	var e *helixflow.Error
	require.ErrorAs(t, checkLength(math.MaxInt32+1), &e)
	assert.Equal(t, helixflow.KindBodyTooLarge, e.Kind)
}

func TestScanAllocates(t *testing.T) {
	bodies := [][]byte{longBody(32 << 10), shortBody(32 << 10), []byte(`{"model":"\u0061","Extra":1,"ключ":2,"stream_options":{"include_usage":true}}`)}
	var c Call
	for _, body := range bodies {
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			if Scan(body, chat, &c) != nil || len(c.ModelName(body)) == 0 {
				panic("refused")
			}
		}))
	}
}

// TestScanNested nests arrays and objects in no order to each depth, and closes
// one of them with the bracket of the other kind.
func TestScanNested(t *testing.T) {
	f := func(depth int) {
		t.Helper()
		var head, tail []byte
		for d := range depth {
			if d*d%7 < 3 {
				head, tail = append(head, `{"k":`...), append(tail, '}')
			} else {
				head, tail = append(head, "[1,"...), append(tail, ']')
			}
		}
		slices.Reverse(tail)
		body := func() []byte { return slices.Concat([]byte(`{"a":`), head, []byte("0"), tail, []byte(",\"b\":[{}]}")) }
		require.NoError(t, Scan(body(), chat, new(Call)), "depth %d", depth)
		for i := range tail {
			tail[i] ^= '}' ^ ']'
			require.Error(t, Scan(body(), chat, new(Call)), "depth %d, bracket %d", depth, i)
			tail[i] ^= '}' ^ ']'
		}
	}
	for _, depth := range []int{1, 2, 3, 62, 63, 64, 65, 66, 127, 128, 129, 130, 510, 511} {
		f(depth)
	}
}

// TestSkipStringEverywhere puts each byte at each place of strings around the
// block sizes, against a look at single bytes.
func TestSkipStringEverywhere(t *testing.T) {
	for size := range 80 {
		for at := range size {
			for _, c := range []byte{0, 0x1f, ' ', '!', '"', '#', '\\', '[', ']', 0x7f, 0x80, 0xa2, 0xdc, 0xff} {
				b := bytes.Repeat([]byte{'a', 0xc3, 0x80}, size/3+1)[:size]
				b[at] = c
				want := size
				if c < ' ' || c == '"' || c == '\\' {
					want = at
				}
				require.Equal(t, want, skipText(b, 0), "size %d, %#x at %d", size, c, at)
			}
		}
	}
}

var scanSeeds = []string{
	"", "{}", "[]", "{", "null", "\xef\xbb\xbf{}", `{"model":"a"}`, `{"model":"\u0061\ud83d\ude00"}`, `{"model":"a","model":"b"}`, `{"model":"a","Model":"b"}`,
	`{"mod\u0065l":"a"}`, `{"ſtream":true}`, `{"model":"a","stream":true,"stream_options":{"include_usage":false}}`,
	`{"model":"m","stream":true,"stream_options":null,"n":2,"max_tokens":7,"max_completion_tokens":5,"user":"u\n","messages":[{"role":"user","content":"hi \"there\" é"}]}`,
	`{"model":"m","stream":true,"stream_options":{"a":[1,{"b":null}]},"input":["a"],"prompt":"p","tools":[],"conversation":"c","instructions":"i"}`,
	`{"system":[1],"functions":[],"system":"s","cache_salt":"a","cache_salt":null,"System":1}`,
	`{"a":1.5e+3,"b":[true,false,null],"c":{"d":{}}} `, `{"a":01}`, "{\"a\":\"\x00\"}", "{\"a\":\"\xff\"}", `{"a":1}x`, `{"a":"x` + strings.Repeat("0123456789", 9) + `\t"}`,
}

func FuzzScan(f *testing.F) {
	for _, s := range scanSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		var c Call
		err := Scan(body, chat, &c)
		require.Equal(t, before, body)
		if err != nil {
			var e *helixflow.Error
			require.True(t, errors.As(err, &e) && e.Public != "")
			return
		}
		require.True(t, json.Valid(body), "encoding/json accepts what Scan does")
		var m map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &m))
		agree(t, body, &c, m)
	})
}

// agree compares c with the members m that encoding/json found in body.
func agree(t *testing.T, body []byte, c *Call, m map[string]json.RawMessage) {
	for k := range m {
		for _, p := range policyNames {
			require.False(t, k != p && strings.EqualFold(k, p), "%q is a spelling of %q", k, p)
		}
	}
	raw := func(key string) string {
		if string(m[key]) == "null" {
			return ""
		}
		return string(m[key])
	}
	for key, s := range map[string]Span{"conversation": c.Conversation, "messages": c.Messages, "input": c.Input, "prompt": c.Prompt, "instructions": c.Instructions, "tools": c.Tools, "system": c.System, "functions": c.Functions, "cache_salt": c.CacheSalt} {
		require.Equal(t, raw(key), string(s.In(body)), key)
	}
	for key, s := range map[string]Span{
		"stream": c.StreamValue, "stream_options": c.StreamOptions, "max_tokens": c.LimitValues[0],
		"max_completion_tokens": c.LimitValues[1], "max_output_tokens": c.LimitValues[2],
	} {
		require.Equal(t, string(m[key]), string(s.In(body)), key)
	}
	for key, s := range map[string]Span{
		"model": c.Model, "user": c.User, "safety_identifier": c.SafetyIdentifier, "prompt_cache_key": c.PromptCacheKey,
		"previous_response_id": c.PreviousResponseID, "service_tier": c.ServiceTier,
	} {
		require.Equal(t, raw(key) != "", s.Present(), key)
		if s.Present() {
			require.Equal(t, raw(key), `"`+string(s.In(body))+`"`, key)
		}
	}
	var want struct {
		Model               string                     `json:"model"`
		Stream              bool                       `json:"stream"`
		StreamOptions       map[string]json.RawMessage `json:"stream_options"`
		N                   *int64                     `json:"n"`
		MaxTokens           *int64                     `json:"max_tokens"`
		MaxCompletionTokens *int64                     `json:"max_completion_tokens"`
		MaxOutputTokens     *int64                     `json:"max_output_tokens"`
	}
	require.NoError(t, json.Unmarshal(body, &want))
	require.Equal(t, want.Model, string(c.ModelName(body)))
	require.Equal(t, want.Model, gjson.GetBytes(body, "model").String())
	require.Equal(t, want.Stream, c.Stream)
	require.Equal(t, string(want.StreamOptions["include_usage"]), string(c.IncludeUsageValue.In(body)))
	require.Equal(t, string(want.StreamOptions["include_usage"]) == "true", c.IncludeUsage)
	limit, n := int64(math.MaxInt64), int64(1)
	for _, v := range []*int64{want.MaxTokens, want.MaxCompletionTokens, want.MaxOutputTokens} {
		if v != nil {
			limit = min(limit, *v)
		}
	}
	if limit == math.MaxInt64 {
		limit = -1
	}
	if want.N != nil {
		n = *want.N
	}
	require.Equal(t, limit, c.MaxTokens)
	require.Equal(t, n, c.N)
	require.Equal(t, byte('}'), body[c.Close])
	require.Empty(t, strings.TrimSpace(string(body[c.Close+1:])))
}

var policyNames = []string{
	"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "user", "safety_identifier",
	"prompt_cache_key", "previous_response_id", "service_tier", "conversation", "messages", "input", "prompt", "instructions", "tools",
}

// longBody is a request of about n bytes with few long strings.
func longBody(n int) []byte {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog, and then rests a while. ", n/138)
	return fmt.Appendf(nil, `{"model":"llama-3.1-70b","stream":true,"messages":[{"role":"system","content":"%s"},{"role":"user","content":"%s"}],"max_tokens":100}`, text, text)
}

// shortBody is a request of about n bytes with many short strings.
func shortBody(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"model":"llama-3.1-70b","stream":true,"messages":[`)
	for i := 0; b.Len() < n-100; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"role":"user","content":"question %d: why is the sky blue?"}`, i)
	}
	b.WriteString(`],"max_tokens":100}`)
	return b.Bytes()
}

func BenchmarkScan(b *testing.B) {
	f := func(name string, body []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var c Call
			for b.Loop() {
				if err := Scan(body, chat, &c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("long32K", longBody(32<<10))
	f("short32K", shortBody(32<<10))
	f("1K", longBody(1<<10))
}
