package testtiming

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWelch(t *testing.T) {
	// By scipy.stats.ttest_ind(a, b, equal_var=False).
	a, b := []float64{1, 2, 3, 4, 5}, []float64{2, 4, 6, 8}
	assert.InDelta(t, -1.3587, welch(a, b), 1e-3)
	assert.InDelta(t, 1.3587, welch(b, a), 1e-3)
}

func TestDifferFindsWhatDiffers(t *testing.T) {
	work := func(input []byte) {
		for i := range int(input[0]) * 100 {
			input[1] ^= byte(i)
		}
	}
	classes := [][][]byte{{{10, 0}, {10, 0}}, {{20, 0}}}
	d := Differ(classes, 5000, work)
	assert.Greater(t, d.T, Leaky, "%v", d)
	assert.Greater(t, d.Part, 0.2, "%v", d)
}
