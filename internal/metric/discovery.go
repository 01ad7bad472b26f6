package metric

// How the discovery of backends stands.

import (
	"cmp"
	"slices"
	"time"
)

// Discovery is how a pool stands that finds backends.
type Discovery struct {
	Pool     string
	Found    int
	LastGood time.Time // zero: never yet
	Failures uint64
}

// Discoveries has them written with each scrape.
func (m *Metrics) Discoveries(figures func() []Discovery) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.discoveries = figures
}

func (o *operations) writeDiscoveries(t *text) {
	if o.discoveries == nil {
		return
	}
	list := o.discoveries()
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b Discovery) int { return cmp.Compare(a.Pool, b.Pool) })
	t.family(discoveryFound)
	for _, d := range list {
		t.sample(discoveryFound.name, uint64(d.Found), "pool", d.Pool)
	}
	t.family(discoveryLastGood)
	for _, d := range list {
		if !d.LastGood.IsZero() {
			t.sampleFloat(discoveryLastGood.name, float64(d.LastGood.UnixMilli())/1000, "pool", d.Pool)
		}
	}
	t.family(discoveryFailures)
	for _, d := range list {
		t.sample(discoveryFailures.name, d.Failures, "pool", d.Pool)
	}
}
