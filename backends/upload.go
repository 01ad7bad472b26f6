package backends

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/helixflow/helixflow/internal/buf"
)

// This file sends a body that is not in memory, piece by piece as it comes.

// Stream is a body that is sent as it comes. It belongs to one round trip at a
// time and need not be safe for concurrent use.
type Stream interface {
	// Size is the body's length in bytes, or -1 when it is not known yet.
	Size() int64
	// Next lends the following piece until the next call; io.EOF is the proper
	// end, any other error the asker's own.
	Next() ([]byte, error)
}

// A backend that takes nothing for a slice, while bytes of an answer lie ready,
// has answered before it read the body and will not read on.
const writeSlice = time.Second

var errAnswered = errors.New("it answered before it had read the request")

// askerError is what a Stream failed with.
type askerError struct{ error }

// pieces is the scratch of one upload: what stands before a piece, the piece, and
// what follows.
type pieces struct {
	store [3][]byte
	size  [24]byte
	bufs  net.Buffers
}

var piecesPool = sync.Pool{New: func() any { return new(pieces) }}

// sendStream writes head and then the stream.
func sendStream(c *Conn, head *buf.Buffer, o *Outgoing) error {
	v := piecesPool.Get().(*pieces)
	defer func() {
		v.store, v.bufs = [3][]byte{}, nil
		piecesPool.Put(v)
	}()
	chunked := o.Stream.Size() < 0
	before := head.B
	for {
		p, err := o.Stream.Next()
		ended := err == io.EOF
		if err != nil && !ended {
			return askerError{err}
		}
		var behind []byte
		switch {
		case chunked && ended:
			behind = endOfChunks
		case chunked:
			before, behind = appendSize(before, len(p)), endOfLine
		}
		v.store = [3][]byte{before, p, behind}
		v.bufs = v.store[:]
		if err := c.writePatiently(&v.bufs, o.Deadline); err != nil {
			return err
		}
		if ended {
			return c.nc.SetWriteDeadline(time.Time{})
		}
		before = v.size[:0]
	}
}

var (
	endOfLine   = []byte("\r\n")
	endOfChunks = []byte("0\r\n\r\n")
)

func appendSize(dst []byte, n int) []byte {
	return append(strconv.AppendInt(dst, int64(n), 16), "\r\n"...)
}

// writePatiently writes bufs to a peer that may take its time, up to writeStall
// for each piece, but not to one that has answered and stopped reading.
func (c *Conn) writePatiently(bufs *net.Buffers, deadline time.Time) error {
	slice := writeSlice
	if c.peek == nil { // TLS does not survive a deadline
		slice = writeStall
	}
	for waited := slice; ; waited += slice {
		if err := c.nc.SetWriteDeadline(earlier(time.Now().Add(slice), deadline)); err != nil {
			return err
		}
		_, err := bufs.WriteTo(c.nc)
		if err == nil || !isTimeout(err) || waited >= writeStall {
			return err
		}
		if !c.peek.silent() {
			return errAnswered
		}
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			return err
		}
	}
}
