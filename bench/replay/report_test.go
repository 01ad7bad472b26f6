package replay

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The page has a plot of each kind, well-formed, and refers to nothing outside.
func TestReport(t *testing.T) {
	trace := traffic(t, "mixed", 120)
	configs := []Config{New(trace, "adaptive"), New(trace, "round_robin")}
	sweep, err := Sweep(configs)
	require.NoError(t, err)
	require.Len(t, sweep, len(SweepSpeeds()))
	r := &Report{Title: `a <trace> & "more"`, Results: []*Result{run(t, configs[0]), run(t, configs[1])}, Sweep: sweep}
	var out bytes.Buffer
	require.NoError(t, r.Write(&out))
	text := out.String()
	assert.Equal(t, 5, strings.Count(text, "<svg"))
	for _, want := range []string{"Time to the first token", "Prompt tokens found", "TTFT p90 as the load grows", "Requests on each backend, adaptive", "backend 7", "a &lt;trace&gt;"} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "<trace>")
	assert.NotContains(t, text, "NaN")
	assert.NotContains(t, strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, ""), "http")
	for _, name := range []string{"ttft", "hits", "sweep"} {
		var plot bytes.Buffer
		require.NoError(t, r.WritePlot(&plot, name))
		wellFormed(t, plot.String())
	}
	require.Error(t, r.WritePlot(io.Discard, "pie"))
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			require.NoError(t, err)
		}
	}
}

// Marks lie within the scale, on round numbers.
func TestScale(t *testing.T) {
	f := func(low, high float64, log bool, want ...float64) {
		t.Helper()
		s := scaleOf([][]float64{{low, high}}, log, 0, 100)
		assert.InDeltaSlice(t, want, s.marks(), 1e-9)
		assert.InDelta(t, 100, s.at(math.MaxFloat64), 1e-9, "what is beyond is at the end")
	}
	f(0, 10, false, 0, 2, 4, 6, 8, 10)
	f(0, 1, false, 0, 0.2, 0.4, 0.6, 0.8, 1)
	f(0, 430, false, 0, 100, 200, 300, 400)
	f(0.02, 30, true, 0.01, 0.1, 1, 10, 100)
	f(0, 0, true, 0.001, 0.01)
}
