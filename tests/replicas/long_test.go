//go:build integration && linux && long

// How much of everything, when there is time: 600 a minute, 50 times as much
// offered, for three minutes.

package replicas

import "time"

const (
	rate        = 10.0 // a second
	rateLimits  = "{requests_per_minute: 600}"
	offered     = 125.0 // to each router
	rateWindow  = time.Minute
	rateWindows = 2

	outageTime    = 2 * time.Minute
	outageOffered = 250.0
	outageCPU     = 1.5

	leases = 0.0
)
