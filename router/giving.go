package router

import (
	"cmp"
	"slices"
	"time"

	"github.com/helixflow/helixflow"
)

// This file gives up those requests that hold most memory, when the process has
// refused all others and runs out of it nevertheless. What a request holds is the
// body that waits for a backend's answer, or of an answer what the client has not
// taken.

const (
	heldFrom  = 64 << 10    // less is not worth a request
	giveMost  = 64          // requests at once
	giveWrite = time.Second // for what is written to the client to go out
)

// holds notes that e holds so many bytes. Of few it costs a look at a number.
func (e *Exchange) holds(n int) {
	c := e.conn
	switch {
	case c == nil: // who merely asks how it would go
	case n > heldFrom:
		c.held.Store(int64(n))
	case c.held.Load() != 0:
		c.held.Store(0)
	}
}

// GiveUp ends requests that hold much memory, those that hold most first, until
// they held excess bytes together, and returns how many it ended and what they
// held. Each is answered, or its stream told, as far as its client reads.
func (s *Server) GiveUp(excess int64) (n int, freed int64) {
	type holder struct {
		c    *clientConn
		held int64
	}
	var list []holder
	s.each(func(c *clientConn) {
		if held := c.held.Load(); held > 0 && c.state.Load() == connBusy && !c.given.Load() {
			list = append(list, holder{c, held})
		}
	})
	slices.SortFunc(list, func(a, b holder) int { return cmp.Compare(b.held, a.held) })
	for _, h := range list[:min(len(list), giveMost)] {
		if freed >= excess {
			break
		}
		h.c.giveUp()
		n, freed = n+1, freed+h.held
	}
	if n > 0 {
		s.metrics.GivenUp(n)
	}
	return n, freed
}

// giveUp ends the connection's request. A client that does not read must not keep
// what it holds.
func (c *clientConn) giveUp() {
	c.given.Store(true)
	c.breakArmed()
	_ = c.raw.SetWriteDeadline(time.Now().Add(giveWrite))
}

// forgetGiven has nothing of a request that ended before it could be given up
// strike the next one, which is the connection's last.
func (c *clientConn) forgetGiven() {
	if c.given.Load() {
		c.given.Store(false)
		c.writeUntil = time.Time{}
		c.closing = true
	}
}

// brokenOff is why what e asked was broken off: nobody but its client, the end of
// a drain and a shortage of memory does that.
func (e *Exchange) brokenOff() error {
	if err := e.ended(); err != nil {
		return err
	}
	return errDraining
}

// farewell is what a stream is told that ends for want of the router.
func farewell(ended error) (message, code string) {
	if ended == errGivenUp {
		return errGivenUp.Public, codeExhausted
	}
	return "The router is shutting down.", codeDraining
}

var errGivenUp = &helixflow.Error{Kind: helixflow.KindExhausted, Reason: reasonPressureGiven, RetryAfter: pressedWait, Public: "The router is short of memory, and gave up the request for the memory that it held."}
