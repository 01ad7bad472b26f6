package balancer

// What engines say they found in their caches, held against what the prefix index
// predicted.

import (
	"math"
	"sync/atomic"
)

const (
	trustAlpha   = 0.1 // weight of one sample
	trustSamples = 16  // between two changes of a horizon
	trustMinimum = 256 // tokens predicted, below which chance decides

	trustLow, trustHigh      = 0.7, 0.95
	minFactor, maxFactor     = 0.25, 4.0
	shrinkFactor, growFactor = 0.9, 1.1
)

// trust is how far one backend's predictions come true.
type trust struct {
	ratio   atomic.Uint64 // float bits: moving average of found/predicted
	scale   atomic.Uint64 // float bits: of the horizon
	samples atomic.Int64
}

func (t *trust) begin() {
	t.ratio.Store(math.Float64bits(1))
	t.scale.Store(math.Float64bits(1))
	t.samples.Store(0)
}

func (t *trust) factor() float64 { return math.Float64frombits(t.scale.Load()) }

// Calibrate notes that a request, of which the index predicted that the backend
// had that many tokens, found that many cached. Call it only with what an engine
// reported. Where predictions fall short the horizon shrinks by steps of a tenth;
// where they come true it grows, up to four times what SetHorizon said.
func (x *Index) Calibrate(backend int, predicted, cached int64) {
	if uint(backend) >= uint(len(x.slots)) || predicted < trustMinimum {
		return
	}
	t := &x.slots[backend].trust
	sample := min(max(float64(cached)/float64(predicted), 0), 1.25) // beyond, it says nothing of this prediction
	ratio := update(&t.ratio, func(r float64) float64 { return r + trustAlpha*(sample-r) })
	if t.samples.Add(1)%trustSamples != 0 {
		return
	}
	switch {
	case ratio < trustLow:
		update(&t.scale, func(s float64) float64 { return max(s*shrinkFactor, minFactor) })
	case ratio > trustHigh:
		update(&t.scale, func(s float64) float64 { return min(s*growFactor, maxFactor) })
	}
}

// Trust returns the share of what the index predicts for the backend that is to
// be believed, at most 1.
func (x *Index) Trust(backend int) float64 {
	return min(math.Float64frombits(x.slots[backend].trust.ratio.Load()), 1)
}

// update replaces a float by f of it and returns the new one.
func update(bits *atomic.Uint64, f func(float64) float64) float64 {
	for {
		old := bits.Load()
		v := f(math.Float64frombits(old))
		if bits.CompareAndSwap(old, math.Float64bits(v)) {
			return v
		}
	}
}
