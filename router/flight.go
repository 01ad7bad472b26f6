package router

import (
	"bytes"
	"runtime/debug"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/metric"
)

// This file shares one call of a backend among those who ask the same at once (ADR
// 27). The call is a flight's: it has an Exchange of its own, which walks forward and
// relays as any other does, but into a window of bytes (window.go). Whoever asks, the
// first one too, takes a seat (boarding.go) and reads from there at its own pace
// (follow.go). When the last of them has left, the flight's connection hangs up.

// flight is one call of a backend for all who ask the same.
type flight struct {
	srv  *Server
	key  flightKey
	own  *Exchange  // what the flight itself goes through; alone the goroutine's that flies it
	conn clientConn // stands for all followers: it has no socket, and hangs up when the last one leaves

	mu   sync.Mutex // guards the fields below
	room *sync.Cond // a follower has moved or left, while the flight waits for that

	seats     []*seat
	blocks    []block
	begin     int64 // where blocks begin in the answer, in bytes
	end       int64
	held      int64 // bytes that count as the cache's
	head      flightHead
	problem   *helixflow.Error // instead of an answer
	course    course
	usage     helixflow.Usage
	sequence  int64
	opened    bool // the head is there
	spoken    bool // so is the first token
	failed    bool // the stream said an error
	midway    bool // in the middle of an event
	ended     bool // nothing follows
	cut       bool // and it broke off there
	abandoned bool // nobody follows any more
	landed    bool // nothing is written any more
	waits     bool // for room
}

// flightHead is what of an answer's head all followers get.
type flightHead struct {
	status      int
	size        int64 // of the body; -1: not known
	events      bool
	contentType []byte
	lines       []byte
}

// course is how it went, for whoever asked first.
type course struct {
	pool     *Pool
	prepared *target
	backend  string
	tries    int
	queued   time.Duration
	decision balancer.Decision
	chosenBy string
	failure  *backends.Failure
	hedged   hedgeResult
	sent     time.Time
	answered time.Time
}

// take makes the request the flight's, with all that is sent of it. What the
// connection has lent is copied.
func (f *flight) take(e *Exchange) {
	own := exchanges.Get().(*Exchange)
	own.progress = progress{
		srv: e.srv, snap: e.snap, conn: &f.conn, flight: f,
		op: e.op, id: bytes.Clone(e.id), client: client{query: bytes.Clone(e.client.query)}, deployment: bytes.Clone(e.deployment),
		header: e.header, filtered: e.filtered, body: e.body, bytesIn: e.bytesIn,
		principal: e.principal, prompt: e.prompt, expected: e.expected, reach: e.reach, name: e.name, pick: e.pick, drawn: e.drawn,
		began: e.began, bodyRead: e.bodyRead,
		known: known{result: metric.CacheMiss, key: e.known.key, keeps: true},
	}
	own.call = e.call
	e.header, e.filtered, e.body, e.pick = nil, nil, nil, nil
	f.own = own
}

// depart begins the flight. Who asks for a whole answer reads nothing before all of it
// is there, and so can fly itself meanwhile: that saves two changes of goroutine. A
// stream, or what turns out to come piece by piece, gets a goroutine of its own, since
// it waits for readers.
func (e *Exchange) depart() {
	f := e.seat.flight
	e.srv.inflight.Add(1)
	if f.key.stream || e.answerBy().Before(e.deadline()) { // who gives up sooner cannot wait for the others
		e.srv.flying.Go(f.run)
		return
	}
	e.conn.flies.Store(e.seat)
	if e.ended() != nil {
		f.leave(e.seat)
	}
	f.call()
	e.conn.flies.Store(nil)
	if a := f.own.attempt; a != nil && !a.whole {
		e.srv.flying.Go(f.bring)
		return
	}
	f.bring()
}

// run is the flight, from its beginning to its end.
func (f *flight) run() {
	f.call()
	f.bring()
}

// call asks a backend.
func (f *flight) call() {
	defer f.survive()
	if err := f.own.forward(); err != nil {
		f.fail(asProblem(err))
	}
}

// bring passes the answer on, if there is one, and ends the flight.
func (f *flight) bring() {
	defer f.away()
	defer f.land()
	defer f.survive()
	if e := f.own; f.problem == nil {
		e.beginKeeping(e.responded)
		f.begun()
		f.finish(e.relay.run() != nil)
	}
}

// begun publishes the head.
func (f *flight) begun() {
	e, a := f.own, f.own.attempt
	size := e.bodySize()
	e.relay.chunked = size < 0 && !isBodiless(e.status)
	h := flightHead{
		status: e.status, size: size, events: a.events,
		contentType: bytes.Clone(a.contentType()), lines: copyHead(nil, a),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.course, f.usage, f.opened = h, e.course(), e.usage, true
}

// course says how e went so far.
func (e *Exchange) course() course {
	c := course{
		prepared: e.prepared, backend: e.backend, tries: e.tries, queued: e.queued,
		decision: e.decision, chosenBy: e.chosenBy, failure: e.failure, hedged: e.hedged, sent: e.sent, answered: e.answered,
	}
	if e.attempt != nil {
		c.pool = e.attempt.pool
	}
	return c
}

// finish says that nothing follows, and whether something is missing.
func (f *flight) finish(cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended, f.cut, f.usage = true, cut, f.own.usage
		f.wake()
	}
}

// fail says that there is no answer.
func (f *flight) fail(p *helixflow.Error) {
	c := f.own.course()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problem, f.course, f.ended = p, c, true
	f.wake()
}

// survive makes a panic the answer.
func (f *flight) survive() {
	if p := recover(); p != nil {
		f.srv.logPanic(f.own, p, debug.Stack())
		f.own.truncated = true
		f.crash()
	}
}

// land ends the call.
func (f *flight) land() {
	e := f.own
	f.srv.flights.land(f)
	now := time.Now()
	e.endAttempt(now)
	e.learn()
	e.charge()
	e.freeRequest()
	e.unkeep()
	e.recycle()
}

// away is the end of the flight, even if the books panicked.
func (f *flight) away() {
	if p := recover(); p != nil {
		f.srv.logPanic(nil, p, debug.Stack())
	}
	f.mu.Lock()
	f.landed = true
	f.release()
	f.mu.Unlock()
	f.srv.inflight.Add(-1)
}

// crash is the end of a flight that panicked.
func (f *flight) crash() {
	f.mu.Lock()
	opened := f.opened
	f.mu.Unlock()
	if opened {
		f.finish(true)
		return
	}
	f.fail(&helixflow.Error{Kind: helixflow.KindInternal})
}
