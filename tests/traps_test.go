package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	namedTests = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	testFuncs  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
)

// TestTrapsHaveTests: each line of docs/explanation/routing-traps.md names tests, and
// all that it names are there.
func TestTrapsHaveTests(t *testing.T) {
	there := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range testFuncs.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	}))
	page, err := os.ReadFile(filepath.Join(root, "docs", "explanation", "routing-traps.md"))
	require.NoError(t, err)
	lines := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| trap") {
			continue
		}
		lines++
		names := namedTests.FindAllStringSubmatch(line, -1)
		assert.NotEmpty(t, names, line)
		for _, m := range names {
			assert.True(t, there[m[1]], "%s is named, and is not there", m[1])
		}
	}
	assert.Greater(t, lines, 20)
}
