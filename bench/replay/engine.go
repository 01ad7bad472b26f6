package replay

// A simulated engine among the events.

import "github.com/helixflow/helixflow/bench/sim"

// engine is one backend as it really is.
type engine struct {
	world  *world
	number int
	model  *sim.Engine
	speed  float64
	up     bool
	lives  int   // restarts
	due    int64 // when it wants to be woken; the event of any other time is void

	computed int64 // tokens that earlier lives computed
}

// start begins a life with an empty cache.
func (e *engine) start() {
	if e.model != nil {
		e.computed += computed(e.model)
	}
	e.model = sim.NewEngine(e.world.config.Engine, mix(e.world.config.Seed+uint64(e.number+1)<<32+uint64(e.lives)))
	e.model.SetSpeed(e.speed)
	e.due = sim.Never
}

func computed(m *sim.Engine) int64 {
	c := m.Counters()
	return c.PromptTokens - c.CacheHits + c.OutputTokens
}

// submit begins t, a try of f.
func (e *engine) submit(f *flight, t *try) (err error) {
	r := &e.world.config.Trace.Requests[f.request]
	f.blocks = e.world.prompts.blocks(f.blocks[:0], f.request)
	e.world.tags++
	t.tag = e.world.tags<<32 | uint64(f.number)
	t.seq, err = e.model.Submit(e.world.now, sim.Request{
		Tag: t.tag, PromptTokens: int(r.Prompt), OutputTokens: int(r.Output), Blocks: f.blocks,
	})
	if err == nil {
		e.advance()
	}
	return err
}

// abort ends the sequence of t.
func (e *engine) abort(t *try) {
	e.model.Abort(e.world.now, t.seq)
	e.advance()
}

// wake is the event at the time due.
func (e *engine) wake(due int64) {
	if e.up && due == e.due {
		e.due = sim.Never
		e.advance()
	}
}

// advance runs the engine up to now and tells what came of it. Those who are told
// may submit to it again, and so advance it, meanwhile.
func (e *engine) advance() {
	w := e.world
	happened, next := e.model.Step(w.now, w.steps[:0])
	w.steps = nil // in use
	if next != sim.Never && next != e.due {
		e.due = next
		w.events.add(next, kindStep, e.number, next)
	}
	for _, ev := range happened {
		if ev.Kind == sim.EventPreempted {
			w.result.Preemptions++
			continue
		}
		f := w.flights[uint32(ev.Tag)]
		if ev.Tag == f.second.tag {
			f.router.secondWins(f)
		}
		if ev.Tag != f.tag {
			continue // it was broken off at this very moment
		}
		if ev.Tokens <= 1 && f.first == 0 {
			f.cached = ev.Cached
			f.router.firstToken(f)
		}
		if ev.Kind == sim.EventFinished {
			f.router.finished(f)
		}
	}
	w.steps = happened
}
