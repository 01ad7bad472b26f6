package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router/admission"
)

// This file finds the flight that a request's answer comes with, or begins one,
// and lets those who have read it go.

const (
	maxFlights   = 4096 // under way; who would begin one more asks for itself
	maxFollowers = 4096 // of one flight; who comes then begins another
)

// flightKey is what those on one flight have in common: the question, the form of
// its answer, and how urgent it is.
type flightKey struct {
	cache.Key
	stream, usage bool
	class         admission.Class
}

// flights are those under way. The zero value is ready; safe for concurrent use.
type flights struct {
	followers atomic.Int64
	lost      atomic.Uint64 // followers that fell too far behind

	mu       sync.Mutex // guards the fields below; taken before a flight's own
	underWay int
	open     map[flightKey]*flight // the latest of each key, which may take others in
}

// board gives e a seat on the flight that its answer comes with, and begins that if
// there is none; without one e asks for itself. False: the answer has come since e
// looked, unless this is already the second time.
func (e *Exchange) board(again bool) bool {
	s := e.srv
	k := flightKey{Key: e.known.key, stream: e.call.Stream && e.op.CanStream(), class: e.classFor()}
	k.usage = k.stream && e.call.IncludeUsage && reportsApart(e.op)
	st := &seat{parked: parked{call: make(chan struct{}, 1)}}
	switch s.flights.board(k, st, !again, s, e.bodyRead) {
	case boardLook:
		return false
	case boardFull:
		return true
	case boardFirst:
		st.first = true
		st.flight.take(e)
	case boardNext:
		e.known.result = metric.CacheCoalesced
	}
	e.seat, e.known.keeps = st, false
	s.flights.followers.Add(1)
	e.conn.waiting.Store(&st.parked)
	return true
}

// boarding is what came of asking for a seat.
type boarding uint8

const (
	boardNext  boarding = iota // on a flight that is under way
	boardFirst                 // on a new one
	boardLook                  // none: the answer is known by now
	boardFull                  // none: there are too many
)

// board finds or makes a flight for st. A flight that ended has put its answer into
// the cache before: whoever finds no flight finds that.
func (t *flights) board(k flightKey, st *seat, look bool, s *Server, now time.Time) boarding {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch f := t.open[k]; {
	case f != nil && f.join(st):
		return boardNext
	case look && s.known.Load().Arrived(&k.Key, now):
		return boardLook
	case t.underWay >= maxFlights:
		return boardFull
	}
	f := &flight{srv: s, key: k}
	f.room = sync.NewCond(&f.mu)
	f.conn.srv, f.conn.fd = s, -1
	f.conn.writeUntil = now.Add(365 * 24 * time.Hour) // it has no deadlines either
	f.join(st)
	if t.open == nil {
		t.open = make(map[flightKey]*flight)
	}
	t.open[k] = f
	t.underWay++
	return boardFirst
}

// land is board's end.
func (t *flights) land(f *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.underWay--
	if t.open[f.key] == f {
		delete(t.open, f.key)
	}
}

// seal keeps everybody from joining what is under way: its answers are not wanted
// any more.
func (t *flights) seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.open)
}

// stats are figures of now.
func (t *flights) stats() metric.FlightStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return metric.FlightStats{UnderWay: int64(t.underWay), Followers: t.followers.Load(), Lost: t.lost.Load()}
}

// join takes st in if the whole answer can still be had.
func (f *flight) join(st *seat) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended || f.abandoned || f.begin > 0 || len(f.seats) == maxFollowers {
		return false
	}
	st.flight, st.index = f, len(f.seats)
	f.seats = append(f.seats, st)
	return true
}

// leave lets st go, if it has not left already. Where it was the last one, nobody needs
// the answer any more.
func (f *flight) leave(st *seat) {
	f.mu.Lock()
	if st.left {
		f.mu.Unlock()
		return
	}
	st.left = true
	f.srv.flights.followers.Add(-1)
	last := len(f.seats) - 1
	f.seats[st.index] = f.seats[last]
	f.seats[st.index].index = st.index
	f.seats[last] = nil
	f.seats = f.seats[:last]
	f.abandoned = last == 0 && !f.ended
	abandoned := f.abandoned
	if f.waits {
		f.room.Signal()
	}
	f.release()
	f.mu.Unlock()
	if abandoned {
		f.conn.hangUp()
	}
}
