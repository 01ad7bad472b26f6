// Package pressure says how short the process is of memory and of file
// descriptors, in levels that others act on.
//
// # Overview
//
// A Ladder turns how much is used up into a Level, with hysteresis: a pure state
// machine. A Watch asks the sources now and then, climbs the ladder and tells. The
// sources are cgroup v2, the Go runtime and /proc, where these exist.
//
// # Concurrency
//
// A Watch has one goroutine, which calls Tell; Close ends it and waits. Its other
// methods may be called from any goroutine. A Ladder belongs to one.
//
// # Ownership
//
// What is told is a plain value.
package pressure
