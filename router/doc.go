// Package router is the data plane: one request from socket to socket.
//
// # Overview
//
// handler.go has the walk of a request on one screen; the files follow it:
// intake (what came), resolve (which route), attempt and judge (which backend,
// and again?), respond and relay (the answer), account (what it was). problem.go
// holds the only table from error kind to status. snapshot.go is the immutable
// plan that compile.go makes of a configuration.
//
// # Concurrency
//
// A request runs from its first byte to its last on the goroutine that fasthttp
// gave its connection; none is started for it. One more goroutine watches all
// client connections for hang-ups. Publish may be called at any time.
//
// # Ownership
//
// An Exchange is pooled and has one owner at a time: the handler, then the body
// stream, whose Close ends it. Whatever fasthttp lends (headers, body) is valid
// until then. Snapshots are immutable; endpoints outlive them.
package router
