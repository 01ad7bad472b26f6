// Package sharing keeps the leases of an admission.Book in step with a Redis that
// several replicas of the router have in common.
//
// # Overview
//
// A limit that is shared is one hash in Redis, changed by one script (lease.lua,
// the time of Redis): a replica tells what it has used in all and gets a lease,
// which it spends without asking. Requests ask only when a lease lacks; otherwise it
// is renewed in the background, and handed back when it is not used. Limits of one
// tenant are in one hash slot, their home, and are exchanged together.
// A script on a sorted set tells how many replicas there are. When Redis fails, the
// leases are alone, and each replica enforces its share of the limits.
//
// # Concurrency
//
// A Broker is safe for concurrent use. For each Redis it runs a goroutine that
// looks after leases, one that counts replicas and a few that talk; Close and Use
// wait for them. Whoever exchanges leases waits for the first one's Exchanging only;
// others are taken along if nobody has them.
//
// # Ownership
//
// The broker owns the clients that it is given by Use.
package sharing
