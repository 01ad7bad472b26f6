package balancer

// The policy weighted.

import (
	"cmp"
	"math/bits"
	"slices"
	"sync/atomic"
)

const nameWeighted = "weighted"

// maxTurns bounds the table of turns. Weights whose turns would not fit are
// rounded to it, each to one turn at least.
const maxTurns = 4096

// weighted gives each backend as many turns as its weight says, spread evenly:
// smooth weighted round robin, as nginx does it, from a table made beforehand. A
// turn of a backend that is full or not eligible goes to a random other one by
// weight.
//
// As in roundRobin, each eligible set has a cursor of its own, so that retries
// do not walk in step with first tries.
type weighted struct {
	turns   atomic.Pointer[turnTable]
	cursors [numCursors]atomic.Uint64
}

// turnTable is one round of turns, and what it was made of. Immutable.
type turnTable struct {
	first  *Candidate // with len(shares) it tells the slice it was made for
	shares []int8     // of each candidate, as it was then
	turns  []uint8
}

// Name is Policy.Name.
func (p *weighted) Name() string { return nameWeighted }

// Pick is Policy.Pick. While shares and the eligible set stay as they are and
// nobody is full, each backend gets exactly its weight's part of every round:
// of as many picks in a row as the weights, divided by what all of them have in
// common, sum up to.
func (p *weighted) Pick(r *Request, candidates []Candidate) int {
	candidates = candidates[:min(len(candidates), MaxBackends)]
	open := r.Eligible.And(FirstN(len(candidates)))
	if open.Empty() {
		return -1
	}
	table := p.turns.Load()
	if table == nil || !table.isOf(candidates) {
		table = p.remake(candidates)
	}
	cursor := &p.cursors[open.hash()%numCursors]
	if cursor.Load() == 0 {
		cursor.CompareAndSwap(0, r.Rand)
	}
	turn := cursor.Add(1)
	i := table.at(turn)
	// Every candidate has its turn, so that every change is found within a round.
	if candidates[i].Load.Share() != int(table.shares[i]) {
		table = p.remake(candidates)
		i = table.at(turn)
	}
	if open.Has(i) && !candidates[i].full() {
		return i
	}
	return byWeight(open, r.Rand, candidates)
}

func (t *turnTable) isOf(candidates []Candidate) bool {
	return t.first == &candidates[0] && len(t.shares) == len(candidates)
}

func (t *turnTable) at(turn uint64) int { return int(t.turns[turn%uint64(len(t.turns))]) }

// remake writes the table anew. Of several callers at once the last one's
// stays; should that have read older shares, the next round finds it out.
func (p *weighted) remake(candidates []Candidate) *turnTable {
	t := &turnTable{first: &candidates[0], shares: make([]int8, len(candidates))}
	weights := make([]int64, len(candidates))
	for i := range candidates {
		share := candidates[i].Load.Share()
		t.shares[i] = int8(share)
		weights[i] = int64(max(candidates[i].Weight, 1)) * int64(share)
	}
	t.turns = smoothTurns(fitted(weights))
	p.turns.Store(t)
	return t
}

// fitted returns weights in the same proportion that sum up to maxTurns at
// most, or nearly so where some are very small beside the others.
func fitted(weights []int64) []int64 {
	var sum, divisor int64
	for _, w := range weights {
		sum += w
		divisor = gcd(w, divisor)
	}
	if sum/divisor <= maxTurns {
		for i := range weights {
			weights[i] /= divisor
		}
		return weights
	}
	// The largest remainders get the turns that rounding down left over
	// (Hamilton's method). Weights are below 2^35, so that nothing overflows.
	left := int64(maxTurns)
	order := make([]int, len(weights))
	rest := make([]int64, len(weights))
	for i, w := range weights {
		order[i], rest[i] = i, w*maxTurns%sum
		weights[i] = w * maxTurns / sum
		if weights[i] == 0 {
			weights[i], rest[i] = 1, 0
		}
		left -= weights[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rest[b], rest[a]) })
	for i := 0; i < len(order) && int64(i) < left; i++ {
		weights[order[i]]++
	}
	return weights
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// smoothTurns returns one round of smooth weighted round robin: at each step
// everyone gains its weight, and who has most takes the turn and pays the sum
// (nginx, commit 52327e0627f49dbda1e8db695e63a4b0af4448b1).
func smoothTurns(weights []int64) []uint8 {
	var sum int64
	for _, w := range weights {
		sum += w
	}
	turns := make([]uint8, sum)
	have := make([]int64, len(weights))
	for t := range turns {
		best := 0
		for i, w := range weights {
			have[i] += w
			if have[i] > have[best] {
				best = i
			}
		}
		have[best] -= sum
		turns[t] = uint8(best)
	}
	return turns
}

// byWeight returns a random open candidate that is not full, in proportion to
// weight: a weighted reservoir of one (Chao 1982).
func byWeight(open Mask, random uint64, candidates []Candidate) int {
	best := -1
	var total int64
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			if candidates[i].full() {
				continue
			}
			weight := candidates[i].weight()
			total += weight
			random = mix(random)
			if below(random, uint64(total)) < uint64(weight) {
				best = i
			}
		}
	}
	return best
}
