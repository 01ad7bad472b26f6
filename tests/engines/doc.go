// Package engines proves the built binary against real engines, on the CPU:
// llama.cpp's server and vLLM, each pinned to one version, with a model of
// random weights that is made on the spot.
//
// # Overview
//
// Run with
//
//	go test -tags engines ./tests/engines/
//
// The binary is the one HELIXFLOW_BIN names, else the test builds it. The folder
// of each engine pins what is installed; model.py writes its model. The checks
// are the same for all engines, what an engine does in its own way stands in
// engine_test.go.
//
// testdata/ENGINE holds what the engine said: the names of its metrics and its
// answers to requests that are wrong, as it sent them. A run compares them; with
// -update it writes them anew. Other tests may read them.
//
// # Concurrency
//
// The engines are tested one after the other, and so are the checks of one: what
// the engine counts meanwhile is a check's own.
//
// # Ownership
//
// A world owns the processes of one engine and its router. What is installed
// stays in the engines' folders, ignored by git, until what pins it changes.
package engines
