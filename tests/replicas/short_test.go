//go:build integration && linux && !long

// How much of everything, in CI.

package replicas

import "time"

const (
	outageTime    = time.Second
	outageOffered = 50.0 // a second, to each router
	outageCPU     = 4.0  // loose: the machine may be busy
)
