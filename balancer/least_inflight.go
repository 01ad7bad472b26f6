package balancer

// The policy least_inflight.

import "math/bits"

const nameLeastInflight = "least_inflight"

// leastInflight takes the backend with the fewest requests in flight per unit
// of weight. Ties go to a random one, in proportion to weight: an idle pool then
// still splits as the operator wrote, and a burst does not pile onto the first.
type leastInflight struct{}

// Name is Policy.Name.
func (leastInflight) Name() string { return nameLeastInflight }

// Pick is Policy.Pick.
func (leastInflight) Pick(r *Request, candidates []Candidate) int {
	open := r.Eligible.And(FirstN(len(candidates)))
	best, random := -1, r.Rand
	var bestInflight, bestWeight, tiedWeight int64
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			c := &candidates[i]
			inflight, weight := int64(c.Load.InFlight()), c.weight()
			if bound := int64(c.Bound()); bound > 0 && inflight >= bound {
				continue
			}
			// inflight/weight against the best one's, multiplied out.
			mine, theirs := inflight*bestWeight, bestInflight*weight
			switch {
			case best < 0 || mine < theirs:
				best, bestInflight, bestWeight, tiedWeight = i, inflight, weight, weight
			case mine == theirs:
				// A weighted reservoir of one (Chao 1982).
				tiedWeight += weight
				random = mix(random)
				if below(random, uint64(tiedWeight)) < uint64(weight) {
					best, bestInflight, bestWeight = i, inflight, weight
				}
			}
		}
	}
	return best
}
