package balancer

// The policy round_robin.

import "sync/atomic"

const nameRoundRobin = "round_robin"

// numCursors is a power of two, well above the number of eligible sets that one
// pool sees at a time.
const numCursors = 64

// roundRobin takes the eligible backends in turn, whatever their weight. A full
// one passes its turn to a random other, not to its neighbour, which would then
// serve twice its share; so does, now and then, one that starts slowly.
//
// Each eligible set has a cursor of its own (by hash). With a single one, two
// kinds of request that alternate on one pool, or a retry after each first
// attempt, would step in lockstep: each kind would meet the same backend every
// time.
type roundRobin struct {
	cursors [numCursors]atomic.Uint64
}

// Name is Policy.Name.
func (p *roundRobin) Name() string { return nameRoundRobin }

// Pick is Policy.Pick. For one eligible set and no full backends, the picks of
// any two backends differ by one at most.
func (p *roundRobin) Pick(r *Request, candidates []Candidate) int {
	open := r.Eligible.And(FirstN(len(candidates)))
	n := uint64(open.Count())
	if n == 0 {
		return -1
	}
	cursor := &p.cursors[open.hash()%numCursors]
	if cursor.Load() == 0 {
		// Routers that start together must not all begin with the same backend.
		cursor.CompareAndSwap(0, r.Rand)
	}
	return passOn(open, open.nth(int(cursor.Add(1)%n)), n, r.Rand, candidates)
}

// passOn returns i, the candidate whose turn it is, or a random other of the n
// that are open if i is full or holds itself back.
func passOn(open Mask, i int, n, random uint64, candidates []Candidate) int {
	spare := -1 // could have been taken, should nobody else be left
	for {
		random = mix(random)
		if !candidates[i].full() {
			if !candidates[i].holdsBack(random) {
				return i
			}
			spare = i
		}
		open.Clear(i)
		if n--; n == 0 {
			return spare
		}
		random = mix(random)
		i = open.nth(int(below(random, n)))
	}
}
