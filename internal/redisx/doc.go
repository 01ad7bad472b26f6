// Package redisx is a client of one Redis that may fail at any time without
// taking anything down with it.
//
// # Overview
//
// Every operation has a deadline and is tried once. After a few failures in a
// row a breaker opens: operations then fail at once, but for a probe now and
// then, whose success closes it. What fails says of which Kind it is, counts in
// Stats, and never holds a password.
//
// # Concurrency
//
// A Client is safe for concurrent use. The library keeps a pool of connections,
// at most Options.PoolSize; this package starts no goroutine of its own.
//
// # Ownership
//
// Whoever opens a Client closes it. Keys that are passed in are the caller's
// whole names; Client.Key makes one below the configured prefix.
package redisx
