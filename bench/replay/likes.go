package replay

// Policies of other routers, written anew from their published descriptions, to be
// compared with. They are not those routers: what is not in the description is
// ours, and so are the books and the prefix index that they are given.

import (
	"math"
	"math/bits"

	"github.com/helixflow/helixflow/balancer"
)

const (
	nameWeightedScoreLike = "weighted-score-like"
	nameCacheAwareLike    = "cache-aware-like"
	nameStickyLike        = "sticky-token-gate-like"
)

func likes() []string { return []string{nameCacheAwareLike, nameStickyLike, nameWeightedScoreLike} }

// newLike returns the policy of that name, nil if it is none of these.
func newLike(name string) balancer.Policy {
	switch name {
	case nameWeightedScoreLike:
		return weightedScoreLike{}
	case nameCacheAwareLike:
		return cacheAwareLike{}
	case nameStickyLike:
		return stickyLike{}
	}
	return nil
}

// eachOpen calls f for each candidate that may be picked, beginning at a random
// place, so that the first of equals is a random one.
func eachOpen(r *balancer.Request, candidates []balancer.Candidate, f func(i int, c *balancer.Candidate)) {
	hi, _ := bits.Mul64(r.Rand, uint64(len(candidates)))
	for k := range candidates {
		i := (int(hi) + k) % len(candidates)
		c := &candidates[i]
		if bound := c.Bound(); r.Eligible.Has(i) && (bound <= 0 || c.Load.InFlight() < bound) {
			f(i, c)
		}
	}
}

// matched is the part of the prompt that the index believes c to have.
func matched(r *balancer.Request, c *balancer.Candidate) float64 {
	n := r.Matches.Blocks(c.Place)
	if n == 0 {
		return 0
	}
	return float64(r.Chain.End(n-1)) / float64(r.Chain.Bytes())
}

// weightedScoreLike is the sum of normalised scores of llm-d's inference scheduler
// (guide "precise prefix cache routing", 2025): queue 2, KV cache use 2, prefix 3;
// queue and use as they were last told by the engine's metrics.
type weightedScoreLike struct{}

// Name is balancer.Policy.Name.
func (weightedScoreLike) Name() string { return nameWeightedScoreLike }

// Pick is balancer.Policy.Pick.
func (weightedScoreLike) Pick(r *balancer.Request, candidates []balancer.Candidate) int {
	shortest, longest := math.Inf(1), 0.0
	eachOpen(r, candidates, func(_ int, c *balancer.Candidate) {
		n, _ := c.Signals.Waiting(r.Now)
		shortest, longest = min(shortest, n), max(longest, n)
	})
	best, highest := -1, math.Inf(-1)
	eachOpen(r, candidates, func(i int, c *balancer.Candidate) {
		waiting, _ := c.Signals.Waiting(r.Now)
		used, _ := c.Signals.KV(r.Now)
		queue := 1.0
		if longest > shortest {
			queue = (longest - waiting) / (longest - shortest)
		}
		if score := 2*queue + 2*(1-used) + 3*matched(r, c); score > highest {
			best, highest = i, score
		}
	})
	return best
}

// cacheAwareLike is the cache_aware policy of SGLang's router at the constants of
// its documentation (2025): the shortest queue while loads are out of balance, else
// the best match if it is above a threshold, else who has least in its cache.
type cacheAwareLike struct{}

const (
	cacheThreshold = 0.3
	balanceAbs     = 64
	balanceRel     = 1.5
)

// Name is balancer.Policy.Name.
func (cacheAwareLike) Name() string { return nameCacheAwareLike }

// Pick is balancer.Policy.Pick.
func (cacheAwareLike) Pick(r *balancer.Request, candidates []balancer.Candidate) int {
	least, most, idlest := int32(math.MaxInt32), int32(0), -1
	warmest, match := -1, 0.0
	emptiest, cached := -1, math.Inf(1)
	eachOpen(r, candidates, func(i int, c *balancer.Candidate) {
		n := c.Load.InFlight()
		if n < least {
			least, idlest = n, i
		}
		most = max(most, n)
		if m := matched(r, c); m > match {
			warmest, match = i, m
		}
		if kv, _ := c.Signals.KV(r.Now); kv < cached { // its tree's size, which only the engine knows here
			emptiest, cached = i, kv
		}
	})
	switch {
	case most-least > balanceAbs && float64(most) > balanceRel*float64(least):
		return idlest
	case match > cacheThreshold:
		return warmest
	}
	return emptiest
}

// stickyLike is the gate on uncached tokens that llm-d described for its scheduler
// (2026): the best match, unless its prompts that are still to be computed would
// take so much longer than those of the one with fewest; else that one. What is
// cached counts as no work.
type stickyLike struct{}

const (
	stickyGate    = 14.0 // seconds
	stickyMatched = 0.5
)

// Name is balancer.Policy.Name.
func (stickyLike) Name() string { return nameStickyLike }

// Pick is balancer.Policy.Pick.
func (stickyLike) Pick(r *balancer.Request, candidates []balancer.Candidate) int {
	idlest, fewest := -1, math.Inf(1)
	warmest, match := -1, 0.0
	eachOpen(r, candidates, func(i int, c *balancer.Candidate) {
		if ahead := c.Load.Ahead(r.Now); ahead < fewest {
			idlest, fewest = i, ahead
		}
		if m := matched(r, c); m > match {
			warmest, match = i, m
		}
	})
	if match >= stickyMatched && candidates[warmest].Load.Ahead(r.Now)-fewest <= stickyGate {
		return warmest
	}
	return idlest
}
