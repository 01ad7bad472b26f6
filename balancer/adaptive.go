package balancer

// The policy adaptive.

import (
	"math"
	"math/bits"
	"time"
)

const nameAdaptive = "adaptive"

// Tuning are the constants of adaptive. Those of DefaultTuning were found by
// simulation; they are figures of taste within a factor of two.
type Tuning struct {
	// Surcharge is how many times over a request pays for prompt that it has a
	// backend compute though another one has it in its cache: it displaces what
	// others have cached there.
	Surcharge float64
	// Popularity is after how many uses, of late, a piece of prompt costs half
	// of that: what everybody uses may well be in every cache.
	Popularity float64
	// AffinityMaxWait bounds what the surcharge makes a request wait.
	AffinityMaxWait time.Duration
	// Interference is which part of the slowdown by others' generating counts.
	Interference float64
	// PerRequest and PerKVToken are by how much a running request, and a token of
	// its context, prolong each step of a backend.
	PerRequest, PerKVToken time.Duration
	// KVPressure is what a half full KV cache, or a half used quota, costs; a full
	// one costs 49 times that.
	KVPressure time.Duration
	// Home is the part of a prompt that its home is believed to have read, where
	// nobody knows what other routers sent there.
	Home float64
	// Probe is the part of the picks that ignore that a backend was slow.
	Probe float64
}

// DefaultTuning is what adaptive runs by unless told otherwise.
func DefaultTuning() Tuning {
	return Tuning{
		Surcharge: 8, Popularity: 8, AffinityMaxWait: 14 * time.Second,
		Interference: 0.5, PerRequest: 20 * time.Microsecond, PerKVToken: 40 * time.Nanosecond,
		KVPressure: 30 * time.Millisecond, Home: 0.1, Probe: 0.005,
	}
}

// adaptive takes the backend where the request costs least, in seconds: what is
// ahead of it there, its own prompt less what is cached, what it takes away from
// others, and what they take from it. Equals are told apart by the prompt's first
// block, so that sessions keep together without anything being remembered, or by
// chance where there is no prompt to go by.
type adaptive struct {
	tuning Tuning
	extra  [256]float32 // Surcharge by popularity
	pace   pace
}

func newAdaptive(t Tuning) *adaptive {
	p := &adaptive{tuning: t}
	for popularity := range p.extra {
		p.extra[popularity] = float32(t.Surcharge / (1 + float64(popularity)/max(t.Popularity, 1)))
	}
	return p
}

// Name is Policy.Name.
func (p *adaptive) Name() string { return nameAdaptive }

// Pick is Policy.Pick.
func (p *adaptive) Pick(r *Request, candidates []Candidate) int {
	candidates = candidates[:min(len(candidates), MaxBackends)]
	p.pace.refresh(r.Now, candidates)
	open := r.Eligible.And(FirstN(len(candidates)))
	k := p.costing(r, open, candidates)
	f := k.compare(r.present(open, candidates), candidates)
	if f.best < 0 { // who starts slowly is better than nobody
		if f = k.compare(open, candidates); f.best < 0 {
			return -1
		}
	}
	reason := ReasonLoad
	if most := f.lowest + max(tieSeconds, tiePart*f.lowest); f.next >= 0 && f.second <= most {
		reason = ReasonTie
		if i := r.untie(f.open, most, candidates); i != f.best {
			f.best, f.next = i, f.best
		}
	}
	p.decide(r, &k, candidates, f, reason)
	return f.best
}

// present is open without those that start slowly and let this pick pass: a
// higher cost instead would keep them out altogether while the pool is idle.
func (r *Request) present(open Mask, candidates []Candidate) Mask {
	random := ^r.Rand // apart from what unties
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			if candidates[i].Load.withheld.Load() == 0 {
				continue
			}
			if random = mix(random); candidates[i].holdsBack(random) {
				open.Clear(i)
			}
		}
	}
	return open
}

// found are the two that cost least, and who had room; -1 is nobody.
type found struct {
	best, next     int
	lowest, second float64
	open           Mask
}

// compare costs the open candidates.
func (k *costing) compare(open Mask, candidates []Candidate) found {
	f := found{best: -1, next: -1, open: open}
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			c := &candidates[i]
			if c.full() {
				f.open.Clear(i)
				continue
			}
			cost := k.cost(i, c)
			k.r.costs[i] = float32(cost)
			switch {
			case f.best < 0 || cost < f.lowest:
				f.best, f.next, f.lowest, f.second = i, f.best, cost, f.lowest
			case f.next < 0 || cost < f.second:
				f.next, f.second = i, cost
			}
		}
	}
	return f
}

// Costs within so much of the lowest are as good as it.
const (
	tieSeconds = 0.001
	tiePart    = 0.02
)

// decide writes down what was decided.
func (p *adaptive) decide(r *Request, k *costing, candidates []Candidate, f found, reason Reason) {
	c := &candidates[f.best]
	d := Decision{Reason: reason, Costed: true, Cost: float64(r.costs[f.best]), Next: f.next}
	if f.next >= 0 {
		d.Second = float64(r.costs[f.next])
		switch {
		case r.hit(c) > r.hit(&candidates[f.next]):
			d.Reason = ReasonPrefix
		case f.best == k.home:
			d.Reason = ReasonSticky
		}
	}
	if k.probing && c.Load.isSlow() {
		d.Reason = ReasonProbe
	}
	r.Decision = d
}

// untie chooses among the open candidates that cost at most this much: who has
// the highest score for the prompt's first block (rendezvous hashing, Thaler and
// Ravishankar 1998), or a random one, both in proportion to weight.
func (r *Request) untie(open Mask, most float64, candidates []Candidate) int {
	best, highest, random := -1, math.Inf(-1), r.Rand
	var total int64
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			if float64(r.costs[i]) > most {
				continue
			}
			c := &candidates[i]
			if r.Root != 0 {
				if s := c.score(r.Root, i); best < 0 || s > highest {
					best, highest = i, s
				}
				continue
			}
			weight := int64(max(c.Weight, 1))
			total += weight
			random = mix(random)
			if below(random, uint64(total)) < uint64(weight) {
				best = i
			}
		}
	}
	return best
}

// score is how much key belongs to c, the candidate of index i, by its weight: the
// largest one's it is (weighted rendezvous hashing, Schindelhauer and Schomaker
// 2005).
func (c *Candidate) score(key uint64, i int) float64 {
	id := c.ID
	if id == 0 {
		id = uint64(i) + 1
	}
	u := (float64(mix(key^mix(id))>>11) + 0.5) / (1 << 53)
	return float64(max(c.Weight, 1)) / -math.Log(u)
}
