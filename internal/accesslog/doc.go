// Package accesslog writes one line of JSON for each request, after the request
// and beside its path: who asked what of which backend, how it went and what it
// cost; never what was said.
//
// # Overview
//
// A Record is copied into a ring, which never makes its producer wait; one
// goroutine encodes what it finds there and writes it in large pieces to a file or
// a standard stream. A file is rotated by size and opened anew on demand. When the
// destination takes no more, a full disk say, lines wait in the ring while there
// is room, later ones are dropped and counted, and writing is tried again each
// second. A line is never torn where it can be helped: a piece that was written
// in part is continued where it stopped.
//
// # Concurrency
//
// Log is safe for concurrent use. Open starts the goroutine, Close waits for it.
//
// # Ownership
//
// Write copies the Record. Its strings must be those of the plan (a snapshot's),
// which nobody changes; what a client sent goes into a Text, which copies it.
package accesslog
