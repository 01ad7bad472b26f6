package balancer

// What a request costs on a backend, in seconds.

// What is taken for the work of a request of which nothing is known.
const (
	nominalTokens = 256
	nominalOutput = 256
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
}

func (p *adaptive) costing(r *Request) costing {
	t := &p.tuning
	tokens, output := r.Tokens, r.Output
	if tokens == 0 {
		tokens, output = nominalTokens, nominalOutput
	}
	return costing{
		r: r, best: p.surcharge(r), maxWait: t.AffinityMaxWait.Seconds(), tokens: float64(tokens), decode: t.Interference * float64(output),
		perSeq: t.PerRequest.Seconds(), perKV: t.PerKVToken.Seconds(), kvPressure: t.KVPressure.Seconds(),
		probing: t.Probe > 0 && float64(mix(r.Rand)>>11)/(1<<53) < t.Probe,
	}
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
	work := c.Ahead(now) + (k.tokens-float64(k.r.hit(c)))/rate
	if k.best > 0 {
		work += min((k.best-float64(k.r.extra[k.r.Matches.Blocks(c.Place)]))/rate, k.maxWait)
	}
	work += k.decode * (k.perSeq*float64(inflight) + k.perKV*float64(l.kv.Load()))
	if slots := c.Signals.Slots(); slots > 0 && inflight >= slots {
		work += float64(inflight-slots+1) / float64(slots) * l.learned.service.get()
	}
	cost := (work*factor+base)/float64(max(c.Weight, 1)) + k.kvPressure*c.pressure(now)
	if k.r.Cold.Has(i) {
		cost += c.Signals.LoadTime().Seconds()
	}
	if !(cost < worstCost) {
		return worstCost
	}
	return cost
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
	k, to := c.by.costing(r), &candidates[i]
	k.probing = false
	return Estimate{Hit: r.hit(to), Wait: to.Ahead(r.Now), Cost: k.cost(i, to)}
}
