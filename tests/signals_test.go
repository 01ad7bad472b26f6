package tests

// The table of what the router reads of engines is made of what the code says.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/backends/signals"
)

func TestReferenceSignals(t *testing.T) {
	path := filepath.Join(root, "docs", "reference", "engines.md")
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	const begin, end = "<!-- signals: kept by tests/signals_test.go -->\n", "<!-- end -->\n"
	before, rest, ok := strings.Cut(string(page), begin)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	whole := before + begin + signalsTable() + end + after
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(whole), 0o644))
		return
	}
	require.Equal(t, whole, string(page), "%s is stale: make generate", path)
}

func signalsTable() string {
	var b strings.Builder
	columns := []struct {
		head     string
		meanings []signals.Meaning
	}{
		{"running", []signals.Meaning{signals.Running}},
		{"waiting", []signals.Meaning{signals.Waiting}},
		{"KV cache in use", []signals.Meaning{signals.KVUse}},
		{"KV cache in tokens", []signals.Meaning{signals.KVTokens, signals.KVBlocks, signals.BlockTokens}},
		{"slots", []signals.Meaning{signals.Slots}},
		{"prefix cache", []signals.Meaning{signals.Asked, signals.Found, signals.HitShare}},
		{"thrown out", []signals.Meaning{signals.Preempted}},
	}
	b.WriteString("| `engine` | where |")
	for _, c := range columns {
		b.WriteString(" " + c.head + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, p := range signals.Presets() {
		b.WriteString("| `" + p.Engine + "` | `" + p.Path + "` |")
		for _, c := range columns {
			var names []string
			for _, m := range c.meanings {
				for _, name := range p.Names(m) {
					names = append(names, "`"+name+"`")
				}
			}
			b.WriteString(" " + strings.Join(names, ", ") + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
