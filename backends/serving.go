package backends

// Who of a pool serves a model, as the backends' own lists have it.

import (
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/balancer"
)

// Serves returns who of the members serves a model, by its name there, and who of
// them would have to load it first. Whose list is not known, or too old, is taken
// to serve it.
func (m *Members) Serves(model string, now time.Time) (serves, cold balancer.Mask) {
	model = m.rules.Watching.Models.name(model)
	for i, ep := range m.list {
		listed, unloaded := ep.watch.models.Load().ask(model, now)
		if listed {
			serves.Set(i)
		}
		if unloaded {
			cold.Set(i)
		}
	}
	return serves, cold
}

// Serving is who serves one model, remembered between changes. Safe for concurrent
// use; it goes with its members.
type Serving struct {
	members *Members
	model   string
	view    atomic.Pointer[servingView]
}

// servingView is the answer as of one epoch of the lists. Immutable.
type servingView struct {
	epoch        uint64
	until        time.Time // lists grow too old without a word
	serves, cold balancer.Mask

	absent, queued balancer.Mask
}

// Serving returns the memory of who serves a model.
func (m *Members) Serving(model string) *Serving { return &Serving{members: m, model: model} }

// At is Serves at now. It allocates once a second, and when a list was read.
func (s *Serving) At(now time.Time) (serves, cold balancer.Mask) {
	v := s.viewAt(now)
	return v.serves, v.cold
}

// Adapters is Members.Adapters at now, at the same cost.
func (s *Serving) Adapters(now time.Time) (absent, queued balancer.Mask) {
	v := s.viewAt(now)
	return v.absent, v.queued
}

func (s *Serving) viewAt(now time.Time) *servingView {
	epoch := s.members.pool.lists.Load()
	v := s.view.Load()
	if v == nil || v.epoch != epoch || !now.Before(v.until) {
		v = &servingView{epoch: epoch, until: now.Add(time.Second)}
		v.serves, v.cold = s.members.Serves(s.model, now)
		v.absent, v.queued = s.members.Adapters(s.model, now)
		s.view.Store(v)
	}
	return v
}
