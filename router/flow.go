package router

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/helixflow/helixflow/internal/websocket"
)

// This file passes on the frames of one direction of a websocket: small ones out
// of a buffer that is taken when they come, large ones from socket to socket
// inside the kernel (ADR 16).

// flow is one direction of a socket. It belongs to one goroutine.
type flow struct {
	s      *socket
	in     inlet
	out    *outlet
	talk   *dialogue // reads messages instead of passing frames on; nil for that
	ears   *ears     // hears what is passed on; nil: nobody
	follow websocket.Follower
	deaf   bool  // what comes makes no sense any more
	closed bool  // a close frame came: nothing follows it
	copies bool  // nothing is spliced any more
	bytes  int64 // that came
	over   bool  // run has returned

	// What it means that this side left, broke the protocol, or that the other one
	// takes nothing.
	lost, broken, stalled *ending
}

var (
	errWoken = errors.New("somebody has news")
	errDue   = errors.New("for too long")
)

// writeError is a failure to write to the other side.
type writeError struct{ error }

// run passes on what comes until this side has closed or left. When the socket is
// ending it tells the other side, and waits for this one to close.
func (f *flow) run() {
	s := f.s
	for early := len(f.in.unread()) > 0; !f.closed; early = false {
		ending := s.ending.Load()
		if ending {
			f.part()
		}
		var err error
		if !early {
			err = f.wait(ending)
		}
		if !ending && s.ending.Load() { // what came may answer our close frame: the other side hears ours first
			f.part()
		}
		if err == nil {
			err = f.take()
		}
		if f.closed {
			s.closing(f.goodbye())
		}
		if err != nil && !f.book(err) {
			break
		}
	}
	f.in.rest()
	f.over = true
}

// wait reads more, unless the socket has been silent or open for too long. It
// returns errWoken when the socket began to end meanwhile.
func (f *flow) wait(ending bool) error {
	for s := f.s; ; {
		if ending {
			f.in.readOn()
		} else {
			f.in.readBy(time.Now(), s.due())
		}
		if s.ending.Load() != ending { // it may have been woken before it was armed
			return errWoken
		}
		err := f.in.read()
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case s.ending.Load() != ending:
			return errWoken
		case !ending && !time.Now().Before(s.due()):
			return errDue
		}
	}
}

// take does with the bytes that are here what is to be done with them.
func (f *flow) take() error {
	switch {
	case f.deaf:
		f.in.take(len(f.in.unread()))
		return nil
	case f.talk != nil:
		return f.talk.take()
	default:
		return f.pass()
	}
}

// pass passes on what is here.
func (f *flow) pass() error {
	p := f.in.unread()
	n, end, bad := f.follow.Follow(p)
	if f.closed = f.follow.Closed(); f.closed {
		f.s.note(f.goodbye()) // before the other side can answer it
	}
	f.count(int64(n))
	if f.ears != nil {
		f.ears.hear(p[:n])
	}
	err := f.out.pass(p[:n], end, f.follow.Open(), f.closed)
	f.in.take(n)
	switch {
	case bad != nil:
		return bad
	case err != nil:
		return writeError{err}
	case f.follow.Left() >= spliceAbove && f.in.full && (f.ears == nil || !f.ears.listens()):
		return f.splice()
	}
	return nil
}

// splice passes on the payload of a large frame without looking at it, but for its
// end. On Linux the bytes stay in the kernel.
func (f *flow) splice() error {
	if f.in.tcp == nil || f.out.tcp == nil || f.copies {
		return nil
	}
	for f.follow.Left() >= spliceAbove && !f.s.ending.Load() && f.out.streams() {
		now := time.Now()
		f.in.readBy(now, f.s.due())
		f.out.arm(now, 2*clientStall)
		n, err := io.CopyN(f.out.tcp, f.in.tcp, min(f.follow.Left()-1, splicePiece))
		if n > 0 {
			f.follow.Skip(n)
			if f.ears != nil {
				f.ears.miss(n)
			}
			f.count(n)
			f.out.sent += n
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(f.out.until):
			return nil // nothing came: wait looks what that means
		case errors.Is(err, os.ErrDeadlineExceeded):
			return writeError{f.out.end(err, false, false, false)}
		case err == io.EOF:
			return err
		default:
			f.copies = true // the kernel does not say which side failed; reading and writing will
			return nil
		}
	}
	return nil
}

// count books bytes that came.
func (f *flow) count(n int64) {
	s := f.s
	f.bytes += n
	s.last.Store(int64(time.Since(s.began)))
	if f == &s.up {
		s.series.In(n)
	} else {
		s.series.Out(n)
	}
}

// book draws the conclusion from what went wrong, and reports whether this side may
// have more to say.
func (f *flow) book(err error) bool {
	s := f.s
	switch failure := err.(type) {
	case writeError:
		if errors.Is(failure.error, os.ErrDeadlineExceeded) {
			s.stop(f.stalled)
		}
		return true // else the other side left, and its own flow will know how
	case *protocolError:
		f.deaf = true
		s.stop(failure.end)
		return true
	}
	switch err {
	case errWoken:
		return true
	case errDue:
		s.stop(s.overdue(time.Now()))
		return true
	case websocket.ErrControl, websocket.ErrLength, websocket.ErrMask:
		f.deaf = true
		s.stop(f.broken)
		return true
	case errWaiting:
		s.stop(endStall)
		return true
	}
	f.leftBehind(err)
	return false
}

// leftBehind ends the socket whose one side is not there any more.
func (f *flow) leftBehind(err error) {
	s := f.s
	if f == &s.down && errors.Is(err, net.ErrClosed) {
		why := endDrain // an operator wants to be done with the backend
		if s.cell.Gone() {
			why = endLeft
		}
		s.note(why)
	}
	s.stop(f.lost)
	f.part()
	if f == &s.up {
		s.cut() // nobody reads what the backend may still say
	}
}

// part tells the other side that the socket ends.
func (f *flow) part() {
	why := f.s.end.Load()
	out, status := f.out, why.toBackend
	if f == &f.s.down || out.conn == nil { // nil: there is no backend yet, and so no other flow
		out, status = &f.s.client, why.toClient
	}
	if out == &f.s.client && why == endTotal && f.s.up.talk != nil {
		_ = out.say(websocket.AppendFrame(nil, websocket.Text, problemEvent(nil, errSocketTotal), false))
	}
	if status != 0 {
		out.part(status, why.reason)
	}
}

// goodbye is the ending that a close frame of this side is.
func (f *flow) goodbye() *ending {
	if f == &f.s.up {
		return endClient
	}
	return endBackend
}
