package compat

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPageIsOfTodaysClients(t *testing.T) {
	f := func(want string, change func(dir string)) {
		t.Helper()
		dir := t.TempDir()
		copyPins(t, dir)
		change(dir)
		_, err := Page(dir)
		require.ErrorContains(t, err, want)
	}
	edit := func(file, old, replacement string) func(dir string) {
		return func(dir string) {
			path := filepath.Join(dir, filepath.FromSlash(file))
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, string(data), old)
			require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(data), old, replacement, 1)), 0o600))
		}
	}
	results := func(change func(all map[string]Result)) func(dir string) {
		return func(dir string) {
			all, err := ReadResults(dir)
			require.NoError(t, err)
			change(all)
			data, err := json.Marshal(all)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, resultsFile), data, 0o600))
		}
	}
	f("is pinned", edit("python/requirements.txt", "\nopenai==", "\nopenai==9"))
	f("is pinned", edit("node/package-lock.json", `"node_modules/openai": {
      "version": "`, `"node_modules/openai": {
      "version": "9`))
	f("is pinned", edit("go/go.mod", "openai-go/v3 v", "openai-go/v3 v9"))
	f("is pinned", edit("java/pom.xml", "<version>4.", "<version>9."))
	f("cannot find openai in python/requirements.txt", edit("python/requirements.txt", "\nopenai==", "\nopenai>="))
	f("openai-node has no result of tools", results(func(all map[string]Result) { delete(all["openai-node"].Outcomes, "tools") }))
	f("a result of tols, which is no case", results(func(all map[string]Result) { all["openai-go"].Outcomes["tols"] = "ok" }))
	f("openai-go has results of map[]", results(func(all map[string]Result) { delete(all, "openai-go") }))
	f("clients that are gone", results(func(all map[string]Result) { all["another"] = Result{} }))
}

// copyPins copies what Page reads.
func copyPins(t *testing.T, dir string) {
	files := []string{resultsFile}
	for _, l := range locks {
		files = append(files, l.file)
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.FromSlash(file))
		require.NoError(t, err)
		path := filepath.Join(dir, filepath.FromSlash(file))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), fs.ModePerm))
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
}

func TestCell(t *testing.T) {
	feature := Feature{Name: "f", Cases: []Case{{Name: "one"}, {Name: "two"}}}
	f := func(one, two, want string) {
		t.Helper()
		assert.Equal(t, want, cell(&feature, &Result{Outcomes: map[string]string{"one": one, "two": two}}))
	}
	f("ok", "ok SomeError", "ok")
	f("ok", "n/a: it cannot", "1/2")
	f("n/a: it cannot", "n/a: it cannot", "n/a")
}

// TestCasesAreDistinct: a result belongs to a name.
func TestCasesAreDistinct(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range Features {
		for _, c := range f.Cases {
			assert.False(t, seen[c.Name], c.Name)
			assert.NotEmpty(t, c.Proves, c.Name)
			assert.NotZero(t, c.Want, c.Name)
			seen[c.Name] = true
		}
	}
}
