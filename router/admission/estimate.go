package admission

import (
	"math"
	"math/bits"
	"sync/atomic"

	"github.com/helixflow/helixflow"
)

// Cold starts of an Estimator.
const (
	coldTokensPerByte = 0.28 // of o200k over English, code and JSON
	coldOutput        = 512
	imageTokens       = 800 // what an image costs, whatever its bytes
	weight            = 1.0 / 16
)

// Estimator learns how long a model's prompts and answers are, in tokens. The
// zero value knows nothing yet.
type Estimator struct {
	perByte atomic.Uint64 // tokens per byte of prompt, as float64 bits; 0: not known
	outputs [2 * outputClasses]atomic.Uint32
	seen    atomic.Uint32
}

// Outputs are counted in half powers of two, up to 2^24 tokens.
const (
	outputClasses = 24
	enough        = 16   // outputs before they are believed
	forgetAt      = 4096 // then half of what was seen is forgotten
)

// Prompt is the size of what a model reads: text, and images apart from it.
type Prompt struct {
	Bytes  int64
	Images int64
}

// Input estimates a prompt's tokens.
func (e *Estimator) Input(p Prompt) int64 {
	ratio := coldTokensPerByte
	if b := e.perByte.Load(); b != 0 {
		ratio = math.Float64frombits(b)
	}
	return int64(math.Ceil(float64(p.Bytes)*ratio)) + p.Images*imageTokens
}

// Output is how many tokens at most 95 of 100 answers have.
func (e *Estimator) Output() int64 {
	total := uint32(0)
	for i := range e.outputs {
		total += e.outputs[i].Load()
	}
	if total < enough {
		return coldOutput
	}
	above := total / 20
	for i := len(e.outputs) - 1; i >= 0; i-- {
		if n := e.outputs[i].Load(); n > above {
			return largest(i)
		} else {
			above -= n
		}
	}
	return coldOutput
}

// Learn takes in what an answer reported.
func (e *Estimator) Learn(p Prompt, u helixflow.Usage) {
	if p.Images == 0 && p.Bytes >= 64 && u.InputTokens > 0 {
		e.learnRatio(float64(u.InputTokens) / float64(p.Bytes))
	}
	if u.OutputTokens > 0 {
		e.outputs[sizeClass(u.OutputTokens)].Add(1)
		if n := e.seen.Add(1); n%forgetAt == 0 {
			for i := range e.outputs {
				e.outputs[i].Store(e.outputs[i].Load() / 2)
			}
		}
	}
}

// learnRatio moves the ratio a little; a report that makes no sense is bounded.
func (e *Estimator) learnRatio(ratio float64) {
	ratio = min(max(ratio, 0.01), 4)
	for {
		old := e.perByte.Load()
		next := ratio
		if old != 0 {
			next = math.Float64frombits(old) + weight*(ratio-math.Float64frombits(old))
		}
		if e.perByte.CompareAndSwap(old, math.Float64bits(next)) {
			return
		}
	}
}

// sizeClass is the class of n tokens, n above 0.
func sizeClass(n int64) int {
	exp := bits.Len64(uint64(n)) - 1
	half := 0
	if exp > 0 && n&(1<<(exp-1)) != 0 { // from 1.5 times the power on
		half = 1
	}
	return min(2*exp+half, 2*outputClasses-1)
}

// largest is the largest number of a class.
func largest(class int) int64 {
	base := int64(1) << (class / 2)
	if class%2 == 0 {
		return base + base/2 - min(base/2, 1)
	}
	return 2*base - 1
}
