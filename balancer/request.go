package balancer

// What a policy is asked, and how it is answered.

// Request is what a policy knows of the request it places, and what it decided.
// The caller owns it; a policy keeps nothing of it. One Request may be used for
// pick after pick.
type Request struct {
	Eligible Mask   // healthy, not draining, not tried yet
	Rand     uint64 // fresh random bits, the only randomness a policy has
	Cold     Mask   // those that are known to have to load the model first, for Signals.LoadTime
	Absent   Mask   // those that are known to have to load the adapter that is asked for,
	Queued   Mask   // and those where others wait for room to
	Now      int64  // nanoseconds, by the clock of the Loads

	Tokens int64  // of the prompt, about; 0: nobody knows
	Output int64  // that the answer is expected to have
	Stream bool   // its first token will be seen
	Root   uint64 // hash of the prompt's first block; 0: it has none

	// Home is the hash of the prompt's beginning where other routers, of whose
	// picks nothing is known, place such prompts too; 0: the index knows all.
	Home uint64

	Session uint64 // hash of what tells the request's session from others; 0: it has none

	// The prompt, and what the index found of it for the places of Eligible. Chain
	// nil: nobody has looked; Index nil: it was not asked.
	Chain   *Chain
	Index   *Index
	Matches *Matches

	Decision Decision // what Choose decided last

	perByte float64                // tokens of the prompt
	costs   [MaxBackends]float32   // adaptive's scratch
	extra   [maxBlocks + 1]float32 // likewise: the surcharge for all blocks before
}

// Wants are what a policy goes by that costs something to find out.
type Wants uint8

// The wants.
const (
	WantsSize    Wants = 1 << iota // Tokens and Output
	WantsPrompt                    // Root and Chain
	WantsIndex                     // Index and Matches
	WantsSession                   // Session
)

// WantsOf returns what p goes by: everything, for one that is not of this package.
func WantsOf(p Policy) Wants {
	switch p.Name() {
	case nameLeastInflight, nameRandom, nameRoundRobin, nameWeighted:
		return 0
	case nameAdaptive, namePriority:
		return WantsSize | WantsPrompt | WantsIndex
	case nameCHWBL:
		return WantsSize | WantsPrompt
	case nameLeastTokens, nameP2CEWMA, namePrequal:
		return WantsSize
	case nameSessionAffinity:
		return WantsSession | WantsPrompt
	}
	return WantsSize | WantsPrompt | WantsIndex | WantsSession
}

// Choose has p pick for r, and sees to it that r.Decision says what there is to
// say of any policy's pick.
func Choose(p Policy, r *Request, candidates []Candidate) int {
	r.Decision = Decision{Next: -1}
	r.prepare()
	i := p.Pick(r, candidates)
	if i < 0 {
		return -1
	}
	d, c := &r.Decision, &candidates[i]
	d.Hit, d.Predicted = r.hit(c), r.predicted(c)
	d.Wait, d.booked = c.Ahead(r.Now), c.Load.Ahead(r.Now)
	return i
}

// prepare works out what all backends have in common.
func (r *Request) prepare() {
	r.perByte = 0
	if r.Index != nil && r.Matches.Best() > 0 {
		r.perByte = float64(r.Tokens) / float64(r.Chain.Bytes())
	}
}

// predicted is how many tokens of the prompt c should have in its cache.
func (r *Request) predicted(c *Candidate) int64 {
	if r.perByte == 0 {
		return 0
	}
	blocks := r.Matches.Blocks(c.Place)
	if blocks == 0 {
		return 0
	}
	// The last token is always computed: its result is what is asked for.
	return max(min(int64(float64(blockEnd(blocks-1))*r.perByte), r.Tokens-1), 0)
}

// hit is how many of those are believed.
func (r *Request) hit(c *Candidate) int64 {
	n := r.predicted(c)
	if n == 0 {
		return 0
	}
	return int64(float64(n) * r.Index.Trust(c.Place))
}

// Ahead is how many seconds of prompts c has before it could begin with another
// one: what was promised to it here, and what others are told to have there.
func (c *Candidate) Ahead(now int64) float64 {
	l := c.Load
	ahead := l.Ahead(now)
	if waiting, age := c.Signals.Waiting(now); waiting > 0 {
		own := float64(l.inflight.Load() - l.started.Load())
		ahead += Freshness(age) * max(waiting-own, 0) * l.learned.prompt.get() / l.PrefillRate()
	}
	return ahead
}
