// Package idempotency remembers, for a while and in bounded memory, what was
// answered to requests that carry a key of their caller's, so that asking twice
// does the work once.
//
// # Overview
//
// [Store.Ask] says what is known of a tenant's key: nothing, and the asker gets a
// [Claim] and does the work; that the same request is under way; what was
// answered; or that the key stood for another request. A Claim gathers the answer
// as it passes and is ended once, by Keep or Drop.
//
// All tenants share one bound on memory. When it is reached, the answers that go
// are the oldest of the tenant that holds most, and never for one that holds more
// itself: so a tenant that holds less than an even share loses nothing to others.
//
// # Concurrency
//
// A Store is safe for concurrent use. A Claim belongs to one goroutine. There are
// no goroutines but that of a timer, which sweeps out what has expired; Close ends
// it.
//
// # Ownership
//
// What a Claim is given is copied. An [Answer] is immutable and may be read as
// long as anybody likes, evicted or not.
package idempotency
