// Package cache remembers answers, so that the same question asked again costs no
// backend anything.
//
// # Overview
//
// A [Key] stands for a question: whose answers it may find (a [Scope]), and a
// SHA-256 over all that can change the answer. A [Rule] says which questions have
// answers worth keeping, and for how long. A [Cache] keeps them, in memory and, if
// there is one, in a store that other replicas share; a [Recording] gathers an
// answer as it passes, and is kept only if the answer is whole.
//
// # Concurrency
//
// A Cache is safe for concurrent use; looking up takes no lock that another
// request could hold for long. A Recording belongs to one goroutine.
//
// # Ownership
//
// An [Answer] is immutable and may be read for as long as anybody likes, evicted
// or not. What a Recording is given is copied.
package cache
