package metric

// How the keys of issuers of tokens stand.

import (
	"cmp"
	"slices"
	"time"
)

// Issuer is how the keys of a configured issuer of tokens stand, which are
// fetched.
type Issuer struct {
	Name            string
	Keys            int
	LastFetch       time.Time // of those that are here; zero: none are
	Fetched, Failed uint64
}

// Issuers has the keys of issuers written with each scrape.
func (m *Metrics) Issuers(figures func() []Issuer) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.issuers = figures
}

func (o *operations) writeIssuers(t *text) {
	if o.issuers == nil {
		return
	}
	list := o.issuers()
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b Issuer) int { return cmp.Compare(a.Name, b.Name) })
	t.family(issuerKeys)
	for _, i := range list {
		t.sample(issuerKeys.name, uint64(i.Keys), "issuer", i.Name)
	}
	t.family(issuerLastFetch)
	for _, i := range list {
		if !i.LastFetch.IsZero() {
			t.sampleFloat(issuerLastFetch.name, float64(i.LastFetch.UnixMilli())/1000, "issuer", i.Name)
		}
	}
	t.family(issuerFetches)
	for _, i := range list {
		t.sample(issuerFetches.name, i.Failed, "issuer", i.Name, "result", "failed")
		t.sample(issuerFetches.name, i.Fetched, "issuer", i.Name, "result", "done")
	}
}
