package router

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/router/admission"
)

// TestReasonsAreDocumented: the reference knows every reason, and no other.
func TestReasonsAreDocumented(t *testing.T) {
	code, err := os.ReadFile("reason.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../docs/reference/headers.md")
	require.NoError(t, err)
	words := func(text []byte, pattern string) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			list = append(list, string(m[1]))
		}
		return list
	}
	in := words(code, `(?m)^\treason\w+ += "(\w+)"`)
	require.Greater(t, len(in), 10)
	at := regexp.MustCompile(`(?m)^## Reasons$`).FindIndex(page)
	require.NotNil(t, at)
	assert.ElementsMatch(t, in, words(page[at[1]:], "(?m)^\\| `(\\w+)` \\|"))
	for l := range admission.NumLevels {
		assert.Contains(t, string(page), "`"+l.String()+"`")
	}
	for k := range admission.NumKinds {
		assert.Contains(t, string(page), "`"+k.String()+"`")
	}
}
