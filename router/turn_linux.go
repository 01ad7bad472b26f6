package router

import (
	"io"
	"net"
	"os"
	"syscall"

	"github.com/helixflow/helixflow/internal/framing"
)

// turn serves requests where they are read: inside the runtime's wait for the
// socket. A Read asks the kernel first, in vain between two requests, and only then
// waits. Here the wait goes on from the reading before: what has come since ends it,
// so after a reading that took all there was, nothing need be asked.
//
// The runtime holds the socket's read lock meanwhile. What has to wait for more of
// the client is therefore left to the connection's loop: a request that did not come
// in one piece, a websocket, a connection's end. It belongs to the connection's
// goroutine.
type turn struct {
	conn *clientConn
	raw  syscall.RawConn
	try  func(fd uintptr) bool // made once, so that a wait allocates nothing
	put  func(fd uintptr)      // likewise for a writing

	inside bool
	fd     int
	more   bool // the last reading may have left something
	at     readiness
	err    error

	out     []byte // what write writes
	written int
	failed  error
}

// newTurn is nil where requests cannot be served so.
func newTurn(c *clientConn) *turn {
	tcp, ok := c.nc.(*net.TCPConn)
	if !ok || c.fd < 0 { // over TLS, or nobody would tell of the client's end
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	t := &turn{conn: c, raw: raw}
	t.try, t.put = t.step, t.writeNow
	return t
}

// wait serves what comes whole, until something comes that does not.
func (t *turn) wait() (readiness, error) {
	t.at, t.err = over, nil
	if t.raw.Read(t.try) != nil {
		return over, nil // a deadline, or the connection was closed
	}
	return t.at, t.err
}

// step is called by the runtime at once, and again whenever something has come. It
// serves what is here and reports false to wait for more.
func (t *turn) step(fd uintptr) (done bool) {
	t.inside, t.fd = true, int(fd)
	defer t.leave()
	c := t.conn
	for {
		c.takeReader()
		if _, err := c.br.Peek(1); err != nil {
			t.at = over
			return err != errNotYet
		}
		if t.at, t.err = c.take(); t.at != begun || !t.whole() {
			return true
		}
		c.exchange()
		if t.at = answered; c.closing || !c.body.Finish() {
			return true
		}
		if c.br != nil && c.br.Buffered() > 0 {
			continue
		}
		if t.at = over; !c.idle() {
			return true
		}
		if !t.more && !c.ended.Load() {
			return false
		}
	}
}

func (t *turn) leave() { t.inside = false }

// whole reports whether nothing of the request whose head was read is still to come.
// A websocket begins with a GET.
func (t *turn) whole() bool {
	c := t.conn
	return !c.head.IsGet() && c.body.Kind() == framing.ByLength && c.body.Length() <= int64(c.br.Buffered())
}

// Read reads what the client sends. Inside it does not wait.
func (t *turn) Read(p []byte) (int, error) {
	if !t.inside {
		return t.conn.nc.Read(p)
	}
	for {
		n, err := syscall.Read(t.fd, p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			t.more = false
			return 0, errNotYet
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		}
		t.more = n == len(p)
		return n, nil
	}
}

// write writes what the client takes at once.
func (t *turn) write(p []byte) (int, error) {
	t.out, t.written, t.failed = p, 0, nil
	err := t.raw.Control(t.put)
	t.out = nil
	if err != nil {
		return 0, err
	}
	return t.written, t.failed
}

func (t *turn) writeNow(fd uintptr) {
	for {
		n, err := syscall.Write(int(fd), t.out)
		switch {
		case err == syscall.EINTR:
			continue
		case err == nil:
			t.written = n
		case err != syscall.EAGAIN:
			t.failed = os.NewSyscallError("write", err)
		}
		return
	}
}
