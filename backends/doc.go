// Package backends is the world outside: the engines, the connections to them,
// and one HTTP/1.1 round trip at a time.
//
// # Overview
//
// A Fleet owns Endpoints, which outlive every configuration snapshot. A Lease
// is one counted presence on an Endpoint: it sends a request, reads the
// answer's head, hands out the body piece by piece as it arrives, and ends in
// exactly one Finish. fasthttp parses heads; connection pool, phase deadlines,
// stale-connection replay and cancellation are our own, since fasthttp's client
// takes a cut stream for a clean end (ADR 2).
//
// # Concurrency
//
// Fleet and Endpoint are safe for concurrent use. A Lease belongs to one
// goroutine; only Conn.Break may come from another one. The Fleet runs one
// goroutine that closes idle connections, each Resolver one that keeps
// addresses fresh; Fleet.Close ends them and waits.
//
// # Ownership
//
// Bytes returned by Lease.Next are lent until the next call on that Lease. The
// request's head and body are borrowed for the duration of RoundTrip only.
package backends
