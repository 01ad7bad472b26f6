package router

import (
	"bytes"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/router/admission"
)

// This file shares one call of a backend among those who ask the same at once (ADR
// 27). The call is a flight's: a goroutine with an Exchange of its own, which walks
// forward and relays as any other does, but into a window of bytes. Whoever asks,
// the first one too, is a follower and reads from there at its own pace
// (follow.go). When the last of them has left, the flight's connection hangs up.

const (
	maxFlights   = 4096    // under way; who would begin one more asks for itself
	maxFollowers = 4096    // of one flight; who comes then begins another
	flightWindow = 1 << 20 // bytes that wait for slower followers
	firstBlock   = 4 << 10
	largestBlock = 64 << 10

	// How long the faster followers wait for the others, once, when the window is
	// full: those who merely take turns on a processor stay together.
	graceOfWindow = 250 * time.Millisecond
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

// flight is one call of a backend for all who ask the same.
type flight struct {
	srv  *Server
	key  flightKey
	own  *Exchange  // what the flight itself goes through; its goroutine's alone
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
	landed    bool // its goroutine writes no more
	waits     bool // for room
}

// block is a piece of the answer. What was written does not change.
type block struct {
	bytes []byte
	held  int64 // of the cache's memory; 0 where there was none left
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
		s.inflight.Add(1)
		s.flying.Go(st.flight.run)
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
	case look && s.known.Load().Known(&k.Key, now):
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

// leave lets st go. Where it was the last one, nobody needs the answer any more.
func (f *flight) leave(st *seat) {
	f.mu.Lock()
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

// release frees what nobody will read. The lock is held.
func (f *flight) release() {
	if f.landed && len(f.seats) == 0 {
		for len(f.blocks) > 0 {
			f.drop()
		}
	}
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

// run is the flight, from its beginning to its end.
func (f *flight) run() {
	defer f.away()
	defer f.land()
	e := f.own
	if err := e.forward(); err != nil {
		f.fail(asProblem(err))
		return
	}
	e.beginKeeping(e.responded)
	f.begun()
	f.finish(e.relay.run() != nil)
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

// write hands a piece of the answer to the followers, and waits only for the
// fastest of them; last says that nothing follows.
func (f *flight) write(p []byte, last bool) error {
	e := f.own
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.makeRoom(len(p), last) {
		return errClientLeft
	}
	if len(p) > 0 {
		b := &f.blocks[len(f.blocks)-1]
		b.bytes = append(b.bytes, p...)
		f.end += int64(len(p))
	}
	f.usage, f.sequence, f.spoken = e.usage, e.relay.sequence, !e.firstToken.IsZero()
	f.failed, f.midway, f.ended = e.relay.failed, e.relay.opaque, last
	f.wake()
	return nil
}

// makeRoom has the last block take n bytes more, whole. Where the window is full, it
// goes on with the fastest follower, and the others lose what it leaves behind.
// False: nobody is left. The lock is held.
func (f *flight) makeRoom(n int, last bool) bool {
	for waitsUntil := (time.Time{}); ; {
		size := f.blockFor(n, last)
		slowest, fastest := f.spread()
		switch {
		case f.abandoned:
			return false
		case size == 0:
			return true
		case f.held+size <= flightWindow && f.srv.known.Load().Hold(size):
			f.held += size
			f.blocks = append(f.blocks, block{make([]byte, 0, size), size})
		case len(f.blocks) == 0: // it has to lie somewhere
			f.blocks = append(f.blocks, block{make([]byte, 0, size), 0})
		case slowest >= f.begin+int64(len(f.blocks[0].bytes)):
			f.drop()
		case fastest < f.begin+int64(len(f.blocks[0].bytes)):
			f.wait()
		case waitsUntil.IsZero():
			waitsUntil = time.Now().Add(graceOfWindow)
			timer := time.AfterFunc(graceOfWindow, f.room.Broadcast)
			defer timer.Stop()
			f.wait()
		case time.Now().Before(waitsUntil):
			f.wait()
		default:
			f.drop()
		}
	}
}

// wait waits until a follower moves or leaves. The lock is held, and let go of
// meanwhile.
func (f *flight) wait() {
	f.waits = true
	f.room.Wait()
	f.waits = false
}

// blockFor is how large a block n more bytes need; 0: they fit into the last one.
func (f *flight) blockFor(n int, last bool) int64 {
	if i := len(f.blocks) - 1; n == 0 || i >= 0 && cap(f.blocks[i].bytes)-len(f.blocks[i].bytes) >= n {
		return 0
	}
	if last {
		return int64(n)
	}
	return max(int64(n), min(max(f.end-f.begin, firstBlock), largestBlock))
}

// spread is how far those who can still read on have read.
func (f *flight) spread() (slowest, fastest int64) {
	slowest = math.MaxInt64
	for _, st := range f.seats {
		if st.at >= f.begin {
			slowest, fastest = min(slowest, st.at), max(fastest, st.at)
		}
	}
	return slowest, fastest
}

// drop forgets the first block.
func (f *flight) drop() {
	b := f.blocks[0]
	f.begin += int64(len(b.bytes))
	f.held -= b.held
	f.srv.known.Load().Release(b.held)
	f.blocks[0] = block{}
	f.blocks = f.blocks[1:]
}

// wake rings for those who have read all there was. The lock is held.
func (f *flight) wake() {
	for _, st := range f.seats {
		if st.waits {
			st.waits = false
			st.ring()
		}
	}
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

// land ends the call, whatever panicked on the way.
func (f *flight) land() {
	e := f.own
	if p := recover(); p != nil {
		f.srv.logPanic(e, p, debug.Stack())
		e.truncated = true
		f.crash()
	}
	f.srv.flights.land(f)
	now := time.Now()
	e.endAttempt(now)
	e.learn()
	e.charge()
	e.freeRequest()
	e.unkeep()
	e.recycle()
}

// away is the end of the goroutine, even if the books panicked.
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
