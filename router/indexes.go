package router

import (
	crand "crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/metric"
)

// This file keeps what each pool's backends are believed to have in their caches.
// It outlives plans: a reload forgets no prompt.

// Indexes are all pools' prefix indexes, whatever the plan. The zero value is
// ready; safe for concurrent use.
type Indexes struct {
	mu    sync.Mutex // guards the fields below
	seed  uint64     // secret, this process's own or all replicas'; 0: not drawn yet
	pools map[string]*poolIndex

	placements *placements // with other replicas; nil: with none
	scattered  atomic.Bool // others send prompts to the same backends, and do not tell
}

// poolIndex is what is known of one pool's backends.
type poolIndex struct {
	table  *balancer.Index
	seed   uint64 // of the pool's chains; secret
	memory int64
	width  int
	places map[*backends.Endpoint]int // in the index; Indexes.mu guards them
	shared *placements
	all    *Indexes

	lives [balancer.MaxBackends]atomic.Uint32 // by place: restarts that were seen
	sizes [balancer.MaxBackends]atomic.Int64  // tokens of KV cache that were told
}

// placesOf is how many places an index has for n backends: whole words of its.
func placesOf(n int) int { return min((n+63)/64*64, balancer.MaxBackends) }

// of returns the index of a pool with these endpoints, in at most so much memory,
// and the place of each there. Endpoints that had one keep it, so that one index
// serves the plan in force and the next.
func (x *Indexes) of(pool string, list []*backends.Endpoint, memory int64) (*poolIndex, []int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pools[pool]
	if p == nil || p.memory != memory || !p.fits(list) {
		p = x.make(pool, len(list), memory)
	}
	taken := make(map[int]bool, len(p.places))
	for _, place := range p.places {
		taken[place] = true
	}
	places, next := make([]int, len(list)), 0
	for i, ep := range list {
		place, known := p.places[ep]
		if !known {
			for taken[next] {
				next++
			}
			place, taken[next] = next, true
			p.places[ep] = place
		}
		places[i] = place
	}
	return p, places
}

// fits reports whether there are places for those that have none yet.
func (p *poolIndex) fits(list []*backends.Endpoint) bool {
	n := len(p.places)
	for _, ep := range list {
		if _, known := p.places[ep]; !known {
			n++
		}
	}
	return n <= p.width
}

// spareHorizon is how many times the usual cache of an engine an index has room
// for: some remember more.
const spareHorizon = 4

func (x *Indexes) make(pool string, n int, memory int64) *poolIndex {
	if x.seed == 0 {
		var b [8]byte
		_, _ = crand.Read(b[:]) // never fails
		x.seed = binary.LittleEndian.Uint64(b[:]) | 1
		x.pools = make(map[string]*poolIndex)
	}
	width := placesOf(n)
	size := min(memory, balancer.IndexBytes(int64(n)*spareHorizon*balancer.DefaultHorizon, width))
	p := &poolIndex{
		table: balancer.NewIndex(size, width), seed: balancer.Salt(x.seed, []byte(pool)),
		memory: memory, width: width, places: make(map[*backends.Endpoint]int), shared: x.placements, all: x,
	}
	x.pools[pool] = p
	return p
}

// figures is what a scrape shows of the index.
func (p *poolIndex) figures() metric.IndexFigures {
	s := p.table.Stats()
	return metric.IndexFigures{Entries: s.Entries, Capacity: s.Capacity, Bytes: s.Bytes, Evictions: s.Evictions}
}

// retain forgets whatever is not of the plan's pools: their endpoints' places go
// to others.
func (x *Indexes) retain(pools []*Pool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	kept := make(map[string]bool)
	for _, pool := range pools {
		p := pool.index
		if p == nil {
			continue
		}
		kept[pool.name] = true
		listed := make(map[*backends.Endpoint]bool, len(pool.endpoints))
		for _, ep := range pool.endpoints {
			listed[ep] = true
		}
		for ep, place := range p.places {
			if !listed[ep] {
				delete(p.places, ep)
				p.table.Forget(place)
			}
		}
	}
	for name := range x.pools {
		if !kept[name] {
			delete(x.pools, name)
		}
	}
}

// given notes that the endpoint at this place was given the prompt.
func (p *poolIndex) given(chain *balancer.Chain, place int, ep *backends.Endpoint, now int64) {
	if lives := ep.Signals.Restarts(); p.lives[place].Load() != lives {
		p.lives[place].Store(lives)
		p.table.Forget(place)
	}
	if tokens := ep.Signals.KVTokens(); tokens > 0 && p.sizes[place].Load() != tokens {
		p.sizes[place].Store(tokens)
		p.table.SetHorizon(place, 2*tokens*bytesPerToken) // an index that forgets too early costs most
	}
	p.table.Insert(chain, place, now)
	if p.shared != nil {
		p.shared.note(p.seed, ep.Mark(), chain)
	}
}

// match chains the request's prompt, unless that was done, and finds out who has
// read how much of it, if that is noted.
func (e *Exchange) match(p *placing, t *target) {
	if e.body == nil {
		return
	}
	if seed := e.seed(t); !p.chained || p.seed != seed {
		chainPrompt(&p.chain, seed, &e.call, e.body.B)
		p.seed, p.chained = seed, true
	}
	p.Chain, p.Root = &p.chain, p.chain.Root()
	if known := t.pool.index; known != nil {
		known.table.Match(&p.chain, t.pool.placesIn(p.Eligible), &p.matches)
		p.Index, p.Matches = known.table, &p.matches
		if known.all.scattered.Load() {
			p.Home = p.chain.Home()
		}
	}
}

// seed is what the prompt's chain begins with: caches are those of a model, and
// perhaps of a tenant.
func (e *Exchange) seed(t *target) uint64 {
	model := t.plain
	if model == nil {
		model = e.name.plain
	}
	if model == nil {
		model = e.deployment
	}
	if model == nil {
		model = e.call.ModelName(e.body.B)
	}
	seed := balancer.Salt(t.pool.seed, model)
	if t.pool.salted && e.principal != nil {
		seed = balancer.Salt(seed, []byte(e.principal.Tenant))
	}
	return seed
}

// placesIn is the places in the index of the pool's endpoints in open.
func (p *Pool) placesIn(open balancer.Mask) balancer.Mask {
	if p.ordered {
		return open
	}
	var places balancer.Mask
	for i := range p.candidates {
		if open.Has(i) {
			places.Set(p.candidates[i].Place)
		}
	}
	return places
}

// calibrate tells the index how much of what it predicted an engine found, if it
// is one that tells.
func (a *Attempt) calibrate(u helixflow.Usage) {
	p, d := a.pool.index, &a.decision
	if p == nil || !u.Reported || a.tokens == 0 || !a.lease.Endpoint().Load.ReportsCached() {
		return
	}
	own := float64(u.InputTokens) / float64(a.tokens) // the engine's tokens to one of ours
	a.pool.series.Prefix(u.InputTokens, int64(float64(d.Hit)*own), u.CachedTokens)
	if d.Predicted > 0 {
		p.table.Calibrate(a.place, int64(float64(d.Predicted)*own), u.CachedTokens)
	}
}
