package configs

// Files of backends: those that may be used, and what is said of the others.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadBackends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gpus.yaml")
	f := func(text string, want ...Backend) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := ReadBackends(path)
		require.NoError(t, err, text)
		assert.Equal(t, want, got)
	}
	one := Backend{URL: "http://10.0.0.1:8000", Weight: 1, Tier: 1}
	f("backends: [{url: \"http://10.0.0.1:8000\"}]", one)
	f(`{"backends": [{"url": "http://10.0.0.1:8000"}, {"url": "https://[fd00::1]:8000/v1", "weight": 3, "max_inflight": 8}]}`,
		one, Backend{URL: "https://[fd00::1]:8000/v1", Weight: 3, Tier: 1, MaxInflight: 8})
	f("\uFEFFbackends:\r\n  - url: sim:a\r\n", Backend{URL: "sim:a", Weight: 1, Tier: 1})
}

func TestReadBackendsRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gpus.yaml")
	f := func(text, want string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := ReadBackends(path)
		require.ErrorContains(t, err, want)
		assert.Empty(t, got)
		assert.NotContains(t, FirstProblem(err), "\n")
		assert.NotContains(t, err.Error(), leak)
	}
	f("", "is empty")
	f("# nothing\n", "is empty")
	f("backends: []", "is empty: it needs at least 1")
	f("backends:", "has no value")
	f("[]", "must be a mapping")
	f("- url: http://a:1\n", "must be a mapping")
	f("pools: []", "unknown key")
	f("backends: [{}]", "url: is missing")
	f("backends: [{url: \"ftp://a:1\"}]", "backends[0].url")
	f("backends: [{url: \"http://user:"+leak+"@a:1\"}]", "holds a user name or password")
	f("backends: [{url: \"http://${HOME}:1\"}]", "HOME")
	f("backends: [{url: \"http://a:1\"}, {url: \"http://A:1/\"}]", "is already")
	f("backends: [{url: \"http://a:1\", weigth: 2}]", "weight")
	f("backends: [{url: \"http://a:1\", tls: {ca: /x}}]", "has no use")
	f("backends: [{url: \"http://a:1\"}", "")
	f("backends: &a [*a]", "")
	f("\x00", "")
	f(strings.Repeat("#", maxBackendsFile+1), "bigger than")
	f("backends:"+strings.Repeat("\n  - url: \"http://a\"", 300), "")
	_, err := ReadBackends(filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "no such file")
}
