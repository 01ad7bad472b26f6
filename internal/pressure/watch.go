package pressure

import (
	"sync"
	"sync/atomic"
	"time"
)

// every is how often the sources are asked: a hundred bodies of the largest size
// take longer to come.
const every = 250 * time.Millisecond

// Use is how much of a resource is used up.
type Use struct {
	Resource    string // memory, descriptors
	Used, Limit uint64 // bytes, or a number; a limit of 0 is none
}

// Share is Used of Limit; 0 without a limit.
func (u Use) Share() float64 {
	if u.Limit == 0 {
		return 0
	}
	return float64(u.Used) / float64(u.Limit)
}

// Source says how much is used up. limit is of memory, 0 for that of the system.
type Source func(limit uint64) []Use

// State is how things are at one moment.
type State struct {
	Level Level
	Uses  []Use // each resource once; not to be changed
}

// Worst is the use that is nearest to its limit.
func (s *State) Worst() (worst Use) {
	for _, u := range s.Uses {
		if u.Share() >= worst.Share() {
			worst = u
		}
	}
	return worst
}

// Watch asks a source for as long as the process serves.
type Watch struct {
	source Source
	tell   func(before, now State)
	limit  atomic.Uint64
	off    atomic.Bool
	state  atomic.Pointer[State]
	ladder Ladder // the goroutine's
	wake   chan struct{}
	stop   chan struct{}
	done   sync.WaitGroup
}

// Start begins a watch of source, System for the real one, which tells of each
// change of the level, from its goroutine. Close ends it.
func Start(source Source, tell func(before, now State)) *Watch {
	w := &Watch{source: source, tell: tell, stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	w.state.Store(&State{})
	w.done.Go(w.run)
	return w
}

// Limit sets the memory that the process may have, in bytes; 0: what the system
// says. With off nothing is looked at, and everything calm.
func (w *Watch) Limit(bytes uint64, off bool) {
	w.limit.Store(bytes)
	w.off.Store(off)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// State is how things were when they were looked at last.
func (w *Watch) State() State { return *w.state.Load() }

// Close ends the watch.
func (w *Watch) Close() {
	close(w.stop)
	w.done.Wait()
}

func (w *Watch) run() {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		case <-tick.C:
		}
		w.look(time.Now())
	}
}

// look asks once. Off, nothing is left of what was.
func (w *Watch) look(now time.Time) {
	next := new(State)
	if w.off.Load() {
		w.ladder = Ladder{}
	} else {
		next.Uses = w.source(w.limit.Load())
		next.Level = w.ladder.Step(next.Worst().Share(), now)
	}
	before := w.state.Swap(next)
	if before.Level != next.Level {
		w.tell(*before, *next)
	}
}
