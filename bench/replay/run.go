package replay

// One run: the events, and what each does.

import (
	"strconv"
	"time"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/bench/sim"
	"github.com/helixflow/helixflow/router/admission"
)

// epoch is the moment a run begins, for code that wants a time.Time.
var epoch = time.Unix(0, 0)

// world is one run while it goes.
type world struct {
	config   *Config
	now      int64
	events   events
	prompts  *prompts
	routers  []*router
	backends []*engine
	flights  []*flight // by their number, which is the tag of their sequence
	free     []int32
	tags     uint64
	open     int // requests that came and have not ended
	stream   *stream
	classes  *stream
	steps    []sim.Event // reused
	result   *Result
}

// Run runs c to the end of its last request.
func Run(c Config) (*Result, error) {
	w, err := newWorld(c)
	if err != nil {
		return nil, err
	}
	return w.run(), nil
}

func newWorld(c Config) (*world, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	w := &world{config: &c, prompts: newPrompts(c.Trace, c.Seed), stream: streamOf(c.Seed, "clients"), classes: streamOf(c.Seed, "classes")}
	w.result = newResult(&c)
	for i := range c.Backends {
		e := &engine{world: w, number: i, speed: c.speed(i), up: true}
		e.start()
		w.backends = append(w.backends, e)
	}
	for i := range c.Routers {
		r, err := newRouter(w, i)
		if err != nil {
			return nil, err
		}
		w.routers = append(w.routers, r)
	}
	return w, nil
}

func (w *world) run() *Result {
	w.begin()
	for len(w.events.heap) > 0 {
		e := w.events.next()
		w.now = e.at
		w.happen(e)
	}
	w.result.finish(w)
	return w.result
}

// begin puts what happens by itself among the events.
func (w *world) begin() {
	c := w.config
	w.events.add(c.Trace.Requests[0].At, kindArrival, 0, 0)
	for i, f := range c.Faults {
		w.events.add(int64(f.At), kindFault, i, 0)
	}
	w.events.add(0, kindSample, 0, 0)
	for _, r := range w.routers {
		r.begin()
	}
}

// over reports whether nothing is left to be done, so that what repeats itself can
// end.
func (w *world) over() bool {
	return w.open == 0 && len(w.result.Requests) > 0 && w.result.arrived == len(w.config.Trace.Requests)
}

func (w *world) happen(e event) {
	switch e.kind {
	case kindArrival:
		w.arrive(int(e.who))
	case kindStep:
		w.backends[e.who].wake(e.what)
	case kindScrape:
		w.routers[e.what].scrape(int(e.who))
	case kindGossip:
		w.routers[e.who].hear(e.what)
	case kindFault:
		w.befall(w.config.Faults[e.who])
	case kindAbort:
		w.leave(e.who, int(e.what))
	case kindCheck:
		w.routers[e.what].check(int(e.who), e.at)
	case kindSweep:
		w.routers[e.who].sweep()
	case kindLate:
		w.late(e.who, int(e.what))
	case kindExpire:
		w.expire(e.who, int(e.what))
	case kindSample:
		w.sample()
	}
}

// arrive lets request i come, and has the next one come after it.
func (w *world) arrive(i int) {
	list := w.config.Trace.Requests
	if i+1 < len(list) {
		w.events.add(list[i+1].At, kindArrival, i+1, 0)
	}
	w.result.arrived++
	w.open++
	// Drawn for every request, so that streams stay in step whatever comes of it.
	to, noise := w.stream.below(uint64(len(w.routers))), w.stream.normal()
	leaves, after := w.stream.float(), w.stream.float()
	f := w.flight(i)
	f.router = w.routers[to]
	f.noise = noise
	f.chance = w.classes.float()
	f.waiter = admission.Waiter{Class: admission.Default, Tenant: strconv.Itoa(int(list[i].Tenant)), Owner: f}
	if w.classes.float() < w.config.Batch {
		f.waiter.Class = admission.Batch
	}
	if leaves < w.config.Leave {
		w.events.add(w.now+int64(after*float64(patience)), kindAbort, int(f.number), int64(i))
	}
	f.router.take(f)
}

// patience is the longest that a client waits which leaves.
const patience = 30 * time.Second

// leave lets the client of a request go, if it is still there.
func (w *world) leave(number int32, request int) {
	f := w.flights[number]
	if f.request != request {
		return
	}
	f.router.gone(f)
}

// befall lets a backend have its fault.
func (w *world) befall(f Fault) {
	e := w.backends[f.Backend]
	switch f.Kind {
	case Crash:
		if !e.up {
			return
		}
		e.up = false
		for _, f := range w.flights {
			if f.request >= 0 && f.second.engine == e {
				f.router.secondBroke(f)
			}
			if f.request >= 0 && f.engine == e {
				f.router.broke(f)
			}
		}
	case Slow:
		e.speed = w.config.speed(f.Backend) * f.Speed
		e.model.SetSpeed(e.speed)
	case Heal:
		e.speed = w.config.speed(f.Backend)
		if !e.up {
			e.up = true
			e.lives++
			e.start()
		}
		e.model.SetSpeed(e.speed)
	}
}

// flight takes a place for request i.
func (w *world) flight(i int) *flight {
	var f *flight
	if n := len(w.free); n > 0 {
		f = w.flights[w.free[n-1]]
		w.free = w.free[:n-1]
	} else {
		f = &flight{number: int32(len(w.flights))}
		w.flights = append(w.flights, f)
	}
	*f = flight{number: f.number, request: i, blocks: f.blocks[:0]}
	return f
}

// land gives a flight's place back.
func (w *world) land(f *flight) {
	f.request = -1
	w.free = append(w.free, f.number)
	w.open--
}

// placement packs what a router tells others: request i went to a backend.
func placement(i, backend int) int64 { return int64(i)<<16 | int64(backend) }

func placed(what int64) (i, backend int) { return int(what >> 16), int(what & (1<<16 - 1)) }

var _ [1<<16 - balancer.MaxBackends]struct{} // a backend's number fits
