package balancer

// The policy least_tokens.

const nameLeastTokens = "least_tokens"

// heldWeight is what a token in the KV cache counts beside one that is still to be
// read.
const heldWeight = 0.25

// leastTokens takes the backend with the least work for its speed and weight:
// prompt tokens promised to it and not read yet, and a quarter of those that its
// running requests hold. Ties go to a random one, in proportion to weight.
type leastTokens struct{}

// Name is Policy.Name.
func (leastTokens) Name() string { return nameLeastTokens }

// Pick is Policy.Pick.
func (leastTokens) Pick(r *Request, candidates []Candidate) int {
	open := r.Eligible.And(FirstN(len(candidates)))
	return least(open, r, candidates, tokensAhead)
}

// tokensAhead is the seconds that l's tokens take.
func tokensAhead(l *Load, now int64) float64 {
	return l.Ahead(now) + heldWeight*float64(l.kv.Load())/l.PrefillRate()
}
