package balancer

// What a request costs on a backend, in seconds.

import (
	"math"
	"math/bits"
)

// What is taken for the work of a request of which nothing is known.
const (
	nominalTokens = 256
	nominalOutput = 256
)

// What an adapter costs, in seconds, that has to be loaded, and one that others
// wait for there already.
const (
	adapterLoad = 1.0
	adapterWait = 0.3
)

const (
	maxKVUse  = 0.98
	worstCost = 1e9 // what is no number, or beyond, counts as this
)

// costing is what is the same for all backends of one pick.
type costing struct {
	r          *Request
	tokens     float64
	decode     float64 // weight of a second that each step gets longer
	perSeq     float64 // seconds a step gets longer by a running request
	perKV      float64 // and by a token of its context
	kvPressure float64
	maxWait    float64
	best       float64 // surcharge of who has none of what somebody has, in tokens
	probing    bool
	home       int     // the candidate that the prompt belongs to; -1: none
	homeHit    float64 // tokens of the prompt that it is believed to have at least
	homeSpared float64 // their surcharge
	adapter    bool    // some backend is known to have the adapter, and some not to
}

func (p *adaptive) costing(r *Request, open Mask, candidates []Candidate) costing {
	t := &p.tuning
	tokens, output := r.Tokens, r.Output
	if tokens == 0 {
		tokens, output = nominalTokens, nominalOutput
	}
	k := costing{
		r: r, home: -1, best: p.surcharge(r), maxWait: t.AffinityMaxWait.Seconds(), tokens: float64(tokens), decode: t.Interference * float64(output),
		perSeq: t.PerRequest.Seconds(), perKV: t.PerKVToken.Seconds(), kvPressure: t.KVPressure.Seconds(),
		adapter: !r.Absent.Empty() || !r.Queued.Empty(),
		probing: t.Probe > 0 && float64(mix(r.Rand)>>11)/(1<<53) < t.Probe,
	}
	if r.Home != 0 && t.Home > 0 {
		k.believe(homeOf(r.Home, open, candidates), p)
	}
	return k
}

// believe takes the prompt's home to have the beginning of it, since other routers
// would have sent it there; unless it is what everybody uses, which may lie
// everywhere.
func (k *costing) believe(home int, p *adaptive) {
	popularity := uint8(0)
	if k.r.perByte > 0 {
		popularity = k.r.Matches.Popularity(min(homeBlocks, k.r.Matches.Best()) - 1)
	}
	k.home, k.homeHit = home, p.tuning.Home*k.tokens
	k.homeSpared = k.homeHit * float64(p.extra[popularity])
	k.best = max(k.best, k.homeSpared)
}

// homeOf is the open candidate that a key belongs to, full or not; -1 for none.
// Routers that see the same candidates agree on it.
func homeOf(key uint64, open Mask, candidates []Candidate) int {
	best, highest := -1, math.Inf(-1)
	for w, word := range open {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			if s := candidates[i].score(key, i); s > highest {
				best, highest = i, s
			}
		}
	}
	return best
}

// surcharge adds up what the blocks of the prompt cost extra where they are not
// cached, for each number of blocks from the beginning; in tokens. Without it
// every backend would sooner or later compute every prefix, and throw out others'
// (a piece that everybody uses may lie everywhere).
func (p *adaptive) surcharge(r *Request) float64 {
	if r.perByte == 0 {
		return 0
	}
	sum := float32(0)
	for i := range r.Matches.Best() {
		r.extra[i] = sum
		sum += p.extra[r.Matches.Popularity(i)] * float32(blockSize(i)) * float32(r.perByte)
	}
	r.extra[r.Matches.Best()] = sum
	return float64(sum)
}

// cost is what the request costs on c, which is candidate i.
func (k *costing) cost(i int, c *Candidate) float64 {
	l, now := c.Load, k.r.Now
	inflight, rate, factor, base := l.inflight.Load(), l.PrefillRate(), l.Factor(), l.Base(now)
	if k.probing { // as if nothing had been learned
		rate, factor, base = max(rate, l.configuredRate()), min(factor, 1), 0
	}
	hit, spared := k.cached(i, c)
	work := c.Ahead(now) + (k.tokens-hit)/rate
	if k.best > 0 {
		work += min((k.best-spared)/rate, k.maxWait)
	}
	beside := k.decode * (k.perSeq*float64(inflight) + k.perKV*float64(l.kv.Load()))
	if times := l.learned.steps.counts.get(); times > 0 && !k.probing {
		beside *= times // how slow it is is in that already
	} else {
		beside *= factor
	}
	if slots := c.Signals.Slots(); slots > 0 && inflight >= slots {
		work += float64(inflight-slots+1) / float64(slots) * l.learned.service.get()
	}
	cost := (work*factor+beside+base)/float64(max(c.Weight, 1)) + k.kvPressure*c.pressure(now)
	if k.r.Cold.Has(i) {
		cost += c.Signals.LoadTime().Seconds()
	}
	if k.adapter {
		switch {
		case k.r.Absent.Has(i):
			cost += adapterLoad
		case k.r.Queued.Has(i):
			cost += adapterWait
		}
	}
	if !(cost < worstCost) {
		return worstCost
	}
	return cost
}

// cached is how many tokens of the prompt c has, and their surcharge.
func (k *costing) cached(i int, c *Candidate) (hit, spared float64) {
	if k.r.perByte > 0 {
		hit, spared = float64(k.r.hit(c)), float64(k.r.extra[k.r.Matches.Blocks(c.Place)])
	}
	if i == k.home {
		hit, spared = max(hit, k.homeHit), max(spared, k.homeSpared)
	}
	return hit, spared
}

// pressure is how full c's KV cache is, or how far its quota is used up, as a
// number that grows beyond all bounds towards the end.
func (c *Candidate) pressure(now int64) float64 {
	used := 0.0
	if use, age := c.Signals.KV(now); age < staleAt {
		used = use
	}
	if use, age := c.Signals.Quota(now); age < staleAt {
		used = max(used, use)
	}
	used = min(used, maxKVUse)
	return used / (1 - used)
}

// Coster tells what requests cost, by adaptive's formula, whatever policy places
// them. It changes nothing; safe for concurrent use.
type Coster struct{ by *adaptive }

// NewCoster returns a Coster.
func NewCoster(t Tuning) *Coster { return &Coster{newAdaptive(t)} }

// Estimate is what a request is predicted to meet on one backend.
type Estimate struct {
	Hit        int64   // tokens of its prompt in the cache
	Wait, Cost float64 // seconds
}

// Cost returns what r costs on candidate i, beside the others that are eligible.
func (c *Coster) Cost(r *Request, candidates []Candidate, i int) Estimate {
	r.prepare()
	open := r.Eligible.And(FirstN(len(candidates)))
	k, to := c.by.costing(r, open, candidates), &candidates[i]
	k.probing = false
	return Estimate{Hit: r.hit(to), Wait: to.Ahead(r.Now), Cost: k.cost(i, to)}
}
