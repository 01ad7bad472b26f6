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

// TestPromises has ratios and differences judged, of CPU and of time, at their bounds.
func TestPromises(t *testing.T) {
	first := &samples{name: "first", cpu: []float64{50e-6}, p50: []float64{200e-6}, p99: []float64{1}, rate: []float64{1}, bytes: []float64{1}}
	f := func(f figure, cpu, p50 float64, ratio, promised string) {
		t.Helper()
		m := &samples{name: "m", cpu: []float64{cpu}, p50: []float64{p50}, p99: []float64{1}, rate: []float64{1}, bytes: []float64{1}}
		m.compare(first, 0, f.wall)
		var out strings.Builder
		missed := f.print(m, &out)
		assert.Contains(t, out.String(), "| "+ratio+" |")
		assert.Contains(t, out.String(), "| "+promised+" |")
		assert.Equal(t, strings.HasSuffix(promised, ", missed"), missed == 1)
	}
	most := map[string]float64{"m": 1.15}
	f(figure{most: most}, 57.5e-6, 9, "1.15×", "≤ 1.15×")
	f(figure{most: most}, 58e-6, 0, "1.16×", "≤ 1.15×, missed")
	f(figure{more: 30e-6}, 79.9e-6, 9, "+29.9 µs", "≤ +30 µs")
	f(figure{more: 30e-6}, 80.1e-6, 0, "+30.1 µs", "≤ +30 µs, missed")
	f(figure{more: 30e-6, wall: true}, 9, 229e-6, "+29.0 µs", "≤ +30 µs")
	f(figure{more: 30e-6, wall: true}, 0, 231e-6, "+31.0 µs", "≤ +30 µs, missed")
}
