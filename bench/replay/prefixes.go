package replay

// What a simulated router remembers of prompts: package router's use of the prefix
// index.

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
)

const (
	indexMemory  = 64 << 20 // as pools[].prefix_index.memory
	spareHorizon = 4        // as in package router
)

// prefixes is a router's prefix index.
type prefixes struct {
	index   *balancer.Index
	seed    uint64
	chain   balancer.Chain
	chained int // the request that chain is of, -1: none
	matches balancer.Matches
	lives   []uint32
	sizes   []int64
}

func (p *prefixes) init(c *Config, name string) {
	width := min((c.Backends+63)/64*64, balancer.MaxBackends)
	size := min(indexMemory, balancer.IndexBytes(int64(c.Backends)*spareHorizon*balancer.DefaultHorizon, width))
	p.index, p.seed, p.chained = balancer.NewIndex(size, width), streamOf(c.Seed, "router 0 index").next(), -1 // all agree
	p.lives, p.sizes = make([]uint32, c.Backends), make([]int64, c.Backends)
}

// chainOf returns the chain of a request.
func (r *router) chainOf(request int) *balancer.Chain {
	if r.chained != request {
		r.world.prompts.chain(&r.chain, r.seed, request)
		r.chained = request
	}
	return &r.chain
}

// match tells q how much of the prompt each backend has read.
func (r *router) match(q *balancer.Request, request int) {
	chain := r.chainOf(request)
	r.index.Match(chain, q.Eligible, &r.matches)
	q.Index, q.Chain, q.Matches, q.Root = r.index, chain, &r.matches, chain.Root()
	if c := r.world.config; c.Routers > 1 && c.Gossip < 0 {
		q.Home = chain.Home()
	}
}

// given notes that a backend was given the prompt of a request, and tells the other
// routers.
func (r *router) given(request, backend int) {
	if r.wants&balancer.WantsPrompt == 0 {
		return
	}
	r.note(request, backend)
	w := r.world
	if w.config.Gossip < 0 {
		return
	}
	for i := range w.routers {
		if i != r.number {
			w.events.add(w.now+int64(w.config.Gossip), kindGossip, i, placement(request, backend))
		}
	}
}

// hear notes what another router said.
func (r *router) hear(what int64) { r.note(placed(what)) }

func (r *router) note(request, backend int) {
	s := &r.pool.Endpoint(backend).Signals
	if lives := s.Restarts(); r.lives[backend] != lives {
		r.lives[backend] = lives
		r.index.Forget(backend)
	}
	if tokens := s.KVTokens(); tokens > 0 && r.sizes[backend] != tokens {
		r.sizes[backend] = tokens
		r.index.SetHorizon(backend, int64(r.world.config.IndexScale*float64(tokens*bytesPerToken)))
	}
	r.index.Insert(r.chainOf(request), backend, r.world.now)
}

// calibrate tells the index how much of what it predicted the engine found.
func (r *router) calibrate(f *flight, u helixflow.Usage) {
	if r.wants&balancer.WantsPrompt == 0 || f.hit == 0 || f.size == 0 || !f.lease.Endpoint().Load.ReportsCached() {
		return
	}
	predicted := float64(f.hit) / float64(f.size) * float64(u.InputTokens)
	r.index.Calibrate(f.engine.number, int64(predicted), u.CachedTokens)
}

// scrape reads the metrics of a backend.
func (r *router) scrape(backend int) {
	w := r.world
	if w.over() {
		return
	}
	e, s := w.backends[backend], &r.pool.Endpoint(backend).Signals
	if e.up {
		if uint32(e.lives) != s.Restarts() {
			s.Restarted()
		}
		c := e.model.Counters()
		s.SetKV(float64(c.BlocksUsed)/float64(c.BlocksTotal), w.now)
		s.SetWaiting(float64(c.Waiting), w.now)
		s.SetRunning(float64(c.Running), w.now)
		s.SetKVTokens(int64(w.config.Engine.KVTokens()))
	}
	every := uint64(w.config.Scrape)
	w.events.add(w.now+int64(every-every/10+r.jitter.below(every/5+1)), kindScrape, backend, int64(r.number))
}

const (
	checkEvery = 5 * time.Second // as health.every
	checkOut   = time.Second
	checkGap   = 200 * time.Millisecond
	checkFirst = time.Second
)

// check looks whether a backend lives; one that was put off by hurry is void.
func (r *router) check(backend int, due int64) {
	w := r.world
	if w.over() || r.lastCheck[backend] > due {
		return
	}
	reason := ""
	if !w.backends[backend].up {
		reason = "connection refused"
	}
	wait := int64(checkEvery)
	if r.pool.Checked(backend, reason, r.time()) {
		wait = int64(checkOut)
	}
	r.lastCheck[backend] = w.now + wait
	w.events.add(w.now+wait, kindCheck, backend, int64(r.number))
	r.freed()
}

// hurry checks a backend at once.
func (r *router) hurry(backend int) {
	w := r.world
	if at := w.now + int64(checkGap); at < r.lastCheck[backend] {
		r.lastCheck[backend] = at
		w.events.add(at, kindCheck, backend, int64(r.number))
	}
}

// sweep lets slow starts go on.
func (r *router) sweep() {
	if r.world.over() {
		return
	}
	r.pool.Sweep(r.time())
	r.world.events.add(r.world.now+int64(time.Second), kindSweep, r.number, 0)
}
