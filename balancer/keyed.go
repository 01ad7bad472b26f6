package balancer

// What policies have in common that go by a figure, or by a key.

import (
	"math"
	"math/bits"
)

// least returns the open candidate that is not full and has the least of the
// figure for its weight, a random one of several by weight, or -1.
func least(open Mask, r *Request, candidates []Candidate, figure func(l *Load, now int64) float64) int {
	best, random := -1, r.Rand
	lowest, tied := math.Inf(1), int64(0)
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			c := &candidates[i]
			if c.full() {
				continue
			}
			weight := c.weight()
			of := min(figure(c.Load, r.Now)/float64(weight), worstCost)
			switch {
			case best < 0 || of < lowest:
				best, lowest, tied = i, of, weight
			case of == lowest:
				tied += weight
				random = mix(random)
				if below(random, uint64(tied)) < uint64(weight) {
					best = i
				}
			}
		}
	}
	return best
}

// A backend may have so many times what is usual for its weight before a key goes
// elsewhere, and at least so many requests more (Mirrokni, Thorup, Zadimoghaddam
// 2018; a small pool would else send nearly every key elsewhere).
const (
	boundTimes = 1.25
	boundSpare = 4
)

// boundedHome returns the open candidate, not full and not above the bound, that a
// key belongs to, and whether it belongs there whatever the load; -1 for none. One
// more request adds own to a figure. There is always one below the bound among
// those that are not full, or else the one with the least is taken.
func boundedHome(open Mask, key uint64, own float64, r *Request, candidates []Candidate, figure func(l *Load, now int64) float64) (i int, home bool) {
	total, weights := 0.0, 0.0
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			c := &candidates[w*64+bits.TrailingZeros64(word)]
			total += figure(c.Load, r.Now)
			weights += float64(c.weight())
		}
	}
	mean := (total + own) / weights
	best, first := -1, -1
	bestScore, firstScore := math.Inf(-1), math.Inf(-1)
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			c := &candidates[i]
			s := c.score(key, i) * float64(c.Load.Share())
			if s > firstScore {
				first, firstScore = i, s
			}
			weight := float64(c.weight())
			bound := max(boundTimes*mean*weight, mean*weight+boundSpare*own)
			if s > bestScore && !c.full() && figure(c.Load, r.Now)+own <= bound {
				best, bestScore = i, s
			}
		}
	}
	if best < 0 {
		return least(open, r, candidates, figure), false
	}
	return best, best == first
}

// inflightOf is the figure of policies that go by the number of requests.
func inflightOf(l *Load, _ int64) float64 { return float64(l.inflight.Load()) }

// heldTokens is that of those that go by tokens.
func heldTokens(l *Load, _ int64) float64 { return float64(l.kv.Load()) }
