package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

// members reads "name=value name=value", values without spaces.
func members(list string) (m []Member) {
	for _, pair := range strings.Fields(list) {
		name, value, _ := strings.Cut(pair, "=")
		m = append(m, Member{name, []byte(value)})
	}
	return m
}

// compiled reads rules as "defaults|caps|drops".
func compiled(t testing.TB, rules string) *Params {
	t.Helper()
	part := strings.Split(rules, "|")
	p, err := CompileParams(members(part[0]), members(part[1]), strings.Fields(part[2]))
	require.NoError(t, err)
	return p
}

// ruled returns body after rules, and what Call says then.
func ruled(t *testing.T, rules, body string, op helixflow.Op) (string, *Call, error) {
	t.Helper()
	c, e := new(Call), new(Edits)
	require.NoError(t, Scan([]byte(body), op, c), body)
	if err := compiled(t, rules).Apply([]byte(body), c, e); err != nil {
		return "", c, err
	}
	return apply(t, e, body), c, nil
}

func TestParams(t *testing.T) {
	f := func(rules, body, want string) {
		t.Helper()
		got, c, err := ruled(t, rules, body, chat)
		require.NoError(t, err, body)
		assert.Equal(t, want, got)
		var again Call
		require.NoError(t, Scan([]byte(got), chat, &again), got)
		assert.Equal(t, again.MaxTokens, c.MaxTokens, "what the backend reads of %s", got)
		assert.Equal(t, again.N, c.N, "what the backend reads of %s", got)
	}
	same := func(rules, body string) { t.Helper(); f(rules, body, body) }

	same("||", `{"a":1}`)

	// Defaults.
	f("t=0.7||", `{}`, `{"t":0.7}`)
	f("t=0.7||", `{ }`, `{ "t":0.7}`)
	f("t=0.7||", `{"a":1}`, `{"a":1,"t":0.7}`)
	f("t=0.7||", `{"a":1 } `, `{"a":1 ,"t":0.7} `)
	f(`t=0.7 s=["x",null] r={"k":1}||`, `{"a":1}`, `{"a":1,"t":0.7,"s":["x",null],"r":{"k":1}}`)
	f("z=1 a=2||", `{}`, `{"z":1,"a":2}`)
	same("t=0.7||", `{"t":0}`)
	same("t=0.7||", `{"t":null}`)
	same("t=0.7||", `{"t":"0"}`)
	f("t=0.7||", `{"x":{"t":1},"y":"\"t\":1"}`, `{"x":{"t":1},"y":"\"t\":1","t":0.7}`)
	f("n=3||", `{}`, `{"n":3}`)
	f("n=null max_tokens=null||", `{}`, `{"n":null,"max_tokens":null}`)

	// Caps.
	f("|t=1|", `{"t":2}`, `{"t":1}`)
	f("|t=1.50|", `{"t" : 1.6 ,"a":0}`, `{"t" : 1.50 ,"a":0}`)
	same("|t=1|", `{"t":1}`)
	same("|t=1|", `{"t":1.0}`)
	same("|t=1|", `{"t":-1e400}`)
	same("|t=1|", `{"t":1e-400}`)
	same("|t=1|", `{"t":null}`)
	same("|t=1|", `{}`)
	same("|t=-1|", `{"t":-2}`)
	f("|t=-1|", `{"t":-0.5}`, `{"t":-1}`)
	f("|t=1|", `{"t":1e400}`, `{"t":1}`)
	f("|t=1e3|", `{"t":1000.5}`, `{"t":1e3}`)
	f("|max_tokens=10|", `{"max_tokens":11,"max_completion_tokens":11}`, `{"max_tokens":10,"max_completion_tokens":11}`)
	f("|max_tokens=10 max_completion_tokens=5|", `{"max_tokens":9,"max_completion_tokens":11}`, `{"max_tokens":9,"max_completion_tokens":5}`)
	f("|max_output_tokens=10|", `{"max_output_tokens":9007199254740992}`, `{"max_output_tokens":10}`)
	same("|max_tokens=10|", `{"max_tokens":null,"max_completion_tokens":3}`)
	f("|n=2|", `{"n":1024}`, `{"n":2}`)
	f("t=1|t=2|", `{}`, `{"t":1}`)
	f("t=1|t=2|", `{"t":3}`, `{"t":2}`)

	// Drops: first, last, between, neighbours, all; and the space around them.
	f("||x", `{"x":1}`, `{}`)
	f("||x", `{ "x":1 }`, `{  }`)
	f("||x", `{"x":1,"a":2}`, `{"a":2}`)
	f("||x", `{"a":2,"x":1}`, `{"a":2}`)
	f("||x", `{"a":2,"x":1,"b":3}`, `{"a":2,"b":3}`)
	f("||x", `{ "a" : 2 , "x" : 1 , "b" : 3 }`, `{ "a" : 2 , "b" : 3 }`)
	f("||x", "{\n\t\"x\": 1,\n\t\"b\": 3\n}", "{\n\t\"b\": 3\n}")
	f("||x", "{\n\t\"b\": 3,\n\t\"x\": 1\n}", "{\n\t\"b\": 3\n}")
	f("||x y", `{"x":1,"y":2}`, `{}`)
	f("||x y", `{ "x":1 , "y":2 , "a":3}`, `{ "a":3}`)
	f("||x y", `{"a":3,"y":[1,{"x":2}],"x":"}"}`, `{"a":3}`)
	f("||x y", `{"a":3,"y":1,"x":2,"b":4}`, `{"a":3,"b":4}`)
	f("||x y z", `{"x":0,"a":1,"y":2,"b":3,"z":4}`, `{"a":1,"b":3}`)
	f("||x y z", `{"x":0,"y":2,"a":1,"z":4,"b":3}`, `{"a":1,"b":3}`)
	f("||max_tokens n", `{"max_tokens":3,"n":5,"max_completion_tokens":8}`, `{"max_completion_tokens":8}`)
	f("||tools user", `{"tools":[{"a":"]"}],"user":"u","messages":[]}`, `{"messages":[]}`)
	same("||x", `{"a":{"x":1}}`)

	// All together.
	f("t=1||x", `{"x":1}`, `{"t":1}`)
	f("t=1 u=2||x y", `{ "x":1, "y":1 }`, `{  "t":1,"u":2}`)
	f("t=1||x", `{"a":1,"x":1}`, `{"a":1,"t":1}`)
	f("d=[]|a=1 b=1|x y", `{"x":0,"a":2,"y":0,"b":2}`, `{"a":1,"b":1,"d":[]}`)
	f("max_tokens=7||max_completion_tokens", `{"max_completion_tokens":5}`, `{"max_tokens":7}`)

	// A limit of another name is a limit: the default would make two of them.
	same("max_tokens=7||", `{"max_completion_tokens":5}`)
	f("max_tokens=7||", `{"max_completion_tokens":null}`, `{"max_completion_tokens":null,"max_tokens":7}`)
	f("max_tokens=7 max_completion_tokens=8||", `{}`, `{"max_tokens":7}`)
	f("max_output_tokens=9 max_completion_tokens=8||", `{}`, `{"max_completion_tokens":8}`)
}

func TestParamsByOperation(t *testing.T) {
	f := func(op helixflow.Op, want string) {
		t.Helper()
		got, _, err := ruled(t, "max_output_tokens=9 max_completion_tokens=8 max_tokens=7 t=1||", `{}`, op)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	f(helixflow.OpChatCompletions, `{"max_completion_tokens":8,"t":1}`)
	f(helixflow.OpCompletions, `{"max_tokens":7,"t":1}`)
	f(helixflow.OpResponses, `{"max_output_tokens":9,"t":1}`)
	f(helixflow.OpEmbeddings, `{"t":1}`)
}

func TestParamsRefuse(t *testing.T) {
	f := func(rules, body string, kind helixflow.Kind, param, text string) {
		t.Helper()
		_, _, err := ruled(t, rules, body, chat)
		var e *helixflow.Error
		require.ErrorAs(t, err, &e, body)
		assert.Equal(t, kind, e.Kind, body)
		assert.Equal(t, param, e.Param, body)
		assert.Contains(t, e.Public, text, body)
		assert.Less(t, len(e.Public), 200)
	}
	for _, rules := range []string{"temp=1||", "|temp=1|", "||temp"} {
		f(rules, `{"temp":1,"a":1,"temp":1}`, helixflow.KindDuplicateKey, "temp", "'temp' is given twice (byte 17)")
		f(rules, `{"Temp":1}`, helixflow.KindDuplicateKey, "temp", "byte 2 is another spelling of 'temp'")
		f(rules, `{"temp":1,"TEMP":1}`, helixflow.KindDuplicateKey, "temp", "another spelling")
	}
	f("||skip_it", `{"ſ`+`kip_it":1}`, helixflow.KindDuplicateKey, "skip_it", "another spelling")
	f("||topK", `{"topk":1}`, helixflow.KindDuplicateKey, "topK", "another spelling")
	for _, v := range []string{`"9"`, "true", "[9]", "{}", `""`, strings.Repeat("9", 33)} {
		f("|t=1|", `{"t":`+v+`}`, helixflow.KindInvalidRequest, "t", "'t' must be a number of at most 32 characters (byte 5)")
	}
	_, _, err := ruled(t, "temp=1||skip_it", `{"tem":1,"temp_":1,"":1,"ſ":1,"skip_i":1,"Other":1}`, chat)
	assert.NoError(t, err, "other keys are the backend's affair")
}

func TestCompileParams(t *testing.T) {
	f := func(defaults, caps []Member, drops []string, text string) {
		t.Helper()
		p, err := CompileParams(defaults, caps, drops)
		require.ErrorContains(t, err, text)
		assert.Nil(t, p)
	}
	bad := func(rules, text string) {
		t.Helper()
		part := strings.Split(rules, "|")
		f(members(part[0]), members(part[1]), strings.Fields(part[2]), text)
	}
	p, err := CompileParams(nil, nil, nil)
	require.NoError(t, err)
	assert.Nil(t, p)
	assert.NoError(t, p.Apply(nil, nil, nil), "no rules")

	for _, name := range []string{"a-b", "a.b", "é", `a"b`, "a b", strings.Repeat("x", 65)} {
		f([]Member{{name, []byte("1")}}, nil, nil, "cannot use the default of "+strconv.Quote(name)+": a name is 1 to 64 letters")
		f(nil, nil, []string{name}, "cannot drop "+strconv.Quote(name))
	}
	f(nil, nil, []string{""}, "a name is 1 to 64")
	for _, name := range []string{"model", "stream", "stream_options", "messages", "input", "prompt", "conversation", "previous_response_id", "cache_salt"} {
		bad(name+"=1||", "it says where a request goes")
		bad("||"+name, "it says where a request goes")
	}
	bad("||Model", "must be one JSON value") // another spelling of a policy key
	bad("t=1 t=2||", `cannot use the default of "t": it has another rule already`)
	bad("|t=1 t=2|", "another rule already")
	bad("||t t", "another rule already")
	bad("t=1||t", `cannot drop "t": it has another rule already`)
	bad("|t=1|t", "another rule already")
	bad("topK=1||topk", `it differs from "topK" in case only`)
	bad("|t=x|", "must be one JSON value")
	bad(`|t="1"|`, "must be a number")
	bad("|t=null|", "must be a number")
	bad("|t=1e999|", "must be a number")
	bad("|t="+strings.Repeat("1", 33)+"|", "a number of at most 32 characters")
	bad("t=3|t=2|", "the default is 3, which must be a number and not above it")
	bad(`t="a"|t=2|`, `the default is "a"`)
	bad("max_tokens=-1||", `cannot use the default of "max_tokens": 'max_tokens' must be an integer, 0 or more`)
	bad("|max_tokens=1.5|", "must be an integer, 0 or more")
	bad("|n=0|", "from 1 to 1024")
	bad("|user=1|", "'user' must be a string")
	for _, v := range []string{"", " 1", "1 ", "1,", `1,"b":2`, "1}", "01", "\"\n\"", "\"\xff\"", "tru", strings.Repeat("[", 600)} {
		f([]Member{{"x", []byte(v)}}, nil, nil, "must be one JSON value")
	}

	var many []string
	for i := range MaxParams {
		many = append(many, fmt.Sprint("p", i))
	}
	_, err = CompileParams(nil, nil, many)
	require.NoError(t, err)
	f(nil, nil, append(many, "more"), "cannot use rules for 21 parameters: at most 20")
}

// TestParamsFill needs an edit for each rule, beside those of the router.
func TestParamsFill(t *testing.T) {
	rules, body := "", `{"model":"m","stream":true`
	for i := range MaxParams {
		rules += fmt.Sprintf(" p%d=1", i)
		if i%2 == 0 {
			body += fmt.Sprintf(`,"p%d":2`, i)
		}
	}
	p := compiled(t, rules+"|"+rules+"|")
	var c Call
	var e Edits
	require.NoError(t, Scan([]byte(body+"}"), chat, &c))
	e.Replace(c.Model, []byte("other"))
	InjectUsage(&c, &e)
	require.NoError(t, p.Apply([]byte(body+"}"), &c, &e))
	assert.Equal(t, maxEdits-2, e.n)
	require.True(t, json.Valid([]byte(apply(t, &e, body+"}"))))
}

const benchRules = "temperature=0.7 top_p=0.9 repetition_penalty=1.1|max_tokens=50 max_completion_tokens=50|logit_bias metadata"

func TestParamsAllocate(t *testing.T) {
	p := compiled(t, benchRules)
	body := []byte(`{"model":"m","metadata":{},"top_p":0.30000000000000000000000000001,"max_tokens":9007199254740992,"logit_bias":{}}`)
	var c Call
	var e Edits
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		e.Reset()
		if Scan(body, chat, &c) != nil || p.Apply(body, &c, &e) != nil {
			panic("refused")
		}
	}))
	assert.Equal(t, 5, e.n)
}

// FuzzParams holds the edited body against the original decoded, changed and
// compared member by member.
func FuzzParams(f *testing.F) {
	sets := []string{
		benchRules, "a=1 b=[2]|c=3|d e", "a={}|a1=2 n=2|b", "max_tokens=5 n=2|max_completion_tokens=3|max_output_tokens",
		"max_completion_tokens=4|max_completion_tokens=4 max_tokens=0|n", "||a b c d e user tools stream_opts",
	}
	for i := range sets {
		for _, s := range scanSeeds {
			f.Add([]byte(s), uint8(i))
		}
		f.Add([]byte(`{"d":1 , "a":2,"stream":true,"e":"x","c":4e0, "b":null,"max_tokens":7,"n":9,"logit_bias":{},"d":5}`), uint8(i))
		f.Add([]byte(`{ "d":1 , "e":"x","max_completion_tokens":11,"temperature":2,"metadata":0,"a":1,"b":[{}],"user":"u" } `), uint8(i))
	}
	f.Fuzz(func(t *testing.T, body []byte, pick uint8) {
		rules := sets[int(pick)%len(sets)]
		var c, again Call
		var e Edits
		if Scan(body, chat, &c) != nil {
			return
		}
		if c.Model.Present() {
			e.Replace(c.Model, []byte("renamed"))
		}
		before := pick < 128
		injected := before && InjectUsage(&c, &e)
		if err := compiled(t, rules).Apply(body, &c, &e); err != nil {
			var he *helixflow.Error
			require.ErrorAs(t, err, &he)
			return
		}
		injected = injected || !before && InjectUsage(&c, &e)
		got := apply(t, &e, string(body))
		want := changed(t, body, rules)
		if c.Model.Present() {
			want["model"] = json.RawMessage(`"renamed"`)
		}
		var have map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(got), &have), got)
		if injected {
			want["stream_options"] = have["stream_options"] // FuzzEdits looks at it
		}
		require.Equal(t, text(want), text(have))
		require.NoError(t, Scan([]byte(got), chat, &again), got)
		require.Equal(t, again.MaxTokens, c.MaxTokens)
		require.Equal(t, again.N, c.N)
	})
}

// changed is the slow reference: body as a map, with rules applied to it.
func changed(t *testing.T, body []byte, rules string) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(body, &m))
	part := strings.Split(rules, "|")
	for _, name := range strings.Fields(part[2]) {
		delete(m, name)
	}
	for _, most := range members(part[1]) {
		limit, err := strconv.ParseFloat(string(most.Value), 64)
		require.NoError(t, err)
		var v *float64
		raw, given := m[most.Name]
		switch err := json.Unmarshal(raw, &v); {
		case !given:
		case err != nil: // beyond float64
			if !bytes.HasPrefix(raw, []byte("-")) {
				m[most.Name] = most.Value
			}
		case v != nil && *v > limit:
			m[most.Name] = most.Value
		}
	}
	limited := func() bool {
		for _, name := range limitNames {
			if v := m[name]; v != nil && string(v) != "null" {
				return true
			}
		}
		return false
	}
	for _, d := range members(part[0]) {
		if _, given := m[d.Name]; given || d.Name == "max_output_tokens" || strings.HasPrefix(d.Name, "max_") && limited() {
			continue
		}
		m[d.Name] = d.Value
	}
	return m
}

// text makes raw members readable in a failure.
func text(m map[string]json.RawMessage) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// TestNumber compares with encoding/json, as a backend reads it.
func TestNumber(t *testing.T) {
	for _, s := range []string{"0", "-0", "1", "-1", "0.1", "1e5", "1E-5", "0.30000000000000004", "9007199254740993", "1.7976931348623157e308", "-0.0e+00"} {
		var want float64
		require.NoError(t, json.Unmarshal([]byte(s), &want))
		got, ok := number([]byte(s))
		assert.True(t, ok, s)
		assert.Equal(t, want, got, s)
	}
	inf, ok := number([]byte("1e999"))
	assert.True(t, ok && math.IsInf(inf, 1))
	for _, s := range []string{"", "null", `"1"`, "[1]", "true", "Inf", "0x1p", "-x"} {
		_, ok := number([]byte(s))
		assert.False(t, ok, s)
	}
}

func BenchmarkParams(b *testing.B) {
	p := compiled(b, benchRules)
	f := func(name string, body []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var c Call
			var e Edits
			if err := Scan(body, chat, &c); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				e.Reset()
				if err := p.Apply(body, &c, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("long32K", longBody(32<<10))
	f("short32K", shortBody(32<<10))
	f("1K", longBody(1<<10))
	f("unknown32K", []byte(strings.Replace(string(longBody(32<<10)), `"messages"`, `"unknown"`, 1)))
}
