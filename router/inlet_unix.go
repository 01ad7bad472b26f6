//go:build unix

package router

import (
	"io"
	"net"
	"os"
	"syscall"
)

// poller reads from a connection into a buffer that is taken when there is
// something to read, and not before.
type poller struct {
	raw syscall.RawConn
	try func(fd uintptr) bool // made once, so that a reading allocates nothing
	in  *inlet
	n   int
	err error
}

func newPoller(c *net.TCPConn) *poller {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	p := &poller{raw: raw}
	p.try = p.attempt
	return p
}

// read is read(2) into in, which has no buffer.
func (p *poller) read(in *inlet) error {
	p.in = in
	if err := p.raw.Read(p.try); err != nil {
		return err // a deadline, or the connection was closed
	}
	return p.err
}

// attempt reports false when there is nothing to read yet.
func (p *poller) attempt(fd uintptr) bool {
	p.in.room()
	b := p.in.b.B
	for {
		p.n, p.err = syscall.Read(int(fd), b[len(b):cap(b)])
		if p.err != syscall.EINTR {
			break
		}
	}
	switch {
	case p.err == syscall.EAGAIN:
		p.in.rest()
		return false
	case p.err != nil:
		p.err = os.NewSyscallError("read", p.err)
	case p.n == 0:
		p.err = io.EOF
	}
	p.err = p.in.got(p.n, p.err)
	return true
}
