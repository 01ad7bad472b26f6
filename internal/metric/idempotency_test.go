package metric

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIdempotency(t *testing.T) {
	m := New()
	assert.NotContains(t, scrape(t, m), `helixflow_idempotency_answers`)
	stats := IdempotencyStats{Answers: 3, Bytes: 4096, Evicted: 5, Refused: 6}
	m.Idempotency(func() IdempotencyStats { return stats })
	assert.NotContains(t, scrape(t, m), `helixflow_idempotency_answers`, "nobody has sent a key")
	m.Idempotent(IdempotentFirst)
	m.Idempotent(IdempotentReplayed)
	m.Idempotent(IdempotentReplayed)
	got := scrape(t, m)
	for series, want := range map[string]float64{
		`helixflow_idempotency_requests_total{result="first"}`:    1,
		`helixflow_idempotency_requests_total{result="running"}`:  0,
		`helixflow_idempotency_requests_total{result="replayed"}`: 2,
		`helixflow_idempotency_requests_total{result="reused"}`:   0,
		`helixflow_idempotency_answers`:                           3,
		`helixflow_idempotency_bytes`:                             4096,
		`helixflow_idempotency_dropped_total{reason="evicted"}`:   5,
		`helixflow_idempotency_dropped_total{reason="refused"}`:   6,
	} {
		assert.Equal(t, want, got[series], series)
	}
}
