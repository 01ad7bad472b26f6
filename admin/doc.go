// Package admin is the control plane: the listener for operators and for what
// watches the router. It may allocate and may be slow, for no client's request
// passes through it.
//
// # Overview
//
// Server answers /healthz (the process lives), /readyz (send it traffic) and
// /metrics. Every answer but /metrics is JSON, refusals included; only what
// net/http itself turns away, a request that is no HTTP, gets its plain text.
// What the answers are made of comes through small interfaces declared here,
// which the composition root satisfies.
//
// There is no authentication yet, so the server refuses to listen anywhere but
// on loopback, and checks the Host header there: a web page in the operator's
// browser can reach loopback too, under a name of its own (DNS rebinding).
//
// # Concurrency
//
// Serve blocks until Shutdown; the two may be called from different goroutines.
// net/http runs one goroutine per connection and Shutdown waits for them.
//
// # Ownership
//
// Serve takes the listener and closes it.
package admin
