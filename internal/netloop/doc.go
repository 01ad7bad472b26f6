// Package netloop reads sockets outside of Go's poller. Where a thousand streams say
// little at a time, to wake a goroutine for each piece costs more than the piece.
// A [Loop] waits for all of them with one goroutine, and what is to be done with a
// piece is done there (ADR 31).
//
// A [Conn] is a net.Conn to who reads and writes it, and wakes them when something
// has come. With [Conn.Run] they sleep on, and the loop does what they would do.
//
// There is no loop on systems other than Linux: [Start] returns nil.
package netloop

import "errors"

// ErrNotYet is what Read returns within a step of [Conn.Run] when nothing has come.
var ErrNotYet = errors.New("nothing has come yet")
