//go:build integration && linux && !long

// How much of everything, in CI.

package chaos

import "time"

const (
	phase       = 3 * time.Second // of steady load, before and after a fault
	reloads     = 200
	openStreams = 100
	manySockets = 2000
	dialogues   = 32 // under each policy
	floodRounds = 2  // with the flood, and without
	floodRound  = 400 * time.Millisecond

	// CI is busy.
	floodFelt     = time.Second
	ejectedWithin = 5 * time.Second
	killFelt      = 2 * time.Second
	politeWithin  = 5 * time.Second
	endsWithin    = 10 * time.Second
)
