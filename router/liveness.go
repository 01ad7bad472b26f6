package router

import (
	"net"
	"sync/atomic"

	"github.com/helixflow/helixflow/backends"
)

// This file tells when a client has left. fasthttp does not: its handler
// learns of a hang-up only from a failing write, long after the GPU could have
// stopped. Each accepted connection is registered once; what a request adds is
// one atomic store and one compare-and-swap (ADR 1).

// cell is the part of a client connection that the watcher sees: its goroutine
// latches gone and takes what is armed.
type cell struct {
	fd    int
	gen   int32        // tells this connection from the fd's next one
	tcp   *net.TCPConn // set with fd
	gone  atomic.Bool
	ended atomic.Bool                   // the client has closed its sending side
	armed atomic.Pointer[backends.Conn] // what to break when the client leaves
	// Whom to wake then, if it waits for room on a backend.
	waiting atomic.Pointer[parked]
	flies   atomic.Pointer[seat] // of a flight that its goroutine flies: others may go on with it
	held    atomic.Int64         // bytes of memory that its request holds, when they are many
	given   atomic.Bool          // its request is given up for them

	// Who asks a second backend for the same, and is to be told, too.
	second atomic.Pointer[hedge]

	socket atomic.Pointer[socket] // who to tell besides, once the connection is a websocket
}

// Arm implements backends.Hangup. It stores before it looks, and the watcher
// latches before it swaps: one of the two always sees the other.
func (c *cell) Arm(conn *backends.Conn) bool {
	c.armed.Store(conn)
	if c.gone.Load() || c.second.Load().won() {
		c.armed.Store(nil)
		return false
	}
	return true
}

// Disarm implements backends.Hangup: whoever takes conn out of the cell
// decides its fate, so a late hang-up can never break its next request.
func (c *cell) Disarm(conn *backends.Conn) bool { return c.armed.CompareAndSwap(conn, nil) }

// Gone reports whether the client has left.
func (c *cell) Gone() bool { return c.gone.Load() }

// hangUp is the watcher's news that the client left.
func (c *cell) hangUp() {
	c.gone.Store(true)
	c.breakArmed()
	if s := c.socket.Load(); s != nil {
		s.leave()
	}
}

// hearEnd is the watcher's news that the client will send no more. Who waits for more
// in a turn took note of it before or is told now: saying that nobody will read
// beyond it, which changes nothing, is an event again.
func (c *cell) hearEnd() {
	if !c.ended.Swap(true) {
		_ = c.tcp.CloseRead()
	}
}

// endNow is the end of a drain.
func (c *cell) endNow() {
	c.breakArmed()
	if s := c.socket.Load(); s != nil {
		s.stop(endDrain)
	}
}

// breakOff breaks what is armed, and tells nobody else.
func (c *cell) breakOff() {
	if conn := c.armed.Swap(nil); conn != nil {
		conn.Break()
	}
}

func (c *cell) breakArmed() {
	c.breakOff()
	if h := c.second.Load(); h != nil {
		h.breakOff()
	}
	if w := c.waiting.Load(); w != nil {
		w.ring()
	}
	if st := c.flies.Load(); st != nil {
		st.flight.leave(st)
	}
}
