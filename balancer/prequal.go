package balancer

// The policy prequal.

import (
	"math"
	"math/bits"
	"time"
)

const namePrequal = "prequal"

const (
	hotQuantile   = 0.84
	latencyForget = int64(time.Second) // a latency older than this is not known
)

// prequal takes, of the backends that do not have markedly more requests than the
// others, the one with the lowest latency; if all have, the one with the fewest
// (Wydrowski and others 2024). It is passive: what it knows comes of the requests
// themselves. Latency is the time to the first token over what was predicted; of a
// backend that showed none of late it is taken for the usual.
type prequal struct{}

// Name is Policy.Name.
func (prequal) Name() string { return namePrequal }

// Pick is Policy.Pick.
func (prequal) Pick(r *Request, candidates []Candidate) int {
	candidates = candidates[:min(len(candidates), MaxBackends)]
	open := r.Eligible.And(FirstN(len(candidates)))
	r.Decision.Reason = ReasonLoad
	cold := coldOnes(r.present(open, candidates), candidates)
	best, random := -1, r.Rand
	lowest, tied := math.Inf(1), int64(0)
	for w, word := range cold {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			c := &candidates[i]
			if c.full() {
				continue
			}
			weight, of := int64(max(c.Weight, 1)), c.Load.latency(r.Now)
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
	if best < 0 {
		return least(open, r, candidates, inflightOf)
	}
	return best
}

// latency is what prequal compares.
func (l *Load) latency(now int64) float64 {
	if at := l.learned.sampled.Load(); at == 0 || now-at > latencyForget {
		return 0
	}
	return l.learned.slow.get()
}

// coldOnes are those of open that have no more requests for their weight than the
// quantile.
func coldOnes(open Mask, candidates []Candidate) Mask {
	var loads [MaxBackends]float64
	n := 0
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			c := &candidates[w*64+bits.TrailingZeros64(word)]
			insert(loads[:n+1], c.crowding())
			n++
		}
	}
	if n == 0 {
		return open
	}
	most := loads[int(hotQuantile*float64(n-1))]
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			if i := w*64 + bits.TrailingZeros64(word); candidates[i].crowding() > most {
				open.Clear(i)
			}
		}
	}
	return open
}

// crowding is the requests in flight for a unit of weight.
func (c *Candidate) crowding() float64 {
	return float64(c.Load.inflight.Load()) / float64(max(c.Weight, 1))
}
