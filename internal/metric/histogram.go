package metric

// Durations in buckets.

import (
	"strconv"
	"sync/atomic"
	"time"
)

// maxBounds is the length of the longest list below.
const maxBounds = 20

// Bucket bounds, ascending. Those of the first token are vLLM's own, so that the
// router's figures and an engine's can be laid over each other.
var (
	overheadBounds = []time.Duration{
		10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
		100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, time.Second,
	}
	durationBounds = []time.Duration{
		5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 20 * time.Second,
		40 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	}
	perTokenBounds = []time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 7500 * time.Microsecond, 10 * time.Millisecond,
		15 * time.Millisecond, 20 * time.Millisecond, 25 * time.Millisecond, 30 * time.Millisecond, 40 * time.Millisecond,
		50 * time.Millisecond, 75 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 250 * time.Millisecond,
		500 * time.Millisecond, time.Second,
	}
	hookBounds = []time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
		50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
	firstTokenBounds = []time.Duration{
		time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
		40 * time.Millisecond, 60 * time.Millisecond, 80 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 7500 * time.Millisecond,
		10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second,
	}
)

// histogram counts durations in buckets; an update is two atomic adds. The count is the sum of the
// buckets, so that a scrape in the middle of updates still adds up.
type histogram struct {
	bounds   []time.Duration
	buckets  [maxBounds + 1]atomic.Uint64 // not cumulative; the last used one is +Inf
	sumNanos atomic.Uint64                // wraps after 584 years of summed time, which rate() reads as a restart
}

// observe counts d; below zero (a clock that stepped) it counts as zero.
func (h *histogram) observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(h.bounds) && d > h.bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sumNanos.Add(uint64(d))
}

// write writes the histogram, or nothing when it never counted.
func (h *histogram) write(t *text, name string, labels ...string) {
	var counts [maxBounds + 1]uint64
	var total uint64
	sum := h.sumNanos.Load()
	for i := range len(h.bounds) + 1 {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	if total == 0 {
		return
	}
	withLE := append(labels[:len(labels):len(labels)], "le", "")
	var cumulative uint64
	for i, bound := range h.bounds {
		cumulative += counts[i]
		withLE[len(withLE)-1] = strconv.FormatFloat(bound.Seconds(), 'g', -1, 64)
		t.sample(name+"_bucket", cumulative, withLE...)
	}
	withLE[len(withLE)-1] = "+Inf"
	t.sample(name+"_bucket", total, withLE...)
	t.sampleFloat(name+"_sum", float64(sum)/float64(time.Second), labels...)
	t.sample(name+"_count", total, labels...)
}
