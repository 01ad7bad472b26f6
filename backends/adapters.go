package backends

// Which LoRA adapters a backend has in memory, by what its engine tells.

import (
	"slices"
	"time"

	"github.com/helixflow/helixflow/backends/signals"
	"github.com/helixflow/helixflow/balancer"
)

// adapterStale is how long what was told of adapters is believed.
const adapterStale = 10 * time.Second

// adapterList is what a backend told. Immutable.
type adapterList struct {
	running, waiting string   // as it was told
	held             []string // in memory, as far as can be told: the last to be used first
	queued           []string // that requests wait for there
}

// readAdapters takes in what the text told of adapters. While that does not
// change it allocates nothing.
func (w *watcher) readAdapters(now time.Time) {
	running, waiting, most, ok := w.scanner.Adapters()
	old := w.adapters.Load()
	if !ok {
		w.forgetAdapters()
		return
	}
	w.adaptersAt.Store(int64(w.ep.pool.tick(now)))
	if old != nil && old.running == string(running) && old.waiting == string(waiting) {
		return
	}
	next := &adapterList{running: string(running), waiting: string(waiting)}
	signals.EachAdapter(running, func(name []byte) { next.held = append(next.held, string(name)) })
	signals.EachAdapter(waiting, func(name []byte) { next.queued = append(next.queued, string(name)) })
	if old != nil { // what nobody uses any more lies there until another one needs the room
		for _, name := range old.held {
			if len(next.held) < most && !slices.Contains(next.held, name) {
				next.held = append(next.held, name)
			}
		}
	}
	w.adapters.Store(next)
	w.ep.pool.lists.Add(1)
}

func (w *watcher) forgetAdapters() {
	if w.adapters.Swap(nil) != nil {
		w.ep.pool.lists.Add(1)
	}
}

// adaptersKnown is what the backend told of adapters and is believed yet; nil when
// there is nothing.
func (w *watcher) adaptersKnown(now tick) *adapterList {
	l := w.adapters.Load()
	if l == nil || time.Duration(now)-time.Duration(w.adaptersAt.Load()) > adapterStale {
		return nil
	}
	return l
}

// ask looks an adapter up.
func (l *adapterList) ask(name string) (held, queued bool) {
	return slices.Contains(l.held, name), slices.Contains(l.queued, name)
}

// Adapters returns who of the members would have to load a model that is an
// adapter, by its name there, and where requests wait for room to. Of a model that none of
// them has told of, and of members that do not tell, nothing is known.
func (m *Members) Adapters(model string, now time.Time) (absent, queued balancer.Mask) {
	at, known := m.pool.tick(now), false
	for i, ep := range m.list {
		l := ep.watch.adaptersKnown(at)
		if l == nil {
			continue
		}
		held, waits := l.ask(model)
		known = known || held || waits
		switch {
		case held:
		case waits:
			queued.Set(i)
		default:
			absent.Set(i)
		}
	}
	if !known {
		return balancer.Mask{}, balancer.Mask{}
	}
	return absent, queued
}
