// Package compat proves the built binary against OpenAI's own clients for
// Python, Node and Go, each pinned to one version.
//
// # Overview
//
// Run with
//
//	go test -tags integration ./tests/compat/
//
// The binary is the one HELIXFLOW_BIN names, else the test builds it. Each client
// gets a world of its own: a router, a simulated engine as a second process of
// the same binary, and a tests/fakellm for faults. Its program, in the folder of
// its language, is told where they are by variables of its environment:
//
//	COMPAT_BASE_URL    the router's, with /v1
//	COMPAT_KEY         a key that may use every model
//	COMPAT_KEY_SMALL   a key that may use the model "fake" alone
//	COMPAT_SIM         the simulated engine, for /sim/stats
//	COMPAT_FAKE        the control port of the fake backend
//
// It runs every check and prints a line for each on stdout, what else it has to
// say goes to stderr:
//
//	NAME ok|FAIL DETAIL
//
// Each line becomes a subtest. A check that a client should report and does not
// has failed, and so has one that nobody expects.
//
// # Concurrency
//
// The clients run in parallel and share nothing but the binary. The checks of one
// client run one after the other, so that what its backends count is its own.
//
// # Ownership
//
// A world owns the processes and servers of one client. What is installed stays
// in the clients' folders, ignored by git, until what pins it changes.
package compat
