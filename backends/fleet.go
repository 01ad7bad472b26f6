package backends

import (
	"sync"
	"time"

	"github.com/helixflow/helixflow/internal/metric"
)

const sweepEvery = time.Second

// Fleet owns every endpoint the router has. Safe for concurrent use.
type Fleet struct {
	metrics *metric.Metrics

	mu        sync.Mutex // guards endpoints
	endpoints map[identity]*Endpoint

	stop chan struct{}
	done sync.WaitGroup
}

// identity is what an endpoint is found again by.
type identity struct{ pool, url, settings string }

// NewFleet starts a fleet without endpoints; Close ends it.
func NewFleet(m *metric.Metrics) *Fleet {
	f := &Fleet{metrics: m, endpoints: make(map[identity]*Endpoint), stop: make(chan struct{})}
	f.done.Add(1)
	go f.sweep()
	return f
}

// Adopt returns the endpoint that s describes: the living one, with its
// connections and load, or a new one.
func (f *Fleet) Adopt(s Spec) *Endpoint {
	id := identity{s.Pool, s.URL, s.Identity}
	f.mu.Lock()
	defer f.mu.Unlock()
	ep := f.endpoints[id]
	if ep == nil {
		ep = newEndpoint(s, f.metrics.Backend)
		f.endpoints[id] = ep
	}
	return ep
}

// sweep closes connections that have been idle too long.
func (f *Fleet) sweep() {
	defer f.done.Done()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-tick.C:
			for _, ep := range f.all() {
				ep.sweep(now.Add(-idleMax))
			}
		}
	}
}

func (f *Fleet) all() []*Endpoint {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*Endpoint, 0, len(f.endpoints))
	for _, ep := range f.endpoints {
		list = append(list, ep)
	}
	return list
}

// Close closes every idle connection and waits for the fleet's goroutines.
// Leases that are still held close theirs when they finish.
func (f *Fleet) Close() {
	close(f.stop)
	f.done.Wait()
	for _, ep := range f.all() {
		ep.close()
	}
}
