package router

import (
	"net"
	"time"

	"github.com/helixflow/helixflow/internal/buf"
)

// This file reads what one side of a websocket sends. Between two frames, where
// such a connection stands nearly all its life, it holds no buffer.

const (
	inletSmall = 4 << 10  // what a reading takes
	inletLarge = 32 << 10 // what it takes when the one before took all of that
	maxKept    = 14       // a frame's header: as much may lie unread without a buffer
)

// inlet is where the bytes of one side come in. It belongs to one goroutine.
type inlet struct {
	conn net.Conn
	tcp  *net.TCPConn // conn, where nothing lies over it; else nil
	poll *poller      // waits without a buffer; nil where that cannot be done

	b     *buf.Buffer
	at    int  // where in b the unread bytes begin
	full  bool // the last reading filled its buffer, so more is here
	until time.Time

	kept [maxKept]byte // what is unread while there is no buffer
	n    int
}

// open makes conn the inlet's; early is what was read of it before.
func (in *inlet) open(conn net.Conn, early []byte) {
	in.conn = conn
	if in.tcp, _ = conn.(*net.TCPConn); in.tcp != nil {
		in.poll = newPoller(in.tcp)
	}
	if len(early) > 0 {
		in.b = buf.Get(len(early))
		in.b.B = append(in.b.B, early...)
	}
}

// unread is what was read and not taken, lent until the next call.
func (in *inlet) unread() []byte {
	if in.b == nil {
		return in.kept[:in.n]
	}
	return in.b.B[in.at:]
}

// take says that the first n of the unread bytes are done with.
func (in *inlet) take(n int) {
	if in.b != nil {
		in.at += n
		return
	}
	in.n = copy(in.kept[:], in.kept[n:in.n])
}

// read waits for at least one more byte.
func (in *inlet) read() error {
	if in.poll != nil && len(in.unread()) <= maxKept {
		in.rest()
		return in.poll.read(in)
	}
	in.room()
	n, err := in.conn.Read(in.b.B[len(in.b.B):cap(in.b.B)])
	return in.got(n, err)
}

// rest gives the buffer back.
func (in *inlet) rest() {
	if in.b != nil {
		in.n = copy(in.kept[:], in.b.B[in.at:])
		in.b.Free()
		in.b, in.at = nil, 0
	}
}

// room makes room for a reading behind what is unread.
func (in *inlet) room() {
	size := inletSmall
	if in.full {
		size = inletLarge
	}
	left := in.unread()
	if in.b != nil && cap(in.b.B)-len(left) >= size/2 {
		in.b.B, in.at = in.b.B[:copy(in.b.B[:cap(in.b.B)], left)], 0
		return
	}
	b := buf.Get(max(size, 2*len(left)))
	b.B = append(b.B, left...)
	in.b.Free()
	in.b, in.at, in.n = b, 0, 0
}

// got books a reading.
func (in *inlet) got(n int, err error) error {
	n = max(n, 0)
	in.b.B = in.b.B[:len(in.b.B)+n]
	in.full = len(in.b.B) == cap(in.b.B)
	if n > 0 {
		return nil // an error comes again with the next reading
	}
	return err
}

// readBy bounds the wait of the following readings. A deadline that is armed, and
// earlier, stays: whoever meets it looks again, and no timer moves for each frame.
func (in *inlet) readBy(now, until time.Time) {
	if in.until.After(until) || !in.until.After(now) {
		in.until = until
		_ = in.conn.SetReadDeadline(until)
	}
}

// readOn lets the following readings wait for ever.
func (in *inlet) readOn() {
	in.until = time.Time{}
	_ = in.conn.SetReadDeadline(in.until)
}
