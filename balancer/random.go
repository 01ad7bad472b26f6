package balancer

// The policy random.

const nameRandom = "random"

// random takes any eligible backend, whatever its weight and load: what the
// others have to beat.
type random struct{}

// Name is Policy.Name.
func (random) Name() string { return nameRandom }

// Pick is Policy.Pick.
func (random) Pick(r *Request, candidates []Candidate) int {
	open := r.Eligible.And(FirstN(len(candidates)))
	n := uint64(open.Count())
	if n == 0 {
		return -1
	}
	return passOn(open, open.nth(int(below(r.Rand, n))), n, r.Rand, candidates)
}
