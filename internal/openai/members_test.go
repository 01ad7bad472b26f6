package openai

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// visited is what Members visits, as "key=value" with commas between.
func visited(text string) (string, bool) {
	var list []string
	ok := Members([]byte(text), func(key, value []byte) bool {
		list = append(list, fmt.Sprintf("%s=%s", key, value))
		return true
	})
	return strings.Join(list, ","), ok
}

func TestMembers(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		got, ok := visited(text)
		assert.True(t, ok, text)
		assert.Equal(t, want, got, text)
		assert.True(t, IsObject([]byte(text)), text)
	}
	f(`{}`, ``)
	f(" {\n}\t", ``)
	f(`{"a":1}`, `a=1`)
	f(` { "a" : "x" , "b":{"c":[1,{}]} ,"a":null}`, `a="x",b={"c":[1,{}]},a=null`)
	f(`{"\u0061":true,"":""}`, `\u0061=true,=""`)

	for _, text := range []string{
		``, ` `, `[]`, `1`, `"a"`, `null`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a":1}}`, `{"a":1} {}`, `{"a":1}x`, `{,}`,
		`{a:1}`, `{"a":01}`, `{"a":tru}`, `{"a" 1}`, `{'a':1}`, "{\"a\":\"\n\"}", "\xef\xbb\xbf{}", `{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`,
	} {
		_, ok := visited(text)
		assert.False(t, ok, text)
		assert.False(t, IsObject([]byte(text)), text)
	}

	visits := 0
	assert.False(t, Members([]byte(`{"a":1,"b":2}`), func(_, _ []byte) bool { visits++; return false }))
	assert.Equal(t, 1, visits)
}

// FuzzMembers holds Members and IsObject to encoding/json.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":{"b":[1,2.5e3,"\u00e9\n"]},"c":null}`, `{"a":1}}`, `[{}]`, `{"a":"\ud800"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		last := map[string]string{}
		escaped := false
		ok := Members([]byte(text), func(key, value []byte) bool {
			escaped = escaped || strings.Contains(string(key), `\`)
			last[string(key)] = string(value)
			return true
		})
		require.Equal(t, ok, IsObject([]byte(text)))
		var want map[string]json.RawMessage
		valid := json.Unmarshal([]byte(text), &want) == nil && want != nil
		if !ok {
			require.True(t, !valid || strings.Count(text, "[")+strings.Count(text, "{") > maxDepth, "refused: %q", text)
			return
		}
		require.True(t, valid, "accepted: %q", text)
		if !escaped && strings.ToValidUTF8(text, "") == text {
			require.Len(t, last, len(want))
			for key, value := range want {
				require.Equal(t, string(value), last[key])
			}
		}
	})
}
