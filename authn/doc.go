// Package authn answers who is asking: API keys, their hashes, and the
// principals they stand for.
//
// # Overview
//
// A [Keyring] is made from configuration entries, one by one, with a [Builder],
// and turns a presented credential into a [Principal] or a reason why not. A
// principal is what the rest of the router knows of a caller: its key, and the
// [Rights] that it shares with all keys that may do the same. Nothing here does
// I/O, reads the clock or starts a goroutine.
//
// The checks run from cheap to dear: length, prefix and form, checksum, id,
// hash, constant-time comparison, time. An unknown id costs the same hash as a
// known one, and every refusal is the same value to its caller,
// [ErrUnauthenticated]: a 401 teaches nothing. Reasons are for operators.
//
// # Concurrency
//
// A Keyring is immutable and safe for concurrent use. So are Principals and Rights
// once the grants are filled in, which happens before they are published. A
// Builder belongs to one goroutine.
//
// # Ownership
//
// Principals belong to the keyring that made them and live as long as it does.
// Authenticate borrows the credential for the call and keeps nothing of it.
package authn
