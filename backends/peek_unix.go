//go:build unix

package backends

import (
	"net"
	"syscall"
	"time"

	"github.com/helixflow/helixflow/internal/buf"
)

// peeker looks at a socket's unread bytes without waiting. One per connection,
// made once, so that a look allocates nothing.
type peeker struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	turn func(fd uintptr) bool
	//lint:ignore U1000 only the portable look needs the room
	byte [1]byte
	err  syscall.Errno
	ask  asking
}

// asking is one call of write.
type asking struct {
	request *buf.Buffer
	written int
	at      time.Time
	looked  bool
}

func newPeeker(nc net.Conn) *peeker {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	p := &peeker{raw: raw}
	p.look = p.peek
	p.turn = p.writeInTurn
	return p
}

// silent reports whether the peer has neither sent anything nor closed. A nil
// peeker believes so.
func (p *peeker) silent() bool {
	if p == nil {
		return true
	}
	if p.raw.Control(p.look) != nil {
		return false
	}
	return p.nothing()
}

// nothing reports whether the look found neither bytes nor the end.
func (p *peeker) nothing() bool { return p.err == syscall.EAGAIN || p.err == syscall.EWOULDBLOCK }

// write looks, writes b if there was silence, and waits for what is said to it,
// as long as the read deadline allows. It returns how much was written, and when;
// looked says whether it came to the look at all. What was written whole is freed.
//
// The look takes the place of a read that comes too early: a Read behind a Write
// finds nothing, and only then waits. Here nothing is asked of the socket between
// the look and the wait, which begins with what has come since the look.
func (p *peeker) write(b *buf.Buffer) (n int, at time.Time, looked, silent bool) {
	p.ask = asking{request: b}
	_ = p.raw.Read(p.turn) // the read that follows meets the same error
	a := p.ask
	p.ask = asking{}
	return a.written, a.at, a.looked, a.looked && p.nothing()
}

// writeInTurn is called by Read, which has just taken note of all that came so
// far: once at the beginning, and again when there is more. False: wait for it.
func (p *peeker) writeInTurn(fd uintptr) (done bool) {
	a := &p.ask
	if a.looked {
		return true
	}
	a.looked = true
	if p.peek(fd); !p.nothing() {
		return true
	}
	n, err := syscall.Write(int(fd), a.request.B)
	a.written, a.at = max(n, 0), time.Now()
	if err != nil || n < len(a.request.B) {
		return true
	}
	a.request.Free() // the wait may be long
	return false
}
