// Package openai reads and writes the wire format of OpenAI's API without
// decoding it: one scan finds what routing, limits and caching need in a request
// body, an edit list changes the few permitted bytes of it, and events of a
// stream are looked at where they lie.
//
// Nothing here allocates on the paths a request takes, keeps a byte it was given
// or starts a goroutine. The values are plain; each belongs to one goroutine at a
// time.
package openai
