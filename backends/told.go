package backends

// What an operator sees of an endpoint's signals.

import (
	"time"

	"github.com/helixflow/helixflow/backends/signals"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/metric"
)

// Signals is what an engine told of itself, at one moment.
type Signals struct {
	Engine  string        // whose names are read; empty when no metrics are
	Problem string        // why the metrics are not read; empty if they are
	Values  []SignalValue // always the same ones, in the same order
	Reads   []ReadCount
	Began   uint32   // how often the engine began a new life
	Served  []string // models, some of the first by name; nil when not known
	Loaded  []string // those in memory
	Lists   string   // why the lists of models are not read; empty if they are
	Held    []string // LoRA adapters in memory, the last to be used first, up to shownModels; nil when not known
	Queued  []string // those that requests wait for
}

// SignalValue is one of them.
type SignalValue struct {
	Name  string
	Known bool
	Value float64 // 0 when it is not known
	Why   string  // it is not known; empty if it is
}

// ReadCount is how many reads of the metrics ended in one way.
type ReadCount struct {
	Result string
	Count  uint64
}

const shownModels = 100

// Told returns what ep's engine told of itself; nil when it is not asked.
func (ep *Endpoint) Told(now time.Time) *Signals {
	w, rules := ep.watch, &ep.pool.rules.Load().Watching
	_, quotaAge := ep.Signals.Quota(0)
	if rules.idle() && quotaAge == balancer.Never {
		return nil
	}
	s := &Signals{Began: ep.Signals.Restarts()}
	last := w.told.Load()
	if rules.Metrics != nil {
		s.Engine = rules.Metrics.Engine
		for i, name := range readNames {
			s.Reads = append(s.Reads, ReadCount{name, w.counts[i].Load()})
		}
		if last != nil {
			s.Problem = last.problem
		}
	}
	s.Values = ep.values(last, rules, now)
	if err := w.listProblem.Load(); err != nil {
		s.Lists = (*err).Error()
	}
	if list := w.models.Load(); list != nil && now.Sub(list.at) <= listStale {
		s.Served, s.Loaded = list.names(shownModels)
	}
	if list := w.adaptersKnown(ep.pool.tick(now)); list != nil {
		s.Held, s.Queued = list.held[:min(len(list.held), shownModels)], list.queued[:min(len(list.queued), shownModels)]
	}
	return s
}

// values are what the balancer sees, and why it does not see the rest.
func (ep *Endpoint) values(last *told, rules *Watching, now time.Time) (list []SignalValue) {
	at := int64(ep.pool.tick(now))
	sig := &ep.Signals
	add := func(name string, m signals.Meaning, v float64, fresh bool) {
		value := SignalValue{Name: name, Known: fresh}
		switch {
		case fresh:
			value.Value = v
		case rules.Metrics == nil || !rules.Metrics.Tells(m):
			return // nobody expects it
		case last == nil:
			value.Why = "not read yet"
		case last.problem != "":
			value.Why = "not read"
		case last.report.Trouble(m) == signals.Fine:
			value.Why = "too old"
		default:
			value.Why = last.report.Trouble(m).String()
		}
		list = append(list, value)
	}
	aged := func(name string, m signals.Meaning, get func(int64) (float64, time.Duration)) {
		v, age := get(at)
		add(name, m, v, balancer.Freshness(age) > 0)
	}
	aged("running", signals.Running, sig.Running)
	aged("waiting", signals.Waiting, sig.Waiting)
	aged("kv_use", signals.KVUse, sig.KV)
	tokens := signals.KVTokens
	if rules.Metrics != nil && !rules.Metrics.Tells(tokens) {
		tokens = signals.KVBlocks
	}
	add("kv_tokens", tokens, float64(sig.KVTokens()), sig.KVTokens() > 0)
	add("slots", signals.Slots, float64(sig.Slots()), sig.Slots() > 0)
	if v, age := sig.PrefixHits(at); age != balancer.Never {
		add("prefix_hits", signals.HitShare, v, true)
	}
	if n := sig.Preemptions(); n > 0 || rules.Metrics != nil && rules.Metrics.Tells(signals.Preempted) {
		add("preemptions", signals.Preempted, float64(n), last != nil && last.problem == "" && last.report.Trouble(signals.Preempted) == signals.Fine)
	}
	if v, age := sig.Quota(at); age != balancer.Never {
		list = append(list, SignalValue{Name: "quota_use", Known: balancer.Freshness(age) > 0, Value: v})
	}
	return list
}

// signalFigures are what a scrape shows of the signals.
func (ep *Endpoint) signalFigures() (f metric.Signals) {
	s := ep.Told(time.Now())
	if s == nil {
		return f
	}
	f.Restarts = uint64(s.Began)
	for _, v := range s.Values {
		f.Values = append(f.Values, metric.Signal{Name: v.Name, Value: v.Value, Known: v.Known})
	}
	for _, r := range s.Reads {
		f.Reads = append(f.Reads, metric.Count{Result: r.Result, Count: r.Count})
	}
	return f
}

// warning is what an operator should look at of what is not read.
func (w *watcher) warning() string {
	if last := w.told.Load(); last != nil && last.problem != "" {
		return "its metrics are not read: " + last.problem
	}
	if err := w.listProblem.Load(); err != nil {
		return "its models are not known: " + shortened((*err).Error())
	}
	return ""
}
