// Package chaos breaks things under load and counts who notices: the built
// binary between a client that keeps its pace and backends that die, storm and
// come back.
//
// # Overview
//
// Run with
//
//	go test -tags integration ./tests/chaos/
//	go test -tags integration,long -timeout 30m ./tests/chaos/
//
// The binary is the one HELIXFLOW_BIN names, else the test builds it. The first
// form takes under a minute; the second does the same for longer and with more
// of everything. Figures are printed (-v); what is asserted of times is loose,
// since the machine may be shared, and of answers it is exact: each client has
// a whole answer, or is told that it has not.
//
// # Concurrency
//
// Tests run one after the other, for they measure. Each waits for its own
// clients before it ends.
//
// # Ownership
//
// A test owns its router, backends and clients; nothing is shared but the binary.
package chaos
