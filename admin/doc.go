// Package admin is the control plane: the listener for operators and for what
// watches the router. It may allocate and may be slow, for no client's request
// passes through it.
//
// # Overview
//
//	GET  /healthz                the process lives; no token
//	GET  /readyz                 send it traffic; no token
//	GET  /                       status page, refreshes itself
//	GET  /metrics                Prometheus' text format
//	GET  /-/  /-/status          the status page's figures
//	GET  /-/config               the effective configuration, without secrets
//	GET  /-/backends             every backend: state, why, since when, in flight
//	POST /-/backends/drain       ?url=URL[&pool=NAME]: send this one nothing new
//	POST /-/backends/undrain     ?url=URL[&pool=NAME]: take that back
//	GET  /-/explain              ?model=M[&tenant=NAME[&key=NAME]]: where it would go, and why; or ?path=P[&method=M]
//	POST /-/explain              the same for the request in the body; the model may be missing
//	POST /-/reload               read the configuration again
//	POST /-/drain                stop as SIGTERM does
//	GET  /debug/pprof/           profiles for go tool pprof
//
// Every answer but the page, /metrics and profiles is JSON, refusals included:
// {"error":{"message":…}}. Only what net/http itself turns away, a request that
// is no HTTP, gets its plain text.
//
// What the answers are made of comes through Deps, in value types of this
// package, so that nothing here can touch a live endpoint; the composition root
// connects it.
//
// # Who may ask
//
// Without a token the server refuses to listen anywhere but on loopback. With
// one, every route but /healthz and /readyz asks for it: as a bearer token, or,
// so that a browser can show the page, as the password of HTTP Basic
// authentication; that way it may only read. The address speaks plain HTTP:
// off loopback, hand Serve a listener made by crypto/tls.NewListener, or keep
// the network private.
//
// On loopback the Host header is checked too: a web page in the operator's
// browser can reach loopback under a name of its own (DNS rebinding). What
// changes something is POST, and refused when a browser says that another site
// asks (Sec-Fetch-Site, Origin).
//
// # Concurrency
//
// Serve blocks until Shutdown; the two may be called from different goroutines.
// net/http runs one goroutine per connection and Shutdown waits for them.
//
// # Ownership
//
// Serve takes the listener and closes it. Values that Deps return belong to the
// server, which does not change them.
package admin
