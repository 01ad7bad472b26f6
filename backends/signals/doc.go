// Package signals reads what inference engines tell of themselves in
// Prometheus' text format: how many requests run and wait, how full the KV cache
// is, how large it is, and whether the engine began a new life.
//
// # Overview
//
// A Preset says where an engine tells it and under which names. A Scanner is fed
// the text as it comes, piece by piece, looks at each line's name only, and keeps
// nothing but sums: it needs a few kilobytes, however long the text is, and does
// not allocate. What it found is a Report: for each Meaning a value, or the
// reason why there is none. A text that is not understood, a number that makes no
// sense or a series that is told twice is such a reason, never a value.
//
// # Concurrency
//
// Presets are immutable. A Scanner belongs to one goroutine.
//
// # Ownership
//
// Feed borrows its bytes for the duration of the call.
package signals
