// Package admission answers whether a request may start now: rates, slots and
// budgets of every scope it falls under, all of them or none.
//
// # Overview
//
// A Scope is something that has limits: a key, a tenant, a model, a tenant's use
// of a model, the whole router. Its Rules say how much; they are immutable and
// may be replaced at any time, while what was used stays. A Ticket is what one
// request holds: Arrive takes the request rates that are known before its body
// is read, Admit everything else, Settle corrects what was reserved by what was
// used. Nothing here waits, reads a clock or starts a goroutine.
//
// A Book may be shared with other replicas: then each limit is taken from a Lease,
// which whoever owns the Commons exchanges for another one in time. A Ticket whose
// lease lacks says so, and goes on where it stopped once that was asked.
//
// # Concurrency
//
// Scopes, Leases and Estimators are safe for concurrent use; taking and settling
// take no lock. A Ticket belongs to its request.
//
// # Ownership
//
// Book owns the scopes and outlives every configuration. The zero Ticket holds
// nothing.
package admission
