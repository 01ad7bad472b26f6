package metric

// What is counted of second tries beside the first, per pool.

import "sync/atomic"

// hedgeResults are what came of a second try, in the order of HedgeSeries.Over.
var hedgeResults = [...]string{"won", "lost", "failed"}

// HedgeSeries is what is counted of a pool's second tries. Its methods are safe
// for concurrent use, take no lock and do not allocate.
type HedgeSeries struct {
	pool    string
	over    [len(hedgeResults)]atomic.Uint64
	skipped atomic.Uint64
}

// Hedges returns the series of a pool, always the same ones for a name. Not for the
// request path: it locks.
func (m *Metrics) Hedges(pool string) *HedgeSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.hedges[pool]
	if s == nil {
		s = &HedgeSeries{pool: pool}
		m.hedges[pool] = s
	}
	return s
}

// Over counts a second try by what came of it: 0 is won, 1 lost, 2 failed.
func (s *HedgeSeries) Over(result int) { s.over[result].Add(1) }

// Skipped counts a request that was late and got no second try.
func (s *HedgeSeries) Skipped() { s.skipped.Add(1) }

func writeHedges(t *text, pools []*HedgeSeries) {
	t.family(hedgesTotal)
	for _, s := range pools {
		for i, name := range hedgeResults {
			t.sample(hedgesTotal.name, s.over[i].Load(), "pool", s.pool, "result", name)
		}
		t.sample(hedgesTotal.name, s.skipped.Load(), "pool", s.pool, "result", "skipped")
	}
}
