// Package testtiming tells, in tests, whether the time of something gives away what
// it was done to: as dudect does it (Reparaz, Balasch, Verbauwhede: Dude, is my code
// constant time?, 2017), with Welch's t over many calls in random order.
package testtiming

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// Leaky is the |t| above which two classes differ.
const Leaky = 4.5

// Difference is the largest there is between the mean times of two classes.
type Difference struct {
	T    float64 // Welch's |t|
	Part float64 // of the time itself
}

// String is the difference for a log.
func (d Difference) String() string {
	return fmt.Sprintf("|t| = %.1f, the means differ by %.2f%%", d.T, 100*d.Part)
}

// Differ calls f with inputs of all classes in random order, about so many of
// each, and compares the times. The slowest tenth is left out: it is the machine's.
func Differ(classes [][][]byte, samples int, f func(input []byte)) (worst Difference) {
	took := make([][]float64, len(classes))
	var all []float64
	runtime.GC()
	for range samples * len(classes) {
		class := rand.IntN(len(classes))
		input := classes[class][rand.IntN(len(classes[class]))]
		begin := time.Now()
		f(input)
		nanos := float64(time.Since(begin))
		took[class] = append(took[class], nanos)
		all = append(all, nanos)
	}
	slices.Sort(all)
	limit := all[len(all)*9/10]
	for i := range took {
		took[i] = slices.DeleteFunc(took[i], func(x float64) bool { return x > limit })
		for j := range i {
			a, _ := moments(took[i])
			b, _ := moments(took[j])
			worst.T = max(worst.T, math.Abs(welch(took[i], took[j])))
			worst.Part = max(worst.Part, math.Abs(a-b)/b)
		}
	}
	return worst
}

// welch is Welch's t of two samples.
func welch(a, b []float64) float64 {
	meanA, varA := moments(a)
	meanB, varB := moments(b)
	return (meanA - meanB) / math.Sqrt(varA/float64(len(a))+varB/float64(len(b)))
}

func moments(list []float64) (mean, variance float64) {
	for _, x := range list {
		mean += x / float64(len(list))
	}
	for _, x := range list {
		variance += (x - mean) * (x - mean) / float64(len(list)-1)
	}
	return mean, variance
}
