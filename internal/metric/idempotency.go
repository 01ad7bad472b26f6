package metric

// What is counted of idempotency keys.

import "sync/atomic"

// IdempotencyResult is what was known of a key.
type IdempotencyResult uint8

// The results.
const (
	IdempotentFirst    IdempotencyResult = iota // nothing: the work is done
	IdempotentRunning                           // the same request is under way
	IdempotentReplayed                          // it was answered
	IdempotentReused                            // it stood for another request
	numIdempotencyResults
)

var idempotencyResults = [numIdempotencyResults]string{"first", "running", "replayed", "reused"}

// IdempotencyStats is what is kept for keys at one moment.
type IdempotencyStats struct {
	Answers int
	Bytes   int64
	Evicted uint64
	Refused uint64
}

type idempotency struct {
	requests [numIdempotencyResults]atomic.Uint64
	stats    atomic.Pointer[func() IdempotencyStats]
}

// Idempotent counts a request with an idempotency key.
func (m *Metrics) Idempotent(r IdempotencyResult) { m.idempotency.requests[r].Add(1) }

// Idempotency has scrapes ask stats, from any goroutine, what is kept. The latest
// one given counts.
func (m *Metrics) Idempotency(stats func() IdempotencyStats) { m.idempotency.stats.Store(&stats) }

// write writes nothing before the first key came: most routers never see one.
func (i *idempotency) write(t *text) {
	asked := uint64(0)
	for r := range i.requests {
		asked += i.requests[r].Load()
	}
	stats := i.stats.Load()
	if asked == 0 || stats == nil {
		return
	}
	t.family(idempotencyRequests)
	for r, name := range idempotencyResults {
		t.sample(idempotencyRequests.name, i.requests[r].Load(), "result", name)
	}
	s := (*stats)()
	t.family(idempotencyAnswers)
	t.sample(idempotencyAnswers.name, uint64(s.Answers))
	t.family(idempotencyBytes)
	t.sample(idempotencyBytes.name, uint64(s.Bytes))
	t.family(idempotencyDropped)
	t.sample(idempotencyDropped.name, s.Evicted, "reason", "evicted")
	t.sample(idempotencyDropped.name, s.Refused, "reason", "refused")
}
