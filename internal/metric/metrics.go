package metric

// The whole of the metrics, and the scrape.

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/helixflow/helixflow"
)

// OtherModel is the label for requests that name no configured model; a model's
// label is never text a caller made up.
const OtherModel = "other"

// NoModel is the label for requests that no model decides.
const NoModel = "none"

// Metrics is every series of the process. Make it with New.
type Metrics struct {
	overhead          histogram
	clientDisconnects atomic.Uint64
	streamTruncations atomic.Uint64
	panics            atomic.Uint64
	shed              [len(Classes)]atomic.Uint64
	givenUp           atomic.Uint64
	authFailures      [helixflow.NumAuthReasons]atomic.Uint64
	authThrottled     atomic.Uint64
	keyringKeys       atomic.Int64
	operations        operations
	idempotency       idempotency
	cache             atomic.Pointer[func() CacheStats]
	flights           atomic.Pointer[func() FlightStats]
	websockets        [helixflow.NumOps]WebsocketSeries

	mu       sync.Mutex // guards the fields below, not what they point at
	build    []string   // labels of helixflow_build_info
	models   map[string]*ModelSeries
	backends map[string]*BackendSeries
	pools    map[string]*poolSeries
	picks    map[string]*PickSeries
	hedges   map[string]*HedgeSeries
	hooks    map[string]*HookSeries
}

// New returns metrics at zero.
func New() *Metrics {
	return &Metrics{
		overhead: histogram{bounds: overheadBounds},
		models:   map[string]*ModelSeries{},
		backends: map[string]*BackendSeries{},
		pools:    map[string]*poolSeries{},
		picks:    map[string]*PickSeries{},
		hedges:   map[string]*HedgeSeries{},
		hooks:    map[string]*HookSeries{},
	}
}

// SetBuild says what helixflow_build_info tells of the program.
func (m *Metrics) SetBuild(version, revision, goVersion string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.build = []string{"version", version, "revision", revision, "goversion", goVersion}
}

// Model returns the series of a model, always the same ones for a name. The
// name must come from the configuration, or be OtherModel or NoModel. Not for the request
// path: it locks.
func (m *Metrics) Model(name string) *ModelSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.models[name]
	if s == nil {
		s = newModelSeries(name)
		m.models[name] = s
	}
	return s
}

// Backend returns the series of a backend, always the same ones for a name.
// A scrape calls inflight, from any goroutine, to learn how many requests the
// backend has now; the latest one given counts, nil leaves the gauge out. Not
// for the request path: it locks.
func (m *Metrics) Backend(name string, inflight func() float64) *BackendSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.backends[name]
	if s == nil {
		s = &BackendSeries{name: name}
		m.backends[name] = s
	}
	s.inflight.Store(&inflight)
	return s
}

// Hook returns the series of a hook, always the same ones for a name. The name
// must come from the configuration. Not for the request path: it locks.
func (m *Metrics) Hook(name string) *HookSeries {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.hooks[name]
	if s == nil {
		s = newHookSeries(name)
		m.hooks[name] = s
	}
	return s
}

// Pool has scrapes ask panicking, from any goroutine, whether the pool has so
// few healthy backends that ejections are ignored. The latest one given counts,
// nil leaves the pool out.
func (m *Metrics) Pool(name string, panicking func() bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if panicking == nil {
		delete(m.pools, name)
		return
	}
	m.pools[name] = &poolSeries{name, panicking}
}

// Overhead times what the router itself added to one request: all of it but the
// waiting for client and backend.
func (m *Metrics) Overhead(d time.Duration) { m.overhead.observe(d) }

// ClientDisconnect counts a client that left before its answer was complete.
func (m *Metrics) ClientDisconnect() { m.clientDisconnects.Add(1) }

// StreamTruncation counts a stream that the backend cut after the client had
// begun to read it.
func (m *Metrics) StreamTruncation() { m.streamTruncations.Add(1) }

// Panic counts a panic that was caught.
func (m *Metrics) Panic() { m.panics.Add(1) }

// Classes are the classes of requests, the most urgent first.
var Classes = [...]string{"system", "interactive", "default", "batch"}

// Shed counts a request of a class that was refused to make room for others.
func (m *Metrics) Shed(class string) {
	for i := range Classes {
		if Classes[i] == class {
			m.shed[i].Add(1)
		}
	}
}

// GivenUp counts requests that were ended for the memory that they held.
func (m *Metrics) GivenUp(n int) { m.givenUp.Add(uint64(n)) }

// AuthFailure counts a request whose credential was not accepted.
func (m *Metrics) AuthFailure(r helixflow.AuthReason) {
	if r < helixflow.NumAuthReasons {
		m.authFailures[r].Add(1)
	}
}

// AuthThrottled counts one that was told to wait besides.
func (m *Metrics) AuthThrottled() { m.authThrottled.Add(1) }

// Keyring says how many API keys are in force.
func (m *Metrics) Keyring(keys int) { m.keyringKeys.Store(int64(keys)) }

// WritePrometheus writes every series to w, families in a fixed order and
// series sorted by name. Whether w took it is the caller's business.
func (m *Metrics) WritePrometheus(w io.Writer) {
	m.mu.Lock()
	build := m.build
	models := slices.SortedFunc(maps.Values(m.models), func(a, b *ModelSeries) int { return cmp.Compare(a.name, b.name) })
	backends := slices.SortedFunc(maps.Values(m.backends), func(a, b *BackendSeries) int { return cmp.Compare(a.name, b.name) })
	pools := slices.SortedFunc(maps.Values(m.pools), func(a, b *poolSeries) int { return cmp.Compare(a.name, b.name) })
	hedges := slices.SortedFunc(maps.Values(m.hedges), func(a, b *HedgeSeries) int { return cmp.Compare(a.pool, b.pool) })
	picks := slices.SortedFunc(maps.Values(m.picks), func(a, b *PickSeries) int { return cmp.Compare(a.pool, b.pool) })
	hooks := slices.SortedFunc(maps.Values(m.hooks), func(a, b *HookSeries) int { return cmp.Compare(a.name, b.name) })
	m.mu.Unlock()

	var t text
	if build != nil {
		t.family(buildInfo)
		t.sample(buildInfo.name, 1, build...)
	}
	writeModels(&t, models)
	t.family(overheadSeconds)
	m.overhead.write(&t, overheadSeconds.name)
	writeBackends(&t, backends)
	writePools(&t, pools)
	writePicks(&t, picks)
	writeHedges(&t, hedges)
	writeHooks(&t, hooks)
	t.family(clientDisconnects)
	t.sample(clientDisconnects.name, m.clientDisconnects.Load())
	t.family(streamTruncations)
	t.sample(streamTruncations.name, m.streamTruncations.Load())
	t.family(givenUpTotal)
	t.sample(givenUpTotal.name, m.givenUp.Load())
	t.family(shedTotal)
	for i := range m.shed {
		t.sample(shedTotal.name, m.shed[i].Load(), "class", Classes[i])
	}
	m.writeCache(&t)
	m.idempotency.write(&t)
	t.family(authFailures)
	for r := range m.authFailures {
		if reason := helixflow.AuthReason(r); reason != helixflow.AuthAccepted {
			t.sample(authFailures.name, m.authFailures[r].Load(), "reason", reason.String())
		}
	}
	t.family(authThrottled)
	t.sample(authThrottled.name, m.authThrottled.Load())
	t.family(keyringKeys)
	t.sample(keyringKeys.name, uint64(m.keyringKeys.Load()))
	t.family(panics)
	t.sample(panics.name, m.panics.Load())
	m.writeWebsockets(&t)
	m.operations.write(&t)
	_, _ = w.Write(t.b)
	metrics.WriteProcessMetrics(w)
	metrics.WriteFDMetrics(w)
}
