// These tests run whole command lines that compare and check files.
package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDiff(t *testing.T) {
	old := file(t, goodConfig)
	f := func(text string, want ...string) {
		t.Helper()
		r := helixflow("", "diff", old, file(t, text))
		assert.Equal(t, exitGood, r.code)
		assert.Equal(t, strings.Join(want, "\n")+"\n", r.stdout)
		assert.Empty(t, r.stderr)
	}
	f(goodConfig, "nothing changes")
	f("server: {listen: \":1\", max_body: 1MiB}\n"+goodConfig,
		`server.listen ":8080" → ":1" (needs a restart)`,
		"server.max_body 32MiB → 1MiB")
	f(strings.Replace(goodConfig, "    backends:", "    retry: {attempts: 3}\n    backends:\n      - {url: \"http://127.0.0.1:8001\"}", 1),
		"pool local: retry.attempts 2 → 3",
		"pool local: backend http://127.0.0.1:8001 added")
}

func TestDiffJSON(t *testing.T) {
	old := file(t, goodConfig)
	r := helixflow("", "diff", "--json", old, old)
	require.Equal(t, result{exitGood, "[]\n", ""}, r)

	r = helixflow("", "diff", "--json", old, file(t, strings.Replace(goodConfig, "acme", "globex", 1)))
	require.Equal(t, exitGood, r.code)
	require.JSONEq(t, `[
		{"path": "tenants[acme]", "kind": "removed", "restart": false},
		{"path": "tenants[globex]", "kind": "added", "restart": false}
	]`, r.stdout)
}

// TestDiffOfBadFiles: the problems of both are told, and nothing is answered.
func TestDiffOfBadFiles(t *testing.T) {
	bad := file(t, "sever: {}\n"+goodConfig)
	for _, args := range [][]string{{bad, file(t, goodConfig)}, {file(t, goodConfig), bad}, {bad, "nowhere.yaml"}} {
		r := helixflow("", append([]string{"diff", "--json"}, args...)...)
		require.Equal(t, exitProblem, r.code)
		require.Empty(t, r.stdout)
		require.Contains(t, r.stderr, `did you mean "server"?`)
	}
	require.Contains(t, helixflow("", "diff", bad, "nowhere.yaml").stderr, "nowhere.yaml: cannot read the file")
	require.Equal(t, exitUsage, helixflow("", "diff", bad).code)
}

// TestCheckHints: hints go to standard error and fail nothing.
func TestCheckHints(t *testing.T) {
	hinted := file(t, strings.Replace(goodConfig, "    keys: [{name: ci, generate: true}]\n", "", 1))
	const hint = "has no keys: nobody can call as this tenant"
	r := helixflow("", "check", hinted)
	require.Equal(t, exitGood, r.code)
	require.Equal(t, hinted+": no problems\n", r.stdout)
	require.Contains(t, r.stderr, hinted+`:3:11: hint: tenants[0].name: "acme" `+hint)

	r = helixflow("", "check", "--json", hinted)
	require.Equal(t, exitGood, r.code)
	require.Equal(t, "[]\n", r.stdout)
	var told struct {
		Hints []map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(r.stderr), &told))
	require.Len(t, told.Hints, 1)
	require.Equal(t, map[string]any{
		"file": hinted, "line": 3., "column": 11., "path": "tenants[0].name", "message": `"acme" ` + hint,
	}, told.Hints[0])
}
