// Package metric counts and times what the router does, and writes it in
// Prometheus' text format.
//
// # Overview
//
// Metrics is the whole of it, one per process. Whoever compiles a plan resolves
// names once, with Metrics.Model and Metrics.Backend; the request path then
// touches nothing but atomics in the series it was given. The set of series is
// bounded: labels are operations, configured names and a fixed list of status
// codes. Histograms have `le` buckets, which Prometheus and VictoriaMetrics both
// read.
//
// VictoriaMetrics/metrics writes the figures of the process and of the Go
// runtime. What requests touch is our own: that library, like others, takes a
// mutex per update of such a histogram.
//
// # Concurrency
//
// Everything is safe for concurrent use. Counting and observing take no lock
// and do not allocate. A scrape reads while others write: each number is whole,
// numbers of one scrape may be a moment apart.
//
// # Ownership
//
// Series live as long as their Metrics. Asking again for a name gives the same
// series, so that counts survive a reload.
package metric
