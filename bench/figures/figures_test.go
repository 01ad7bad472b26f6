//go:build integration

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain is also the parts of the measurement: they are this program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "part" {
		fmt.Fprintln(os.Stderr, run(context.Background(), os.Args[1:], os.Stdout))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestFigures measures each figure for a moment: the table is whole, no target
// fails, and the processes are gone.
func TestFigures(t *testing.T) {
	binary := os.Getenv("HELIXFLOW_BIN")
	require.NotEmpty(t, binary, "HELIXFLOW_BIN names the binary to measure")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out strings.Builder
	require.NoError(t, run(ctx, []string{"-helixflow", binary, "-rounds", "1", "-for", "30ms"}, &out))
	for _, f := range figures {
		for _, name := range f.targets {
			if (name == "nginx" || name == "haproxy") && installed(name) == "" {
				continue
			}
			assert.Regexp(t, `(?m)^\| `+f.name+` \| `+name+` \| [0-9.]+ µs \|`, out.String())
		}
	}
	err := run(ctx, []string{"-helixflow", binary, "-rounds", "0"}, &out)
	assert.ErrorContains(t, err, "usage: figures")
	err = run(ctx, []string{"-helixflow", "/nowhere", "-rounds", "1", "-for", "30ms"}, &out)
	assert.ErrorContains(t, err, "cannot start one: fork/exec /nowhere")
}
