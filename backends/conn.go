package backends

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"time"

	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/netloop"
)

// A connection's read buffer, in which a stream's chunks are decoded in place.
// A head that does not fit gets a larger one, up to maxHead.
const (
	readBufferSize = 4 << 10
	maxHead        = 64 << 10
)

// Conn is one connection to an endpoint. It belongs to a Lease or to the
// endpoint's idle stack, and once broken it never serves again.
type Conn struct {
	raw       net.Conn      // the TCP socket; set before the TLS handshake starts
	peek      *peeker       // nil over TLS, where bytes may come unasked
	nc        net.Conn      // what is read and written: raw, or TLS over it
	loop      *netloop.Conn // raw, where a loop can read it; else nil
	br        *bufio.Reader
	idleSince time.Time
	readUntil time.Time // the read deadline now armed
	answers   int       // whole answers it has carried: above zero means reused

	owner      *Endpoint // nil until it is linked
	prev, next *Conn     // in owner's list, guarded by owner.mu
}

// Break closes the socket from any goroutine, so that whoever reads, writes or
// shakes hands on the connection fails at once.
func (c *Conn) Break() { _ = c.raw.Close() }

func (c *Conn) close() {
	if c.owner != nil {
		c.owner.unlink(c)
	}
	if c.nc != nil {
		_ = c.nc.Close()
		return
	}
	if c.raw != nil {
		_ = c.raw.Close()
	}
}

// readBy arms the read deadline. Moving a runtime timer for every chunk would
// cost more than the chunk, so a deadline that is at most a sixteenth of the
// wait too early is left as it is.
func (c *Conn) readBy(now time.Time, wait time.Duration) error {
	late := now.Add(wait)
	if c.readUntil.After(late) || c.readUntil.Before(late.Add(-wait/16)) {
		c.readUntil = late
		return c.nc.SetReadDeadline(late)
	}
	return nil
}

// peekBy waits for a byte to read. It may be called again after a timeout.
func (c *Conn) peekBy(now time.Time, wait time.Duration) error {
	if err := c.readBy(now, wait); err != nil {
		return err
	}
	_, err := c.br.Peek(1)
	return err
}

// write writes b at once, frees it, and returns when that was done. A connection
// that has served before is looked at first: see errUnasked. It may wait for the
// answer too, up to the read deadline; whether one has come is for the next read
// to say.
func (c *Conn) write(b *buf.Buffer) (at time.Time, err error) {
	size, n := len(b.B), 0
	if c.answers > 0 && c.peek != nil {
		var looked, silent bool
		n, at, looked, silent = c.peek.write(b)
		switch {
		case n == size:
			return at, nil
		case looked && !silent, !looked && !c.peek.silent():
			b.Free()
			return at, errUnasked
		}
	}
	_, err = c.nc.Write(b.B[n:]) // whatever kept the look from writing more, this waits for it or says it
	b.Free()
	return time.Now(), err
}

// grow gives c a read buffer for a large head; it reports false if it has one.
func (c *Conn) grow() bool {
	if c.br.Size() >= maxHead {
		return false
	}
	here, _ := c.br.Peek(c.br.Buffered())
	c.br = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(here)), c.nc), maxHead)
	return true
}

// Hangup is the asker's side of a cancel. Both methods must be safe against a
// concurrent Break.
type Hangup interface {
	// Arm makes c the connection to break when the asker leaves, and reports
	// false, arming nothing, if it has left already.
	Arm(c *Conn) bool
	// Disarm takes c back. False means that Break was or is being called on
	// it: c must be closed, never pooled.
	Disarm(c *Conn) bool
}
