package configs

// What is accepted and what is refused, file by file: testdata/good loads,
// each of testdata/bad has what is said of it beside it. With -update the
// expectations are written instead.

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the expectations instead of comparing them")

// leak stands in every secret of the tests: no message may hold it.
const leak = "hunter2"

func testEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"EMPTY":                "",
		"FLAG":                 "true",
		"WORD":                 leak,
		"LONG":                 strings.Repeat(leak, 8),
		"NEWLINE":              leak + "\nx",
		"POOL":                 "llama",
		"NUMBER":               "12",
		"SIZE":                 "1MiB",
		"OPENAI_API_KEY":       "sk-" + leak,
		"EGRESS_PROXY":         "http://user:" + leak + "@proxy.example.com:3128",
		"HELIXFLOW_OLD_PEPPER": strings.Repeat(leak, 8),
	}[name]
	return value, ok
}

func testFile(name string) ([]byte, error) {
	content, ok := map[string]string{
		"/run/secrets/pepper-2": strings.Repeat(leak, 8) + "\n",
		"/run/secrets/key":      leak + "\r\n",
		"/run/secrets/empty":    "\n",
		"/run/secrets/big":      strings.Repeat(leak, maxSecretFile),
		"/run/secrets/lines":    leak + "\n" + leak,
	}[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
	}
	return []byte(content), nil
}

func parseTest(t *testing.T, path string) (*Config, error) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return Parse(filepath.Base(path), data, testEnv, testFile)
}

func files(t *testing.T, least int, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		all = append(all, found...)
	}
	require.GreaterOrEqual(t, len(all), least)
	return all
}

var goodFiles = []string{"*.yaml", "examples/*.yaml", "testdata/good/*.yaml"}

func TestGood(t *testing.T) {
	for _, path := range files(t, 10, goodFiles...) {
		t.Run(path, func(t *testing.T) {
			c, err := parseTest(t, path)
			require.NoError(t, err)
			require.NotEmpty(t, c.Models)
		})
	}
}

func TestShippedFilesNameTheirSchema(t *testing.T) {
	for _, path := range files(t, 6, "*.yaml", "examples/*.yaml") {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(data), "\n")
		name, ok := strings.CutPrefix(first, "# yaml-language-server: $schema=")
		require.True(t, ok, path)
		require.FileExists(t, filepath.Join(filepath.Dir(path), name))
	}
}

func TestBad(t *testing.T) {
	for _, path := range files(t, 40, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			c, err := parseTest(t, path)
			require.Error(t, err)
			require.Nil(t, c)
			var problems Problems
			require.ErrorAs(t, err, &problems)
			got := problems.Error() + "\n"
			assert.NotContains(t, got, leak)
			want := strings.TrimSuffix(path, ".yaml") + ".want"
			if *update {
				require.NoError(t, os.WriteFile(want, []byte(got), 0o644))
				return
			}
			expected, err := os.ReadFile(want)
			require.NoError(t, err)
			assert.Equal(t, string(expected), got)
		})
	}
}
