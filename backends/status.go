package backends

// What an operator sees of the fleet.

import (
	"cmp"
	"slices"
	"time"
)

// EndpointStatus is one endpoint at one moment.
type EndpointStatus struct {
	Pool, URL   string
	State       State
	Reason      string        // why it is not Healthy; empty if it is
	Warning     string        // what is odd although it serves; mostly empty
	Since       time.Time     // when it came into this state
	ComesBack   time.Duration // how long until it may at the earliest, where that is known
	InFlight    int
	Limit       int    // of InFlight, where answers have spoken for one; else 0
	Failures    int    // in a row
	Ejections   uint64 // how often it was taken out because it failed
	LastError   string // of a request; empty for none
	LastErrorAt time.Time
	Certificate time.Time // when the last one it showed runs out; zero when there is none
	Signals     *Signals  // what its engine told of itself; nil when it is not asked
}

// CertificateDays is how many days are left of the certificate at now, below
// zero when it has run out; ok is false when there is none.
func (s *EndpointStatus) CertificateDays(now time.Time) (days int, ok bool) {
	if s.Certificate.IsZero() {
		return 0, false
	}
	left := s.Certificate.Sub(now)
	if left < 0 {
		left -= 24*time.Hour - 1 // rounds down
	}
	return int(left / (24 * time.Hour)), true
}

// Below this a certificate's end is worth a warning.
const certificateSoon = 14 * 24 * time.Hour

// State is how ep stands now.
func (ep *Endpoint) State() State {
	ep.pool.mu.Lock()
	defer ep.pool.mu.Unlock()
	return ep.stateLocked()
}

// Status returns every endpoint, by pool and URL.
func (f *Fleet) Status() []EndpointStatus {
	now := time.Now()
	all := f.all()
	list := make([]EndpointStatus, len(all))
	for i, ep := range all {
		list[i] = ep.Status(now)
	}
	slices.SortFunc(list, func(a, b EndpointStatus) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.URL, b.URL), a.Since.Compare(b.Since))
	})
	return list
}

// Status returns ep as of now.
func (ep *Endpoint) Status(now time.Time) EndpointStatus {
	s := EndpointStatus{
		Pool: ep.pool.name, URL: ep.url,
		InFlight:    int(ep.Load.InFlight()),
		Limit:       int(ep.Concurrency.Found()),
		Failures:    int(ep.health.streak.Load()+1) / 2,
		Certificate: ep.certificateEnd(),
		Warning:     ep.warning(now),
		Signals:     ep.Told(now),
	}
	if last := ep.lastError.Load(); last != nil {
		s.LastError, s.LastErrorAt = last.text, last.at
	}
	at := ep.pool.tick(now)
	ep.pool.mu.Lock()
	defer ep.pool.mu.Unlock()
	h := &ep.health
	s.State, s.Reason, s.Ejections = ep.stateLocked(), ep.reasonLocked(), h.ejections
	s.Since = ep.pool.fleet.began.Add(time.Duration(h.since))
	until := h.holdUntil
	if rest := tick(h.rest.Load()); rest > at {
		until = max(until, rest)
		if s.State.serves() {
			s.Reason = "asked to be left alone"
		}
	}
	s.ComesBack = max(time.Duration(until-at), 0)
	return s
}

// warning is what an operator should look at although ep may serve.
func (ep *Endpoint) warning(now time.Time) string {
	if w := ep.probe.warning.Load(); w != nil {
		return *w
	}
	if w := ep.probe.coldBecause.Load(); w != nil {
		return *w
	}
	if err := ep.dialer.ResolveErr(); err != nil {
		return shortened("its last known addresses are in use: " + err.Error())
	}
	if end := ep.certificateEnd(); !end.IsZero() && end.Sub(now) < certificateSoon {
		return "its certificate runs out on " + end.UTC().Format(time.DateOnly)
	}
	return ep.watch.warning()
}
