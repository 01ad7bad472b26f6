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
// Health is per Endpoint: an outlier is the pure machine that turns what tries
// and checks say into a State, a prober makes the checks. What one endpoint may
// do depends on the others of its pool, so that Members, the endpoints as one
// plan lists them, answer who may be asked; for a request that is two loads.
// Budget bounds the retries of a pool, Credentials take its keys in turn.
//
// Who finds an endpoint at fault must find it well again: what checks put out,
// two good checks bring back; what requests put out stays out until checks are
// good and two requests, one at a time, are too. What fails again while it
// starts slowly is held out for 30 s, the next time for 60 s, and so on.
//
// # Concurrency
//
// Fleet and Endpoint are safe for concurrent use. A Lease belongs to one
// goroutine, and within Lease.Run to the loop that reads streams; only
// Conn.Break may come from another one. The Fleet runs one goroutine that closes
// what is idle or was dropped, and from the first stream on the loop; each
// Endpoint runs one for its checks, each Resolver one that keeps addresses fresh.
// Fleet.Close ends them and waits. The fleet's lock is taken before a pool's,
// that before an endpoint's. Requests take the pool's only when an endpoint's
// state changes.
//
// # Ownership
//
// Bytes returned by Lease.Next are lent until the next call on that Lease. The
// request's head and body are borrowed for the duration of RoundTrip only.
package backends
