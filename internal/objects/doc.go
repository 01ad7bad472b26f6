// Package objects remembers whose the objects are that backends keep: files,
// batches, stored responses and the like, of which many tenants' lie in one
// account or on one engine.
//
// # Overview
//
// A Registry holds, for each id that an answer brought a tenant, a digest of the
// id, whose it is and where it lives. Ids themselves are not kept. It is bounded
// in number and in time: an entry that nobody has named for Options.Life is
// forgotten, and where there is no room a tenant loses the oldest of its own
// entries, so that one that makes many objects cannot make the router forget
// those of others.
//
// # Concurrency
//
// A Registry is safe for concurrent use. It is split into shards by digest, each
// with a lock of its own that is held for a few map operations.
//
// # Ownership
//
// Nothing that is passed in is kept.
package objects
