package metric

// What is counted of the router's operation: reloads, certificates, the access
// log; and what the status page sums up.

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// operations is set when something happens, never by a request.
type operations struct {
	mu           sync.Mutex // guards the fields below
	reloads      [2]uint64  // refused, done
	reloadedAt   time.Time
	reloadedWell bool
	generation   uint64
	certificates map[string]time.Time // by listener: when it runs out
	accessLog    func() (written, dropped, failures uint64)
	rejections   func() []Rejections
	cluster      func() ClusterFigures
	queues       func() []QueueCounts
	pressure     func() Pressure
	issuers      func() []Issuer
	redis        func() *Redis
	discoveries  func() []Discovery
}

// QueueCounts are how many requests wait for room in a pool, and what became of
// those that did.
type QueueCounts struct {
	Pool                           string
	Length                         int
	Refused, Shed, Expired, Served uint64
	Waited                         time.Duration // of those served, together
}

// Pressure is how short the process is of what it needs.
type Pressure struct {
	Level int // 0 is calm
	Uses  []ResourceUse
}

// ResourceUse is how much of a resource is used up.
type ResourceUse struct {
	Name        string // of a closed set
	Used, Limit uint64
}

// Pressure has the process's shortness written with each scrape.
func (m *Metrics) Pressure(figures func() Pressure) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pressure = figures
}

func writePressure(t *text, p Pressure) {
	t.family(pressureLevel)
	t.sample(pressureLevel.name, uint64(p.Level))
	t.family(resourceUsed)
	for _, u := range p.Uses {
		t.sample(resourceUsed.name, u.Used, "resource", u.Name)
	}
	t.family(resourceLimit)
	for _, u := range p.Uses {
		t.sample(resourceLimit.name, u.Limit, "resource", u.Name)
	}
}

// Queues has the pools' queues written with each scrape.
func (m *Metrics) Queues(counts func() []QueueCounts) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queues = counts
}

func writeQueues(t *text, list []QueueCounts) {
	t.family(queueLength)
	for _, q := range list {
		t.sample(queueLength.name, uint64(q.Length), "pool", q.Pool)
	}
	t.family(queueRejections)
	for _, q := range list {
		t.sample(queueRejections.name, q.Refused, "pool", q.Pool, "reason", "full")
		t.sample(queueRejections.name, q.Shed, "pool", q.Pool, "reason", "shed")
		t.sample(queueRejections.name, q.Expired, "pool", q.Pool, "reason", "expired")
	}
	t.family(queueWait)
	for _, q := range list {
		t.sampleFloat(queueWait.name+"_sum", q.Waited.Seconds(), "pool", q.Pool)
		t.sample(queueWait.name+"_count", q.Served, "pool", q.Pool)
	}
}

// Rejections are how many requests one limit of one scope refused, and how many
// it would have. Scope and limit are of closed sets, the name is configured.
type Rejections struct {
	Scope, Name, Limit string
	Refused, Shadow    uint64
}

// Reloaded counts a try to put another configuration into force.
func (m *Metrics) Reloaded(well bool, now time.Time) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reloadedAt, o.reloadedWell = now, well
	if well {
		o.reloads[1]++
	} else {
		o.reloads[0]++
	}
}

// Generation says which configuration is in force.
func (m *Metrics) Generation(n uint64) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.generation = n
}

// Certificate says when the certificate that a listener shows runs out; a zero
// time is that it shows none.
func (m *Metrics) Certificate(listener string, end time.Time) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.certificates == nil {
		o.certificates = map[string]time.Time{}
	}
	if end.IsZero() {
		delete(o.certificates, listener)
		return
	}
	o.certificates[listener] = end
}

// AccessLog has the counts of the access log written with each scrape; nil
// stops that.
func (m *Metrics) AccessLog(counts func() (written, dropped, failures uint64)) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.accessLog = counts
}

// Limits has what limits refused written with each scrape.
func (m *Metrics) Limits(rejections func() []Rejections) {
	o := &m.operations
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rejections = rejections
}

func (o *operations) write(t *text) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rejections != nil {
		t.family(limitRejections)
		for _, r := range o.rejections() {
			labels := []string{"scope", r.Scope, "name", r.Name, "limit", r.Limit, "result", "refused"}
			t.sample(limitRejections.name, r.Refused, labels...)
			labels[7] = "shadow"
			t.sample(limitRejections.name, r.Shadow, labels...)
		}
	}
	if o.queues != nil {
		writeQueues(t, o.queues())
	}
	if o.cluster != nil {
		writeCluster(t, o.cluster())
	}
	if o.pressure != nil {
		writePressure(t, o.pressure())
	}
	if o.generation > 0 {
		t.family(configGeneration)
		t.sample(configGeneration.name, o.generation)
	}
	t.family(configReloads)
	t.sample(configReloads.name, o.reloads[0], "result", "refused")
	t.sample(configReloads.name, o.reloads[1], "result", "done")
	if !o.reloadedAt.IsZero() {
		well := uint64(0)
		if o.reloadedWell {
			well = 1
		}
		t.family(configReloadSuccess)
		t.sample(configReloadSuccess.name, well)
		t.family(configReloadTime)
		t.sampleFloat(configReloadTime.name, float64(o.reloadedAt.UnixMilli())/1000)
	}
	if len(o.certificates) > 0 {
		t.family(tlsCertificateEnd)
		for listener, end := range o.certificates {
			t.sampleFloat(tlsCertificateEnd.name, float64(end.Unix()), "listener", listener)
		}
		t.family(tlsCertificateDays)
		for listener, end := range o.certificates {
			t.sampleFloat(tlsCertificateDays.name, time.Until(end).Hours()/24, "listener", listener)
		}
	}
	o.writeIssuers(t)
	o.writeRedis(t)
	o.writeDiscoveries(t)
	if o.accessLog != nil {
		written, dropped, failures := o.accessLog()
		t.family(accessLogLines)
		t.sample(accessLogLines.name, written, "result", "written")
		t.sample(accessLogLines.name, dropped, "result", "dropped")
		t.family(accessLogFailures)
		t.sample(accessLogFailures.name, failures)
	}
}

// ModelTotals is what was counted for a public model name since the start.
type ModelTotals struct {
	Name         string
	Requests     uint64
	Failed       uint64 // of those, answered 5xx
	InputTokens  uint64
	OutputTokens uint64
}

// Totals returns every model, by name.
func (m *Metrics) Totals() []ModelTotals {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]ModelTotals, 0, len(m.models))
	for _, s := range m.models {
		list = append(list, s.totals())
	}
	slices.SortFunc(list, func(a, b ModelTotals) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (s *ModelSeries) totals() ModelTotals {
	t := ModelTotals{Name: s.name, InputTokens: s.tokens[0].Load(), OutputTokens: s.tokens[2].Load()}
	for op := range s.ops {
		o := s.ops[op].Load()
		if o == nil {
			continue
		}
		for kind := range o.requests {
			t.add(&o.requests[kind])
		}
	}
	return t
}

func (t *ModelTotals) add(c *codeCounts) {
	for i := range c {
		n := c[i].Load()
		t.Requests += n
		if codes[i].label[0] == '5' {
			t.Failed += n
		}
	}
}
