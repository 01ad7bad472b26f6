// Package authn answers who is asking: API keys, their hashes, and the
// principals they stand for.
//
// # Overview
//
// A [Keyring] is compiled from configuration entries and turns a presented
// credential into a [Principal]. A principal is what the rest of the router
// knows of a caller: tenant, key, and which models it may use. Nothing here
// does I/O, reads the clock or starts a goroutine.
//
// The checks run from cheap to dear: length, prefix and form, checksum, id,
// hash, constant-time comparison, expiry. An unknown id costs the same hash as
// a known one, and every refusal is the same value, [ErrUnauthenticated]: a
// 401 teaches nothing.
//
// # Concurrency
//
// A Keyring is immutable and safe for concurrent use. So is a Principal once
// its grants are filled in, which happens before it is published.
//
// # Ownership
//
// Principals belong to the keyring that made them and live as long as it does.
// Authenticate borrows the credential for the call and keeps nothing of it.
package authn
