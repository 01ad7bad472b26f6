//go:build integration

// The runner: one test per client, one subtest per check it reports.

package compat

import (
	"bytes"
	"context"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds one client's run, without its installation.
const patience = 150 * time.Second

func TestClients(t *testing.T) {
	bin := binary(t)
	t.Run("python", func(t *testing.T) {
		t.Parallel()
		run(t, bin, prefixed("sync/", "async/"), installPython(t), "-B", "main.py")
	})
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		run(t, bin, checks, installNode(t), "main.mjs")
	})
	t.Run("go", func(t *testing.T) {
		t.Parallel()
		run(t, bin, checks, buildGo(t))
	})
}

// run starts a client's program in its folder, in a world of its own, and makes
// a subtest of each check.
func run(t *testing.T, bin string, want []string, program string, args ...string) {
	w := newWorld(t, bin)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder(t)
	cmd.Env = w.env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Errorf("the client was not done after %v", patience)
	}
	results := parse(t, stdout.String())
	for _, name := range want {
		t.Run(name, func(t *testing.T) {
			r, reported := results[name]
			require.True(t, reported, "the client did not report this check")
			require.True(t, r.ok, "%s", r.detail)
			t.Log(r.detail)
		})
		delete(results, name)
	}
	assert.Empty(t, slices.Sorted(maps.Keys(results)), "checks that nobody expects")
	assert.NoError(t, err, "the client's program")
	if t.Failed() {
		t.Logf("the client on stderr:\n%s", stderr.String())
	}
}

// folder is the client's, named as its test.
func folder(t *testing.T) string {
	_, name, _ := strings.Cut(t.Name(), "/")
	dir, err := filepath.Abs(name)
	require.NoError(t, err)
	return dir
}

type result struct {
	ok     bool
	detail string
}

// parse reads what a client's program printed.
func parse(t *testing.T, stdout string) map[string]result {
	results := make(map[string]result)
	for line := range strings.Lines(stdout) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		verdict, detail, _ := strings.Cut(rest, " ")
		if verdict != "ok" && verdict != "FAIL" {
			t.Errorf("the client printed a line that is no result: %q", line)
			continue
		}
		if _, twice := results[name]; twice {
			t.Errorf("the client reported %s twice", name)
		}
		results[name] = result{ok: verdict == "ok", detail: detail}
	}
	return results
}
