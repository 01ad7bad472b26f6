package balancer

// The policy chwbl.

const nameCHWBL = "chwbl"

// chwblBlocks is how many of a prompt's first blocks make its key: 1 KiB.
const chwblBlocks = 4

// chwbl is consistent hashing with bounded load, over the beginning of the prompt:
// several routers that share nothing send a prompt to the same backend. The bound
// is on tokens, not on requests. Prompts without a whole block go to the backend
// with the fewest tokens.
type chwbl struct{}

// Name is Policy.Name.
func (chwbl) Name() string { return nameCHWBL }

// Pick is Policy.Pick.
func (chwbl) Pick(r *Request, candidates []Candidate) int {
	open := r.Eligible.And(FirstN(len(candidates)))
	key := r.Root
	if r.Chain != nil && r.Chain.Len() > 0 {
		key = r.Chain.Hash(min(chwblBlocks, r.Chain.Len()) - 1)
	}
	if key == 0 {
		r.Decision.Reason = ReasonLoad
		return least(open, r, candidates, heldTokens)
	}
	i, home := boundedHome(open, key, float64(max(r.Tokens+r.Output, 1)), r, candidates, heldTokens)
	r.Decision.Reason = reasonOf(home)
	return i
}
