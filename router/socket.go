package router

import (
	"crypto/tls"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file is the life of one websocket: two directions that pass frames on, and
// what ends them.

const (
	partingFor  = time.Second           // for a side to answer our close frame
	replyFor    = 5 * time.Second       // for a side to answer the other's close frame
	leavingFor  = 20 * time.Millisecond // for what a client sent before it left
	spliceAbove = 64 << 10              // bytes left of a frame that are worth a pipe
	splicePiece = 256 << 10
)

// ending is why a websocket ends, and what each side is told unless it has sent or
// been sent a close frame. 0 tells it nothing, since it is not there.
type ending struct {
	as        metric.WebsocketEnd
	toClient  int
	toBackend int
	reason    string
}

// The endings. Nobody changes one.
var (
	endClient       = &ending{metric.EndedByClient, websocket.StatusNormal, websocket.StatusNormal, ""}
	endBackend      = &ending{metric.EndedByBackend, websocket.StatusNormal, websocket.StatusNormal, ""}
	endLeft         = &ending{metric.EndLeft, 0, websocket.StatusGoingAway, ""}
	endCut          = &ending{metric.EndCut, websocket.StatusInternal, 0, "the backend hung up"}
	endIdle         = &ending{metric.EndIdle, websocket.StatusGoingAway, websocket.StatusGoingAway, "silent for too long"}
	endTotal        = &ending{metric.EndTotal, websocket.StatusGoingAway, websocket.StatusGoingAway, "open for too long"}
	endDrain        = &ending{metric.EndDrain, websocket.StatusGoingAway, websocket.StatusGoingAway, "going away"}
	endRefused      = &ending{metric.EndRefused, websocket.StatusPolicy, websocket.StatusGoingAway, "refused"}
	endRefusedNow   = &ending{metric.EndRefused, websocket.StatusTryAgain, websocket.StatusGoingAway, "try again later"}
	endProtocol     = &ending{metric.EndProtocol, websocket.StatusProtocol, websocket.StatusGoingAway, "malformed frame"}
	endUnsupported  = &ending{metric.EndProtocol, websocket.StatusUnsupported, websocket.StatusGoingAway, "messages must be text"}
	endUTF8         = &ending{metric.EndProtocol, websocket.StatusInvalidUTF8, websocket.StatusGoingAway, "text must be UTF-8"}
	endTooBig       = &ending{metric.EndProtocol, websocket.StatusTooBig, websocket.StatusGoingAway, "the message is too large"}
	endTooSlow      = &ending{metric.EndProtocol, websocket.StatusPolicy, websocket.StatusGoingAway, "the message came too slowly"}
	endBadBackend   = &ending{metric.EndBadBackend, websocket.StatusInternal, websocket.StatusProtocol, "malformed frame"}
	endStall        = &ending{metric.EndStall, websocket.StatusPolicy, websocket.StatusGoingAway, "nothing was read for too long"}
	endBackendStall = &ending{metric.EndBackendStall, websocket.StatusInternal, websocket.StatusPolicy, "nothing was read for too long"}
)

// Error says what the backend did, for the operator.
func (e *ending) Error() string { return "the websocket ended: " + e.as.String() }

// isBackendsFault reports whether the backend is to blame for the ending.
func (e *ending) isBackendsFault() bool {
	return e == endCut || e == endBadBackend || e == endBackendStall
}

// socket is one websocket. The client's goroutine owns it; what is not atomic is
// its, and from start to finish that of the flows.
type socket struct {
	shake   handshake
	counted bool // among the open ones

	srv    *Server
	cell   *cell
	series *metric.WebsocketSeries
	idle   time.Duration
	began  time.Time
	until  time.Time // when it has been open for long enough

	up, down flow   // from the client to the backend, and back
	client   outlet // to the client
	backend  outlet

	end    atomic.Pointer[ending] // the first that came
	ending atomic.Bool            // both sides are being told
	last   atomic.Int64           // when bytes last passed, after began
	reply  atomic.Int64           // when a close frame must have been answered, after began; 0: none came
	second sync.WaitGroup         // of down's goroutine

	mu      sync.Mutex // guards the fields below
	raw     [2]net.Conn
	cutter  *time.Timer
	cutting time.Time // when cutter strikes
	over    bool
	unpaid  helixflow.Usage // of responses that have ended, since spent was asked
	usage   helixflow.Usage // of all
}

// converse holds the websocket until it has ended.
func (e *Exchange) converse() {
	s, c := e.socket, e.conn
	s.srv, s.cell, s.series = e.srv, &c.cell, e.srv.metrics.Websockets(e.op)
	s.began = time.Now()
	s.idle, s.until = e.snap.websockets.idle, s.began.Add(e.snap.websockets.total)
	s.series.Opened()
	defer e.tally()
	defer s.finish()
	if e.attempt != nil {
		e.attempt.lease.Disarm() // from here on the socket sees to hang-ups, in words
	}
	early, err := e.switchOver()
	if err != nil {
		s.note(endLeft)
		return
	}
	s.meet(c, early)
	if e.op == helixflow.OpResponsesSocket {
		s.up.talk = &dialogue{e: e, s: s}
	} else {
		e.joinBackend()
	}
	s.up.run()
}

// joinBackend makes the backend that switched protocols the other side.
func (e *Exchange) joinBackend() {
	lease := &e.attempt.lease
	nc, early := lease.Tunnel()
	lease.Disarm()
	e.socket.join(nc, early, e.newEars())
	e.header.Free()
	e.filtered.Free()
	e.header, e.filtered = nil, nil
}

// tally books how the websocket went.
func (e *Exchange) tally() {
	s := e.socket
	why := s.end.Load()
	s.series.Closed(why.as)
	e.status, e.bytesIn, e.relay.sent = statusSwitching, s.up.bytes, s.client.sent
	e.delivered = true
	e.left = why == endLeft || why == endStall
	if e.truncated = why.isBackendsFault(); e.truncated {
		s.srv.logFailure(e, &backends.Failure{Phase: backends.PhaseBody, Backend: e.backend, Err: why})
	}
}

// use notes what a response used.
func (s *socket) use(u helixflow.Usage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unpaid.Add(u)
	s.usage.Add(u)
}

// spent is what was used since it was asked for the last time.
func (s *socket) spent() helixflow.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.unpaid
	s.unpaid = helixflow.Usage{}
	return u
}

// meet makes a the client's side of s, from where early was read already. From now
// on a hang-up or the end of a drain reaches s.
func (s *socket) meet(c *clientConn, early []byte) {
	s.client.to(c.nc, false)
	s.up = flow{s: s, out: &s.backend, lost: endLeft, broken: endProtocol, stalled: endBackendStall}
	s.up.follow.FromClient = true
	s.up.in.open(c.nc, early)
	s.mu.Lock()
	s.raw[0] = c.raw
	s.mu.Unlock()
	c.cell.socket.Store(s)
	s.look()
}

// join makes nc, a connection to a backend that has switched protocols, the other
// side of s, and begins to pass on what comes from there.
func (s *socket) join(nc net.Conn, early []byte, heard *ears) {
	s.backend.to(nc, true)
	s.down = flow{s: s, out: &s.client, ears: heard, lost: endCut, broken: endBadBackend, stalled: endStall}
	s.down.in.open(nc, early)
	s.mu.Lock()
	s.raw[1] = nc
	if t, ok := nc.(*tls.Conn); ok {
		s.raw[1] = t.NetConn()
	}
	s.mu.Unlock()
	s.last.Store(int64(time.Since(s.began)))
	s.look()
	s.second.Go(s.passDown)
}

// look sees to what happened before it could reach s.
func (s *socket) look() {
	if s.cell.Gone() {
		s.leave()
	}
	if s.srv.cutting.Load() {
		s.stop(endDrain)
	}
}

func (s *socket) passDown() {
	defer func() {
		if p := recover(); p != nil {
			s.srv.logPanic(nil, p, debug.Stack())
			s.note(endCut)
			s.cut()
		}
	}()
	s.down.run()
}

// finish waits for the other direction and takes s from where others find it.
func (s *socket) finish() {
	if !s.up.over { // a panic
		s.note(endCut)
		s.cut()
	}
	s.second.Wait()
	s.cell.socket.Store(nil)
	s.mu.Lock()
	s.over = true
	if s.cutter != nil {
		s.cutter.Stop()
	}
	s.mu.Unlock()
	s.client.release()
	s.backend.release()
}

// note keeps why s ends, if nobody knew before.
func (s *socket) note(why *ending) { s.end.CompareAndSwap(nil, why) }

// closing is the news that one side has sent its close frame: the other one has a
// while to answer it.
func (s *socket) closing(why *ending) {
	s.note(why)
	by := time.Now().Add(replyFor)
	s.reply.CompareAndSwap(0, int64(by.Sub(s.began)))
	s.wakeBy(by)
	if s.ending.Load() { // and must not sleep through that
		s.wakeBy(longAgo)
	}
}

// wakeBy bounds the readings that are under way.
func (s *socket) wakeBy(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, raw := range s.raw {
		if raw != nil {
			_ = raw.SetReadDeadline(t)
		}
	}
}

// stop ends s: both flows are woken to tell their side, and have a while for the
// answer. Safe to be called again, from any goroutine.
func (s *socket) stop(why *ending) {
	s.note(why)
	if s.ending.Swap(true) {
		return
	}
	s.cutAfter(partingFor)
	s.wakeBy(longAgo)
}

// leave is the news that the client hung up. What it sent before is passed on.
func (s *socket) leave() { s.cutAfter(leavingFor) }

// cutAfter closes both connections after this time at the latest.
func (s *socket) cutAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now().Add(d)
	switch {
	case s.over:
	case s.cutter == nil:
		s.cutter, s.cutting = time.AfterFunc(d, s.cut), at
	case at.Before(s.cutting):
		s.cutting = at
		s.cutter.Reset(d)
	}
}

// cut closes both connections. That of the backend is its lease's to be closed in
// order, and is never used again.
func (s *socket) cut() {
	s.note(endLeft)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending.Store(true)
	for _, raw := range s.raw {
		if raw != nil {
			_ = raw.Close()
		}
	}
}

// due is when s has been silent, or open, for too long.
func (s *socket) due() time.Time {
	due := earliest(s.began.Add(time.Duration(s.last.Load())+s.idle), s.until)
	if reply := s.reply.Load(); reply != 0 {
		due = earliest(due, s.began.Add(time.Duration(reply)))
	}
	return due
}

// overdue is the ending of a socket that is due, unless it has one.
func (s *socket) overdue(now time.Time) *ending {
	if now.Before(s.until) {
		return endIdle
	}
	return endTotal
}

// longAgo is a deadline that has passed: it wakes whoever waits.
var longAgo = time.Unix(1, 0)
