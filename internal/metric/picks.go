package metric

// What is counted of the choices of backends, per pool.

import (
	"sync/atomic"
	"time"
)

// IndexFigures is what a pool's prefix index holds at one moment.
type IndexFigures struct {
	Entries, Capacity, Bytes int64
	Evictions                int64
}

// PickSeries is what is counted of a pool's choices. Its methods are safe for
// concurrent use, take no lock and do not allocate, unless they say so.
type PickSeries struct {
	pool     string
	reasons  []string
	picks    []atomic.Uint64 // by reason
	prompt   atomic.Uint64   // tokens
	expected atomic.Uint64
	cached   atomic.Uint64
	ratio    histogram
	index    atomic.Pointer[func() IndexFigures]
	shadows  atomic.Pointer[[]*ShadowSeries]
}

// ratioBounds are times what was predicted, as if they were seconds.
var ratioBounds = []time.Duration{
	time.Second / 10, time.Second / 4, time.Second / 2, 3 * time.Second / 4, time.Second, 5 * time.Second / 4, 3 * time.Second / 2,
	2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second,
}

// Picks returns the series of a pool, always the same ones for a name; reasons are
// the names of all reasons there are. Not for the request path: it locks.
func (m *Metrics) Picks(pool string, reasons []string) *PickSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.picks[pool]
	if s == nil {
		s = &PickSeries{pool: pool, reasons: reasons, picks: make([]atomic.Uint64, len(reasons)), ratio: histogram{bounds: ratioBounds}}
		m.picks[pool] = s
	}
	return s
}

// Pick counts one choice by the index of its reason.
func (s *PickSeries) Pick(reason int) { s.picks[reason].Add(1) }

// Prefix counts the tokens of a prompt, those that were expected in the chosen
// backend's cache, and those that it found there; of engines that tell.
func (s *PickSeries) Prefix(prompt, expected, cached int64) {
	s.prompt.Add(uint64(max(prompt, 0)))
	s.expected.Add(uint64(max(expected, 0)))
	s.cached.Add(uint64(max(cached, 0)))
}

// FirstToken counts how many times longer a first token took than was predicted.
func (s *PickSeries) FirstToken(times float64) {
	s.ratio.observe(time.Duration(min(times, 1e6) * float64(time.Second)))
}

// Index has scrapes ask figures, from any goroutine, what the pool's prefix index
// holds; the latest one given counts, nil leaves it out.
func (s *PickSeries) Index(figures func() IndexFigures) {
	if figures == nil {
		s.index.Store(nil)
		return
	}
	s.index.Store(&figures)
}

// ShadowSeries is what is counted of a policy that decides beside a pool's own,
// without effect.
type ShadowSeries struct {
	policy          string
	agreed, differs atomic.Uint64
	better, worse   atomic.Int64 // nanoseconds
}

// Shadows returns the series of the policies of these names, in their order,
// always the same ones for a name; others are left out of scrapes from then on.
// Not for the request path: it allocates.
func (s *PickSeries) Shadows(policies []string) []*ShadowSeries {
	var known []*ShadowSeries
	if list := s.shadows.Load(); list != nil {
		known = *list
	}
	list := make([]*ShadowSeries, len(policies))
	for i, name := range policies {
		list[i] = &ShadowSeries{policy: name}
		for _, old := range known {
			if old.policy == name {
				list[i] = old
			}
		}
	}
	s.shadows.Store(&list)
	return list
}

// Choice counts one choice of the shadow's: whether it was that of the pool's own
// policy, and by how many seconds it was predicted to be better, or worse when
// that is below zero.
func (s *ShadowSeries) Choice(same bool, better float64) {
	if same {
		s.agreed.Add(1)
		return
	}
	s.differs.Add(1)
	nanos := int64(min(max(better, -1e6), 1e6) * float64(time.Second))
	if nanos > 0 {
		s.better.Add(nanos)
	} else {
		s.worse.Add(-nanos)
	}
}

// writePicks writes the families of choices.
func writePicks(t *text, pools []*PickSeries) {
	t.family(picksTotal)
	for _, s := range pools {
		for i := range s.picks {
			if n := s.picks[i].Load(); n > 0 {
				t.sample(picksTotal.name, n, "pool", s.pool, "reason", s.reasons[i])
			}
		}
	}
	t.family(firstTokenRatio)
	for _, s := range pools {
		s.ratio.write(t, firstTokenRatio.name, "pool", s.pool)
	}
	t.family(prefixTokens)
	for _, s := range pools {
		if n := s.prompt.Load(); n > 0 {
			t.sample(prefixTokens.name, s.cached.Load(), "pool", s.pool, "what", "cached")
			t.sample(prefixTokens.name, s.expected.Load(), "pool", s.pool, "what", "expected")
			t.sample(prefixTokens.name, n, "pool", s.pool, "what", "prompt")
		}
	}
	writeIndexes(t, pools)
	writeShadows(t, pools)
}

func writeIndexes(t *text, pools []*PickSeries) {
	for _, f := range []struct {
		family family
		of     func(IndexFigures) int64
	}{
		{prefixEntries, func(x IndexFigures) int64 { return x.Entries }},
		{prefixCapacity, func(x IndexFigures) int64 { return x.Capacity }},
		{prefixBytes, func(x IndexFigures) int64 { return x.Bytes }},
		{prefixEvictions, func(x IndexFigures) int64 { return x.Evictions }},
	} {
		t.family(f.family)
		for _, s := range pools {
			if figures := s.index.Load(); figures != nil {
				t.sample(f.family.name, uint64(max(f.of((*figures)()), 0)), "pool", s.pool)
			}
		}
	}
}

func writeShadows(t *text, pools []*PickSeries) {
	each := func(do func(pool string, s *ShadowSeries)) {
		for _, p := range pools {
			if list := p.shadows.Load(); list != nil {
				for _, s := range *list {
					do(p.pool, s)
				}
			}
		}
	}
	t.family(shadowPicks)
	each(func(pool string, s *ShadowSeries) {
		t.sample(shadowPicks.name, s.differs.Load(), "pool", pool, "policy", s.policy, "same", "false")
		t.sample(shadowPicks.name, s.agreed.Load(), "pool", pool, "policy", s.policy, "same", "true")
	})
	t.family(shadowSeconds)
	each(func(pool string, s *ShadowSeries) {
		t.sampleFloat(shadowSeconds.name, float64(s.better.Load())/float64(time.Second), "pool", pool, "policy", s.policy, "side", "better")
		t.sampleFloat(shadowSeconds.name, float64(s.worse.Load())/float64(time.Second), "pool", pool, "policy", s.policy, "side", "worse")
	})
}
