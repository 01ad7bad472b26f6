package openai

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeasure(t *testing.T) {
	f := func(value string, text, embedded int64) {
		t.Helper()
		gotText, gotEmbedded := Measure([]byte(value))
		assert.Equal(t, []int64{text, embedded}, []int64{gotText, gotEmbedded})
	}
	f("", 0, 0)
	f(`"hello"`, 7, 0)
	f(`"data:image/png;base64,AAAA"`, 24, 1)
	f(`["data:image/png;base64,AAAABBBB","x","data:audio/wav;base64,CCCC"]`, 55, 2)
	f(`"data:image/png;base64,AAAA`, 23, 1)
}

func TestCutEmbedded(t *testing.T) {
	f := func(value, before, data, rest string, found bool) {
		t.Helper()
		b, d, r := CutEmbedded([]byte(value))
		assert.Equal(t, []string{before, data, rest}, []string{string(b), string(d), string(r)})
		assert.Equal(t, found, d != nil)
	}
	f("", "", "", "", false)
	f(`"a"`, `"a"`, "", "", false)
	f(`["data:image/png;base64,AAAA","x"]`, `["data:image/png;base64,`, "AAAA", `","x"]`, true)
	f(`";base64,","x"`, `";base64,`, "", `","x"`, true)
	f(`";base64,AA`, `";base64,`, "AA", "", true)
}

func TestCutBatch(t *testing.T) {
	f := func(value, first, rest string) {
		t.Helper()
		a, b := CutBatch([]byte(value))
		assert.Equal(t, []string{first, rest}, []string{string(a), string(b)})
	}
	f("", "", "")
	f(`"a"`, `"a"`, "")
	f(`[]`, `[]`, "")
	f(`[ ]`, `[ ]`, "")
	f(`[1,2]`, `[1,2]`, "")
	f(`[{"role":"user"},{}]`, `[{"role":"user"},{}]`, "")
	f(`["a"]`, `["a"`, "]")
	f(`[ "a" ,"b"]`, `[ "a"`, ` ,"b"]`)
	f(`[[1,2],[3]]`, `[[1,2]`, ",[3]]")
	f(`["a`, `["a`, "")
}
