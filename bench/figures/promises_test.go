package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

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
