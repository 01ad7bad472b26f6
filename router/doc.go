// Package router is the data plane: one request from socket to socket.
//
// # Overview
//
// handler.go has the walk of a request on one screen; the files follow it:
// conn (the connection's loop), turn (requests served where they are read), intake
// (what came), resolve (which route), attempt and judge (which backend, and again?),
// respond and relay (the answer), account (what it was). What no model decides goes by prefix and
// passthrough; objects and named keep tenants' objects apart, made records them.
// A websocket leaves the walk behind forward: upgrade (both handshakes), socket
// (its life), flow (what passes one way, from an inlet to an outlet), dialogue
// (messages that are read). problem.go holds the only table from error kind to
// status. snapshot.go is the immutable plan that compile.go makes of a
// configuration.
//
// # Concurrency
//
// A request runs from its first byte to its last on the goroutine of its
// connection; none is started for it. Where those who ask the same share a flight,
// that has a goroutine of its own, and they read what it brings. A websocket has one
// more, for the way back, which ends before the first. One goroutine watches all client connections for
// hang-ups. Publish may be called at any time.
//
// # Ownership
//
// An Exchange is pooled and belongs to its connection's goroutine until finish.
// Path and headers are lent by the connection until then; the body is freed
// when an answer is in hand. Snapshots are immutable; endpoints outlive them.
package router
