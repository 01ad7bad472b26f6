package balancer

// The policy priority.

import "math/bits"

const namePriority = "priority"

// priority takes a backend of the lowest tier in which one has room, by adaptive
// within the tier: own machines first, and others when those are full or out.
type priority struct{ within *adaptive }

// Name is Policy.Name.
func (p *priority) Name() string { return namePriority }

// Pick is Policy.Pick.
func (p *priority) Pick(r *Request, candidates []Candidate) int {
	candidates = candidates[:min(len(candidates), MaxBackends)]
	eligible := r.Eligible
	defer func() { r.Eligible = eligible }()
	left := eligible.And(FirstN(len(candidates)))
	for first := true; !left.Empty(); first = false {
		r.Eligible = lowestTier(left, candidates)
		if i := p.within.Pick(r, candidates); i >= 0 {
			if !first {
				r.Decision.Reason = ReasonFallback
			}
			return i
		}
		for w := range left {
			left[w] &^= r.Eligible[w]
		}
	}
	return -1
}

// lowestTier is those of open whose tier is the lowest there is.
func lowestTier(open Mask, candidates []Candidate) Mask {
	var tier Mask
	lowest := int32(-1)
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			switch t := max(candidates[i].Tier, 1); {
			case lowest < 0 || t < lowest:
				lowest, tier = t, Mask{}
				fallthrough
			case t == lowest:
				tier.Set(i)
			}
		}
	}
	return tier
}
