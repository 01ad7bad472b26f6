package testtiming

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

// exact counts over all ways to divide the values: the slow reference.
func exact(a, b []float64) float64 {
	all := append(append([]float64(nil), a...), b...)
	u := func(first uint) (sum float64) {
		for i, x := range all {
			for j, y := range all {
				if first>>i&1 == 1 && first>>j&1 == 0 {
					switch {
					case x > y:
						sum++
					case x == y:
						sum += 0.5
					}
				}
			}
		}
		return sum
	}
	middle := float64(len(a)*len(b)) / 2
	far, ways, as := 0, 0, math.Abs(u(1<<len(a)-1)-middle)
	for first := range uint(1) << len(all) {
		if bits.OnesCount(first) == len(a) {
			ways++
			if math.Abs(u(first)-middle) >= as-1e-9 {
				far++
			}
		}
	}
	return float64(far) / float64(ways)
}

func TestMannWhitney(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		a, b := make([]float64, 7), make([]float64, 6)
		for i := range a {
			a[i] = math.Round(r.Float64() * 30)
		}
		for i := range b {
			b[i] = math.Round(r.Float64()*30 + float64(r.IntN(15)))
		}
		assert.InDelta(t, exact(a, b), MannWhitney(a, b), 0.05, "%v %v", a, b)
		assert.InDelta(t, MannWhitney(a, b), MannWhitney(b, a), 1e-9)
	}
	assert.EqualValues(t, 1, MannWhitney([]float64{1, 1, 1}, []float64{1, 1}))
	var one, other, later []float64
	for range 1000 {
		one, other, later = append(one, r.NormFloat64()), append(other, r.NormFloat64()), append(later, r.NormFloat64()+0.3)
	}
	assert.Greater(t, MannWhitney(one, other), 0.001)
	assert.Less(t, MannWhitney(one, later), 1e-6)
}
