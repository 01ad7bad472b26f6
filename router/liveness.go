package router

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/backends"
)

// This file tells when a client has left. fasthttp does not: its handler
// learns of a hang-up only from a failing write, long after the GPU could have
// stopped. Each accepted connection is registered once; what a request adds is
// one atomic store and one compare-and-swap (ADR 1).

// cell is what the router knows of one client connection. The watcher's
// goroutine latches gone; all else belongs to the goroutine that serves it.
type cell struct {
	fd    int
	gen   int32 // tells this connection from the fd's next one
	gone  atomic.Bool
	armed atomic.Pointer[backends.Conn] // what to break when the client leaves

	writeUntil time.Time // the write deadline now armed
}

// Arm implements backends.Hangup. It stores before it looks, and the watcher
// latches before it swaps: one of the two always sees the other.
func (c *cell) Arm(conn *backends.Conn) bool {
	c.armed.Store(conn)
	if c.gone.Load() {
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

// clientStall is how long a client may take nothing of what is written.
const clientStall = 20 * time.Second

// armWrite bounds how long a write to conn, the cell's own, may wait. Moving a
// timer for every write would cost more than the write: the deadline lies
// between one and two stalls ahead.
func (c *cell) armWrite(conn net.Conn, now time.Time) {
	if c.writeUntil.Sub(now) < clientStall {
		c.writeUntil = now.Add(2 * clientStall)
		_ = conn.SetWriteDeadline(c.writeUntil)
	}
}

// hangUp is the watcher's news that the client left.
func (c *cell) hangUp() {
	c.gone.Store(true)
	c.breakArmed()
}

func (c *cell) breakArmed() {
	if conn := c.armed.Swap(nil); conn != nil {
		conn.Break()
	}
}

// liveness knows every client connection by the value fasthttp serves.
type liveness struct {
	cells   sync.Map // net.Conn → *cell
	watcher *watcher
}

func newLiveness(halfCloseIsLeaving bool) (*liveness, error) {
	w, err := newWatcher(halfCloseIsLeaving)
	if err != nil {
		return nil, err
	}
	return &liveness{watcher: w}, nil
}

// add registers raw, which is served as served: itself, or TLS over it. After
// an error the connection works, but its hang-up shows at a write only.
func (l *liveness) add(raw *net.TCPConn, served net.Conn) error {
	c := &cell{fd: -1}
	l.cells.Store(served, c)
	return l.watcher.add(raw, c)
}

// remove forgets a connection that was closed.
func (l *liveness) remove(served net.Conn) {
	if c, ok := l.cells.LoadAndDelete(served); ok {
		l.watcher.remove(c.(*cell))
	}
}

// find returns the connection's cell; one that nobody registered gets a cell
// that never learns of a hang-up.
func (l *liveness) find(served net.Conn) *cell {
	if c, ok := l.cells.Load(served); ok {
		return c.(*cell)
	}
	return &cell{fd: -1}
}

// breakAll breaks what every connection waits for, at the end of a drain.
func (l *liveness) breakAll() {
	l.cells.Range(func(_, c any) bool {
		c.(*cell).breakArmed()
		return true
	})
}

func (l *liveness) close() { l.watcher.close() }
