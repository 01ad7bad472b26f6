//go:build integration && linux && long

// How much of everything, when there is time.

package chaos

import "time"

const (
	phase       = 20 * time.Second // of steady load, before and after a fault
	reloads     = 1000
	openStreams = 1000
	manySockets = 4000
	dialogues   = 400 // under each policy
	floodRounds = 10  // with the flood, and without
	floodRound  = 2 * time.Second

	floodFelt     = 5 * time.Millisecond
	ejectedWithin = time.Second
	killFelt      = 250 * time.Millisecond
	politeWithin  = 1500 * time.Millisecond
	endsWithin    = 2 * time.Second
)
