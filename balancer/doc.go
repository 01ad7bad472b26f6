// Package balancer chooses: which backend of a pool gets a request. It is pure;
// it opens no connection, reads no clock and draws no randomness of its own, so
// that a simulator runs the very code production runs.
//
// # Overview
//
// A Load is one backend's live book of what it is doing now. A Candidate pairs
// a Load with what the operator said about the backend. A Policy looks at the
// candidates of a pool and a Request and returns an index. One policy per file;
// policytest holds what all of them must obey.
//
// A Chain is a prompt as hashes of its beginnings. An Index remembers which
// backend was lately given which of them; Match asks it for all backends at once.
//
// # Concurrency
//
// Everything here may be used from any number of goroutines at once; the state
// is atomics. Candidates are immutable.
//
// # Ownership
//
// A Load belongs to its backend and outlives every pool and policy that points
// at it. Picking reserves nothing: the caller does, with Load.Acquire, and when
// that fails because others were faster, it clears the backend from
// Request.Eligible and picks again.
package balancer
