// Package replicas runs several routers, as processes, on one real Redis, and
// counts what they let pass together.
//
// # Overview
//
// Run with
//
//	go test -tags integration ./tests/replicas/
//	go test -tags integration,long -timeout 30m ./tests/replicas/
//
// Both need redis-server. The binary is the one HELIXFLOW_BIN names, else the test
// builds it. What passes is counted where it arrives: at the backend.
//
// # Concurrency
//
// Tests run one after the other, for they measure.
//
// # Ownership
//
// A test owns its routers, its Redis and its backend; nothing is shared but the
// binary.
package replicas
