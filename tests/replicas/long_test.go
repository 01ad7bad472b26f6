//go:build integration && linux && long

// How much of everything, when there is time.

package replicas

import "time"

const (
	outageTime    = 2 * time.Minute
	outageOffered = 250.0 // a second, to each router
	outageCPU     = 1.5
)
