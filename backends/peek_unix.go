//go:build unix

package backends

import (
	"net"
	"syscall"
)

// peeker looks at a socket's unread bytes without waiting. One per connection,
// made once, so that a look allocates nothing.
type peeker struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	//lint:ignore U1000 only the portable look needs the room
	byte [1]byte
	err  syscall.Errno
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
	return p.err == syscall.EAGAIN || p.err == syscall.EWOULDBLOCK
}
