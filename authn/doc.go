// Package authn answers who is asking: API keys, access tokens, client
// certificates, and the principals they stand for.
//
// # Overview
//
// A [Keyring] is made from configuration entries, one by one, with a [Builder],
// and turns a presented key into a [Principal] or a reason why not. [Tokens] does
// the same for JSON Web Tokens of configured issuers, [Certificates] for the
// chain of a client certificate. A principal is what the rest of the router knows
// of a caller: its name, and the [Rights] that it shares with all who may do the
// same. None of them reads the clock.
//
// The checks of a key run from cheap to dear: length, prefix and form, checksum,
// id, hash, constant-time comparison, time. An unknown id costs the same hash as a
// known one, and every refusal is the same value to its caller,
// [ErrUnauthenticated]: a 401 teaches nothing. Reasons are for operators.
//
// A token is checked once a minute: its form, its issuer, the signature, then
// what it claims. In between its SHA-256 is enough, with its end and its key looked
// at again each time. The keys of an issuer are a [KeySet]; [KeySets] fetches those
// that are not in a file, on schedule, and now and then when a token names a key
// that is not there.
//
// # Concurrency
//
// A Keyring is immutable and safe for concurrent use. So are Certificates, and
// Principals and Rights once the grants are filled in, which happens before they
// are published. A Builder belongs to one goroutine. Tokens and KeySets are safe
// for concurrent use. Each fetched KeySet has a goroutine, which ends with
// KeySets.Retain or KeySets.Close; these wait for it.
//
// # Ownership
//
// Principals belong to the keyring, tokens or certificates that made them and live
// as long as these do. Authenticate borrows the credential for the call and keeps
// nothing of it. Key sets outlive snapshots and belong to their KeySets.
package authn
