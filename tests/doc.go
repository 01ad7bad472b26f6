// Package tests holds what concerns the repository as a whole and nothing but
// tests: that the documents are true. Every command and configuration in them is
// run (docs/README.md says how a page is written for that), every link leads
// somewhere, and the reference pages are what the code says.
//
// The folders below drive the built binary from outside.
package tests

//go:generate go test -run=TestReference -update .
