package balancer

// What every policy is given and answers, and how to make one.

import (
	"fmt"
	"math/bits"
	"strings"
)

// Candidate is one backend of a pool as policies see it. The slice of them is
// in the pool's order, built when the configuration is compiled, and immutable;
// what moves is behind Load.
type Candidate struct {
	Load   *Load
	Weight int32  // relative capacity; below 1 counts as 1
	Limit  int32  // most requests in flight at once, as configured; below 1 is no bound
	ID     uint64 // stands for it, in every process the same; 0: its index does
	Place  int    // in the prefix index
	Tier   int32  // for the policy priority; below 1 counts as 1

	Concurrency *Concurrency // the limit that is found out; nil: none is looked for
	Signals     *Signals     // what the backend tells of itself; nil knows nothing
}

// Bound is how many requests the backend may have in flight now; 0 is no bound.
func (c *Candidate) Bound() int32 {
	configured := max(c.Limit, 0)
	if c.Concurrency == nil {
		return configured
	}
	found := c.Concurrency.Current()
	if configured > 0 && (found == 0 || configured < found) {
		return configured
	}
	return found
}

// full reports whether the backend has all the requests it may have.
func (c *Candidate) full() bool {
	bound := c.Bound()
	return bound > 0 && c.Load.InFlight() >= bound
}

// weight returns Weight, and 1 for one that makes no sense, in tenths of what
// counts: a backend that starts slowly weighs less.
func (c *Candidate) weight() int64 { return int64(max(c.Weight, 1)) * int64(c.Load.Share()) }

// holdsBack reports whether a backend that starts slowly lets a turn pass that
// fell to it whatever its weight. It is the share that decides, by random bits.
func (c *Candidate) holdsBack(random uint64) bool {
	share := c.Load.Share()
	return share < FullShare && below(random, FullShare) >= uint64(share)
}

// Policy is one way to choose. Implementations are safe for concurrent use.
// Pick does not allocate, but for what a policy writes down at its first pick
// and when a share has changed; policytest.Run checks that and the rest.
type Policy interface {
	// Name returns the name New knows the policy by.
	Name() string

	// Pick returns the index of an eligible candidate that is not full, or -1
	// when there is none. One whose Load has a share below FullShare is picked
	// less often in that proportion, beside others. Pick reserves nothing. Bits of Eligible at or beyond
	// len(candidates) are ignored, and so are candidates beyond MaxBackends.
	Pick(r *Request, candidates []Candidate) int
}

// New returns a fresh policy with state of its own; one pool, one policy. Tuning
// is for those that have constants. The error names what there is to choose from.
func New(name string, t Tuning) (Policy, error) {
	switch name {
	case nameAdaptive, "prefix_aware", "cost":
		return newAdaptive(t), nil
	case nameCHWBL:
		return chwbl{}, nil
	case nameLeastInflight:
		return leastInflight{}, nil
	case nameLeastTokens:
		return leastTokens{}, nil
	case nameP2CEWMA:
		return p2cEWMA{}, nil
	case namePrequal:
		return prequal{}, nil
	case namePriority:
		return &priority{within: newAdaptive(t)}, nil
	case nameRandom:
		return random{}, nil
	case nameRoundRobin:
		return &roundRobin{}, nil
	case nameSessionAffinity:
		return sessionAffinity{}, nil
	case nameWeighted:
		return &weighted{}, nil
	}
	return nil, fmt.Errorf("cannot make balancing policy %q: the policies are %s", name, strings.Join(Names(), ", "))
}

// Names returns the names New accepts, sorted, without second names for the same.
// The caller owns the slice.
func Names() []string {
	return []string{
		nameAdaptive, nameCHWBL, nameLeastInflight, nameLeastTokens, nameP2CEWMA, namePrequal, namePriority, nameRandom,
		nameRoundRobin, nameSessionAffinity, nameWeighted,
	}
}

// mix is one step of SplitMix64 (Steele, Lea, Flood 2014): it turns a state
// into well-spread bits, and serves as the next state too.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below maps random bits to 0..n-1 (Lemire 2019, without the rejection: the
// bias is n/2^64).
func below(random, n uint64) uint64 {
	hi, _ := bits.Mul64(random, n)
	return hi
}
