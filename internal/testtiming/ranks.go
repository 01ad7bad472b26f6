package testtiming

import (
	"cmp"
	"math"
	"slices"
)

// MannWhitney is the probability that two samples which are this different, or more,
// come from one distribution: of the U test (Mann, Whitney: On a test of whether one
// of two random variables is stochastically larger than the other, 1947), by its
// normal approximation, with ties. It asks nothing of how times are distributed.
func MannWhitney(a, b []float64) (p float64) {
	type value struct {
		x     float64
		first bool // of a
	}
	all := make([]value, 0, len(a)+len(b))
	for _, x := range a {
		all = append(all, value{x, true})
	}
	for _, x := range b {
		all = append(all, value{x, false})
	}
	slices.SortFunc(all, func(v, w value) int { return cmp.Compare(v.x, w.x) })
	ranks, ties := 0.0, 0.0 // the sum of a's ranks, and of t³-t over values that t have in common
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].x == all[i].x {
			j++
		}
		rank := float64(i+1+j) / 2 // the mean of i+1 … j
		for _, v := range all[i:j] {
			if v.first {
				ranks += rank
			}
		}
		t := float64(j - i)
		ties += t*t*t - t
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	u := ranks - n*(n+1)/2
	variance := n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1)))
	if variance <= 0 {
		return 1
	}
	z := max(math.Abs(u-n*m/2)-0.5, 0) / math.Sqrt(variance)
	return math.Erfc(z / math.Sqrt2)
}
