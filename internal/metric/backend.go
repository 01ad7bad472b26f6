package metric

// What is counted per backend.

import (
	"sync/atomic"
	"time"
)

// BackendSeries is what is counted per backend. Its methods are safe for
// concurrent use, take no lock and do not allocate.
type BackendSeries struct {
	name      string
	answers   codeCounts
	retries   atomic.Uint64
	ejections atomic.Uint64
	warmups   [2]atomic.Uint64 // failed, done
	inflight  atomic.Pointer[func() float64]
	watch     atomic.Pointer[BackendWatch]
}

// BackendWatch is what a scrape asks about a backend's health, from any
// goroutine.
type BackendWatch struct {
	States      []string         // the names of all states there are
	State       func() int       // the present one's index in States
	Limit       func() int       // of requests in flight, as found out; 0: not looked for
	Book        func() Book      // nil: it has none
	Certificate func() time.Time // the end of its TLS certificate; zero when there is none or it is not known yet
	Signals     func() Signals   // what its engine tells of itself
}

// Signals is what a backend's engine tells of itself. The zero value is one that
// is not asked.
type Signals struct {
	Values   []Signal
	Reads    []Count // of the metrics, by what came of them
	Restarts uint64
}

// Signal is one of its numbers, if it is known.
type Signal struct {
	Name  string
	Value float64
	Known bool
}

// Count is how often something ended in one way.
type Count struct {
	Result string
	Count  uint64
}

// Book is what is promised to a backend at one moment, and learned of it.
type Book struct {
	PrefillTokens, KVTokens int64
	PrefillRate, Slowdown   float64
	Interference            float64
}

// Request counts one try on the backend by the status it answered; 0 says that
// no answer came.
func (s *BackendSeries) Request(status int) { s.answers.count(status) }

// Retry counts a try that failed here and was followed by another.
func (s *BackendSeries) Retry() { s.retries.Add(1) }

// Ejection counts that the backend was taken out because it failed.
func (s *BackendSeries) Ejection() { s.ejections.Add(1) }

// Warmup counts a request that was to warm the backend up.
func (s *BackendSeries) Warmup(done bool) { s.warmups[oneIf(done)].Add(1) }

// Watch sets what a scrape asks; the latest one given counts, nil leaves its
// gauges out.
func (s *BackendSeries) Watch(w *BackendWatch) { s.watch.Store(w) }

// writeBackends writes the families that have a backend label.
func writeBackends(t *text, backends []*BackendSeries) {
	t.family(backendRequests)
	for _, s := range backends {
		s.answers.write(t, backendRequests.name, "backend", s.name)
	}
	t.family(backendRetries)
	for _, s := range backends {
		t.sample(backendRetries.name, s.retries.Load(), "backend", s.name)
	}
	t.family(backendEjections)
	for _, s := range backends {
		t.sample(backendEjections.name, s.ejections.Load(), "backend", s.name)
	}
	t.family(backendWarmups)
	for _, s := range backends {
		for i, result := range [...]string{"failed", "done"} {
			if n := s.warmups[i].Load(); n > 0 {
				t.sample(backendWarmups.name, n, "backend", s.name, "result", result)
			}
		}
	}
	t.family(backendState)
	for _, s := range backends {
		if w := s.watch.Load(); w != nil {
			now := w.State()
			for i, name := range w.States {
				t.sample(backendState.name, oneIf(i == now), "backend", s.name, "state", name)
			}
		}
	}
	t.family(backendCertificate)
	for _, s := range backends {
		if w := s.watch.Load(); w != nil {
			if end := w.Certificate(); !end.IsZero() {
				t.sampleFloat(backendCertificate.name, float64(end.Unix()), "backend", s.name)
			}
		}
	}
	t.family(backendLimit)
	for _, s := range backends {
		if w := s.watch.Load(); w != nil && w.Limit != nil {
			if limit := w.Limit(); limit > 0 {
				t.sample(backendLimit.name, uint64(limit), "backend", s.name)
			}
		}
	}
	writeSignals(t, backends)
	writeBooks(t, backends)
	t.family(backendInflight)
	for _, s := range backends {
		if inflight := *s.inflight.Load(); inflight != nil {
			t.sampleFloat(backendInflight.name, inflight(), "backend", s.name)
		}
	}
}

// writeSignals writes what engines tell of themselves. Names of backends are one
// after the other in each family.
func writeSignals(t *text, backends []*BackendSeries) {
	told := make([]Signals, len(backends))
	for i, s := range backends {
		if w := s.watch.Load(); w != nil && w.Signals != nil {
			told[i] = w.Signals()
		}
	}
	t.family(backendSignal)
	for i, s := range backends {
		for _, v := range told[i].Values {
			if v.Known {
				t.sampleFloat(backendSignal.name, v.Value, "backend", s.name, "signal", v.Name)
			}
		}
	}
	t.family(backendSignalKnown)
	for i, s := range backends {
		for _, v := range told[i].Values {
			t.sample(backendSignalKnown.name, oneIf(v.Known), "backend", s.name, "signal", v.Name)
		}
	}
	t.family(backendReads)
	for i, s := range backends {
		for _, r := range told[i].Reads {
			t.sample(backendReads.name, r.Count, "backend", s.name, "result", r.Result)
		}
	}
	t.family(backendRestarts)
	for i, s := range backends {
		if told[i].Reads != nil {
			t.sample(backendRestarts.name, told[i].Restarts, "backend", s.name)
		}
	}
}

func writeBooks(t *text, backends []*BackendSeries) {
	for _, f := range []struct {
		family family
		of     func(*Book) float64
	}{
		{backendPrefill, func(b *Book) float64 { return float64(b.PrefillTokens) }},
		{backendKV, func(b *Book) float64 { return float64(b.KVTokens) }},
		{backendRate, func(b *Book) float64 { return b.PrefillRate }},
		{backendSlowdown, func(b *Book) float64 { return b.Slowdown }},
		{backendInterference, func(b *Book) float64 { return b.Interference }},
	} {
		t.family(f.family)
		for _, s := range backends {
			if w := s.watch.Load(); w != nil && w.Book != nil {
				b := w.Book()
				t.sampleFloat(f.family.name, f.of(&b), "backend", s.name)
			}
		}
	}
}

// writePools writes the families that have a pool label.
func writePools(t *text, pools []*poolSeries) {
	t.family(poolPanic)
	for _, s := range pools {
		t.sample(poolPanic.name, oneIf(s.panicking()), "pool", s.name)
	}
}

// poolSeries is what is told per pool.
type poolSeries struct {
	name      string
	panicking func() bool
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
