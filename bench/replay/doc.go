// Package replay runs a traffic trace against balancing policies in simulated
// time: the production policies, prefix index, books and learned speeds, driven
// by a discrete-event simulation of routers and engines.
//
// # Overview
//
// A [Trace] is a list of arrivals, read from a file ([Read]) or made up
// ([Generate]). [Run] sends it through simulated routers to simulated engines
// ([sim.Engine]) under one policy, and says in a [Result] what clients saw. What
// has no clock of its own is told the simulated time, and randomness comes from
// streams of the seed: the same configuration gives the same result, to the
// nanosecond, and policies meet the same arrivals and the same engines. The
// policies of others, made from what was published of them, have names that end
// in "-like".
//
// # Concurrency
//
// A run is one goroutine. Runs share nothing but the trace, which they only read.
package replay
