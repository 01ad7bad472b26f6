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
