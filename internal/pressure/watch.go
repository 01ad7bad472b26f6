package pressure

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// How often the sources are asked: so often that from one time to the next no more
// than half of what is left can be used up, if requests come in as fast as is
// likely. From Trim on the end may be near in any case.
const (
	every      = 250 * time.Millisecond
	everyShort = 25 * time.Millisecond
	everyLeast = 5 * time.Millisecond
	fastest    = 1 << 30 // bytes a second
)

// memoryUse is the Resource that requests can be ended for.
const memoryUse = "memory"

// Use is how much of a resource is used up.
type Use struct {
	Resource    string // memory or descriptors
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

// Excess is how many bytes of memory are in use beyond where Lean begins, at the
// last level and if it is memory that is short; else 0.
func (s *State) Excess() int64 {
	u := s.Worst()
	if s.Level != Refuse || u.Resource != memoryUse {
		return 0
	}
	return max(int64(float64(u.Used)-from[Lean]*float64(u.Limit)), 0)
}

// Watch asks a source for as long as the process serves.
type Watch struct {
	source Source
	tell   func(before, now State)
	limit  atomic.Uint64
	off    atomic.Bool
	state  atomic.Pointer[State]
	room   atomic.Int64 // bytes that Take may give until the next look
	ladder Ladder       // the goroutine's
	wake   chan struct{}
	stop   chan struct{}
	done   sync.WaitGroup
}

// Start begins a watch of source, System for the real one, which tells of each
// change of the level, and of each look while it is the last one, from its
// goroutine. Close ends it.
func Start(source Source, tell func(before, now State)) *Watch {
	w := &Watch{source: source, tell: tell, stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	w.state.Store(&State{})
	w.room.Store(endless)
	w.done.Go(w.run)
	return w
}

// Limit sets the memory that the process may have, in bytes; 0: what the system
// says. With off nothing is looked at, and everything calm.
func (w *Watch) Limit(bytes uint64, off bool) {
	w.limit.Store(bytes)
	w.off.Store(off)
	w.hurry()
}

// hurry has the sources asked at once.
func (w *Watch) hurry() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// endless is room where nobody knows of a limit.
const endless = math.MaxInt64 / 2

// Take reports whether so many bytes of memory may be taken now. Between two looks
// no more are given than were left then to where Lean begins, so that many large
// requests at once cannot use up what is left before it is seen. A nil Watch gives
// all.
func (w *Watch) Take(bytes int64) bool {
	if w == nil || w.room.Add(-bytes) >= 0 {
		return true
	}
	w.room.Add(bytes)
	w.hurry()
	return false
}

// room is how many bytes of memory are left to where Lean begins.
func (s *State) room() int64 {
	for _, u := range s.Uses {
		if u.Resource == memoryUse && u.Limit > 0 && u.Limit < endless {
			return int64(from[Lean]*float64(u.Limit)) - int64(min(u.Used, u.Limit))
		}
	}
	return endless
}

// State is how things were when they were looked at last.
func (w *Watch) State() State { return *w.state.Load() }

// Close ends the watch.
func (w *Watch) Close() {
	close(w.stop)
	w.done.Wait()
}

func (w *Watch) run() {
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		case <-timer.C:
		}
		w.look(time.Now())
		timer.Reset(w.state.Load().pause())
	}
}

// pause is how long nobody has to look again.
func (s *State) pause() time.Duration {
	pause := every
	if s.Level > Calm {
		pause = everyShort
	}
	for _, u := range s.Uses {
		if u.Resource == memoryUse && u.Limit > 0 {
			left := float64(u.Limit) - min(float64(u.Used), float64(u.Limit))
			pause = min(pause, time.Duration(left/2/fastest*float64(time.Second)))
		}
	}
	return max(pause, everyLeast)
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
	w.room.Store(next.room())
	before := w.state.Swap(next)
	if before.Level != next.Level || next.Level == Refuse {
		w.tell(*before, *next)
	}
}
