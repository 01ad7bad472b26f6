package metric

// What is counted per backend.

import "sync/atomic"

// BackendSeries is what is counted per backend. Its methods are safe for
// concurrent use, take no lock and do not allocate.
type BackendSeries struct {
	name     string
	answers  codeCounts
	retries  atomic.Uint64
	inflight atomic.Pointer[func() float64]
}

// Request counts one try on the backend by the status it answered; 0 says that
// no answer came.
func (s *BackendSeries) Request(status int) { s.answers.count(status) }

// Retry counts a try that failed here and was followed by another.
func (s *BackendSeries) Retry() { s.retries.Add(1) }

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
	t.family(backendInflight)
	for _, s := range backends {
		if inflight := *s.inflight.Load(); inflight != nil {
			t.sampleFloat(backendInflight.name, inflight(), "backend", s.name)
		}
	}
}
