package balancer

// The policy p2c_ewma.

import "math"

const nameP2CEWMA = "p2c_ewma"

// p2cEWMA draws two backends and takes the one that is faster for what it has to
// do: the mean time to the first token over what was predicted, times the requests
// in flight, for its weight (Mitzenmacher 2001; Finagle's peak EWMA). The times are
// normalised: a raw one would only say who got the long prompts.
type p2cEWMA struct{}

// Name is Policy.Name.
func (p2cEWMA) Name() string { return nameP2CEWMA }

// Pick is Policy.Pick.
func (p2cEWMA) Pick(r *Request, candidates []Candidate) int {
	open := r.Eligible.And(FirstN(len(candidates)))
	r.Decision.Reason = ReasonLoad
	random := r.Rand
	first := draw(r.present(open, candidates), &random, candidates)
	if first < 0 {
		if first = draw(open, &random, candidates); first < 0 {
			return -1
		}
	}
	open.Clear(first)
	second := draw(r.present(open, candidates), &random, candidates)
	if second >= 0 && candidates[second].slowness() < candidates[first].slowness() {
		return second
	}
	return first
}

// slowness is what p2c_ewma compares.
func (c *Candidate) slowness() float64 {
	return math.Exp(c.Load.learned.slow.get()) * float64(c.Load.inflight.Load()+1) / float64(max(c.Weight, 1))
}

// draw returns a random open candidate that is not full, or -1.
func draw(open Mask, random *uint64, candidates []Candidate) int {
	for n := uint64(open.Count()); n > 0; n-- {
		*random = mix(*random)
		i := open.nth(int(below(*random, n)))
		if !candidates[i].full() {
			return i
		}
		open.Clear(i)
	}
	return -1
}
