// Package load asks an OpenAI-compatible endpoint for chat completions, at a
// steady rate or as fast as it answers, and tells how long it took.
//
// # Overview
//
// [Run] opens the connections, sends until the time is over, and returns a
// [Result]. In a closed loop each connection sends as soon as it has its answer:
// that finds the most an endpoint can do, and hides its stalls. In an open loop
// (Options.Rate) every connection has a schedule of its own, and a request that
// came due while the connection was busy counts from then, so that a stall is
// seen by all whom it would have met.
//
// # Concurrency
//
// One goroutine for each connection; they share nothing until they are done.
//
// # Ownership
//
// Run ends what it started before it returns. A Result is the caller's.
package load
