package balancer

// The policy session_affinity.

const nameSessionAffinity = "session_affinity"

// sessionAffinity sends the requests of one session to one backend, by rendezvous
// hashing with bounded load: nothing is remembered, several routers agree, and the
// loss of a backend moves nobody else's sessions. Requests without a session go by
// their prompt's first block, and those without one to the backend with the
// fewest requests for its weight.
type sessionAffinity struct{}

// Name is Policy.Name.
func (sessionAffinity) Name() string { return nameSessionAffinity }

// Pick is Policy.Pick.
func (sessionAffinity) Pick(r *Request, candidates []Candidate) int {
	open := r.Eligible.And(FirstN(len(candidates)))
	key := r.Session
	if key == 0 {
		key = r.Root
	}
	if key == 0 {
		r.Decision.Reason = ReasonLoad
		return least(open, r, candidates, inflightOf)
	}
	i, home := boundedHome(open, key, 1, r, candidates, inflightOf)
	r.Decision.Reason = reasonOf(home)
	return i
}

// reasonOf is why one was chosen by its key.
func reasonOf(home bool) Reason {
	if home {
		return ReasonSticky
	}
	return ReasonLoad
}
