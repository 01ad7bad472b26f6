package backends

// How the endpoints of a pool are looked after, as an operator decides.

import (
	"cmp"
	"time"
)

// Rules are how a pool's endpoints are looked after. Durations of zero have no
// meaning but where a field says so; DefaultRules has the defaults.
type Rules struct {
	Checks       Checks
	Ejection     Ejection
	Concurrency  Concurrency
	Watching     Watching
	Warmup       Warmup
	SlowStart    time.Duration // from a tenth of its share to all of it; 0 is at once
	DrainTimeout time.Duration // for what runs on an endpoint that is drained or dropped
}

// Checks are the requests of a probe. Whatever they say, an endpoint that is
// out is checked each second.
type Checks struct {
	Off       bool          // no checks while nothing speaks against the endpoint
	Path      string        // what to GET; empty: a connection, and TLS where it is spoken, will do
	Every     time.Duration // a tenth more or less
	Timeout   time.Duration
	Unhealthy int // bad ones in a row that take it out
	Healthy   int // good ones in a row that take it back
}

// Ejection is when requests take an endpoint out.
type Ejection struct {
	Off         bool
	Consecutive int           // failures in a row
	Rate        float64       // or more than this part of the last 40 s failed
	Samples     int           // of at least so many
	Base        time.Duration // out for n times that, when it has failed n times soon after it came back
	Max         time.Duration // at most
	MaxShare    float64       // of the pool may be ejected at once; never the last one
	Panic       float64       // where a smaller part is healthy, ejections are ignored; 0 is never
}

// Concurrency bounds the limit of requests in flight that is found out for each
// endpoint.
type Concurrency struct {
	Off      bool // none is
	Min, Max int
}

// DefaultRules are those of an empty configuration.
func DefaultRules() Rules {
	return Rules{
		Checks: Checks{Every: 5 * time.Second, Timeout: 2 * time.Second, Unhealthy: 3, Healthy: 2},
		Ejection: Ejection{
			Consecutive: 5, Rate: 0.5, Samples: 20,
			Base: 30 * time.Second, Max: 5 * time.Minute, MaxShare: 0.5, Panic: 0.5,
		},
		Concurrency:  Concurrency{Min: 2, Max: 1024},
		SlowStart:    30 * time.Second,
		DrainTimeout: 10 * time.Minute,
	}
}

// complete returns r with the defaults where zero has no meaning.
func (r Rules) complete() Rules {
	d := DefaultRules()
	r.Checks.Every = cmp.Or(max(r.Checks.Every, 0), d.Checks.Every)
	r.Checks.Timeout = cmp.Or(max(r.Checks.Timeout, 0), d.Checks.Timeout)
	r.Checks.Unhealthy = cmp.Or(max(r.Checks.Unhealthy, 0), d.Checks.Unhealthy)
	r.Checks.Healthy = cmp.Or(max(r.Checks.Healthy, 0), d.Checks.Healthy)
	r.Ejection.Consecutive = cmp.Or(max(r.Ejection.Consecutive, 0), d.Ejection.Consecutive)
	r.Ejection.Samples = cmp.Or(max(r.Ejection.Samples, 0), d.Ejection.Samples)
	r.Ejection.Rate = cmp.Or(max(r.Ejection.Rate, 0), d.Ejection.Rate)
	r.Ejection.Base = cmp.Or(max(r.Ejection.Base, 0), d.Ejection.Base)
	r.Ejection.Max = cmp.Or(max(r.Ejection.Max, 0), d.Ejection.Max)
	r.Concurrency.Min = cmp.Or(max(r.Concurrency.Min, 0), d.Concurrency.Min)
	r.Concurrency.Max = max(cmp.Or(max(r.Concurrency.Max, 0), d.Concurrency.Max), r.Concurrency.Min)
	r.DrainTimeout = cmp.Or(max(r.DrainTimeout, 0), d.DrainTimeout)
	return r
}
