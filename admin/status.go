package admin

// /-/status: the router at one moment, as JSON; the page shows the same.

import (
	"net/http"
	"time"

	"github.com/helixflow/helixflow/internal/build"
)

// report is the answer to /-/status.
type report struct {
	Version       build.Version `json:"version"`
	Started       time.Time     `json:"started"`
	UptimeSeconds int64         `json:"uptime_seconds"`
	Ready         bool          `json:"ready"`
	State         string        `json:"state"` // ready, starting, draining, overloaded
	InFlight      int           `json:"in_flight"`
	Pressure      Pressure      `json:"pressure,omitzero"` // absent while there is none
	Config        ConfigStatus  `json:"config"`
	Pools         []pool        `json:"pools"`
	Models        []Model       `json:"models"`
	Errors        []Event       `json:"errors"`
}

// pool sums up the backends of one pool, which the page shows one by one.
type pool struct {
	Name     string `json:"name"`
	Backends int    `json:"backends"`
	Usable   int    `json:"usable"` // take new requests
	InFlight int    `json:"in_flight"`

	members []Backend
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.observe(time.Now()))
}

// observe asks everybody once. Lists are never null.
func (s *Server) observe(now time.Time) report {
	status := s.deps.Status()
	r := report{
		Version:       status.Version,
		Started:       status.Started,
		UptimeSeconds: int64(now.Sub(status.Started) / time.Second),
		Pressure:      status.Pressure,
		Config:        status.Config,
		Pools:         pools(s.deps.Backends.List()),
		Models:        append([]Model{}, status.Models...),
		Errors:        append([]Event{}, status.Errors...),
	}
	r.Ready, r.State = s.deps.Readiness.Ready()
	for _, p := range r.Pools {
		r.InFlight += p.InFlight
	}
	return r
}

// pools groups backends, in the order in which pools first appear.
func pools(list []Backend) []pool {
	grouped := []pool{}
	index := make(map[string]int)
	for _, b := range list {
		i, known := index[b.Pool]
		if !known {
			i = len(grouped)
			index[b.Pool] = i
			grouped = append(grouped, pool{Name: b.Pool})
		}
		p := &grouped[i]
		p.Backends++
		p.InFlight += b.InFlight
		if b.State.usable() {
			p.Usable++
		}
		p.members = append(p.members, b)
	}
	return grouped
}
