// Command figures measures what HelixFlow costs beside proxies that do less, and
// says which of the promised figures hold. It starts all parts by itself, on
// loopback: an engine that answers at once, the reference proxies (below), the
// built binary with a configuration for each figure, and what of nginx and
// HAProxy is installed.
//
//	go run ./bench/figures -helixflow bin/helixflow
//	go run ./bench/figures -helixflow bin/helixflow -rounds 3 -for 300ms -only unary
//
// # How
//
// Every round visits all targets in turn, starting one further on, so that a
// machine whose speed drifts slows all of them alike. CPU is user plus system time
// of the target's process, over the requests (events) it served. The ratios are
// to the first target, round by round: quote their median, and their spread. Of a
// cache's miss it is the difference that was promised, not the ratio; with one
// client that of the median times, not of CPU.
//
// "bare" is the least a fasthttp proxy does: fasthttp.Server in front of a
// HostClient, streams as body streams. "reverse" is net/http's ReverseProxy.
//
// # Concurrency
//
// Everything measured is another process; the load runs in this one.
package main
