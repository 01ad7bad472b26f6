//go:build integration && linux && !long

// How much of everything, in CI.

package replicas

import "time"

const (
	rate        = 100.0 // a second
	rateLimits  = "{requests_per_minute: 6000, burst: {requests: 100}}"
	offered     = 200.0 // to each router
	rateWindow  = 10 * time.Second
	rateWindows = 1

	outageTime    = time.Second
	outageOffered = 50.0
	outageCPU     = 4.0 // loose: the machine may be busy

	leases = 12.0 // N·L, which is little of a minute and much of ten seconds
)
