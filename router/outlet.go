package router

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file writes to one side of a websocket: the frames that pass, and between
// two of them those of our own.

const (
	maxWaiting = 64 << 10 // of our own frames, to a side that does not read
	maskPiece  = 16 << 10
)

var errWaiting = errors.New("it does not read what it is told")

// outlet is where bytes go out to one side. Frames pass from one goroutine, the
// outlet's owner; say and part may be called from any.
type outlet struct {
	conn   net.Conn
	tcp    *net.TCPConn // conn, where nothing lies over it; else nil
	masked bool         // frames of our own are masked: this side is a backend
	until  time.Time    // the write deadline now armed; of whoever writes
	sent   int64        // bytes; of whoever writes

	mu      sync.Mutex  // guards the fields below
	midway  bool        // a frame has begun: only the owner may write, and does so without mu
	open    bool        // a message has begun: only control frames may stand here
	waiting *buf.Buffer // whole messages of our own, for a place where they may stand
	bye     []byte      // our close frame, likewise
	closed  bool        // a close frame was written: nothing follows it
	dead    bool        // a write failed
}

func (o *outlet) to(conn net.Conn, masked bool) {
	o.conn, o.masked = conn, masked
	o.tcp, _ = conn.(*net.TCPConn)
}

// pass writes bytes of frames. Behind the first end of them lies the end of the
// last frame that ends here; open says whether its message goes on, last that it
// is a close frame. What comes behind a close frame is dropped, and so is what
// comes behind a failure, which is told once.
func (o *outlet) pass(p []byte, end int, open, last bool) error {
	if end > 0 && end < len(p) && o.waits() {
		if err := o.pass(p[:end], end, open, false); err != nil {
			return err
		}
		p, end = p[end:], 0
	}
	if len(p) == 0 || !o.begin() {
		return nil
	}
	return o.end(o.write(p), end == len(p), open, last)
}

// send writes a text message of our own making, in these pieces, masked. Only the
// owner may call it, between two frames.
func (o *outlet) send(pieces [][]byte, size int) error {
	if !o.begin() {
		return nil
	}
	h := websocket.Header{Final: true, Opcode: websocket.Text, Masked: true, Key: websocket.NewKey(), Length: int64(size)}
	b := buf.Get(min(size+maxKept, maskPiece))
	defer b.Free()
	b.B = h.AppendTo(b.B)
	offset := int64(0)
	for _, p := range pieces {
		for len(p) > 0 {
			begin := len(b.B)
			n := min(len(p), cap(b.B)-begin)
			b.B = append(b.B, p[:n]...)
			websocket.Mask(b.B[begin:], h.Key, offset)
			offset += int64(n)
			if p = p[n:]; len(b.B) < cap(b.B) {
				continue
			}
			if err := o.write(b.B); err != nil {
				return o.end(err, false, false, false)
			}
			b.B = b.B[:0]
		}
	}
	return o.end(o.write(b.B), true, false, false)
}

// begin makes the outlet the owner's own until end; false if nothing more may be
// written.
func (o *outlet) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.dead {
		return false
	}
	o.midway = true
	return true
}

func (o *outlet) end(err error, between, open, last bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.fail()
		return err
	}
	if !between {
		return nil
	}
	o.midway, o.open, o.closed = false, open, last
	return o.flush()
}

// streams reports whether a frame is on its way, so that its bytes may be written
// past pass.
func (o *outlet) streams() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.midway && !o.dead
}

func (o *outlet) waits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waiting != nil || o.bye != nil
}

// say sends a message of our own, a whole frame, as soon as one may stand here.
func (o *outlet) say(frame []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.dead || o.bye != nil {
		return nil
	}
	if o.waiting == nil {
		o.waiting = buf.Get(len(frame))
	}
	if len(o.waiting.B)+len(frame) > maxWaiting {
		return errWaiting
	}
	o.waiting.B = append(o.waiting.B, frame...)
	return o.flush()
}

// part sends a close frame as soon as one may stand here. Only the first one
// counts.
func (o *outlet) part(status int, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn == nil || o.bye != nil {
		return
	}
	o.bye = websocket.AppendClose(nil, status, reason, o.masked)
	_ = o.flush()
}

// flush writes what waits, with mu held.
func (o *outlet) flush() (err error) {
	if o.midway || o.closed || o.dead {
		return nil
	}
	if o.waiting != nil && !o.open {
		err = o.write(o.waiting.B)
		o.waiting.Free()
		o.waiting = nil
	}
	if o.bye != nil && err == nil {
		err = o.write(o.bye)
		o.closed = true
	}
	if err != nil {
		o.fail()
	}
	return err
}

// fail ends all writing, with mu held.
func (o *outlet) fail() {
	o.dead = true
	o.waiting.Free()
	o.waiting = nil
}

// release frees what nobody will be told any more.
func (o *outlet) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail()
}

func (o *outlet) write(p []byte) error {
	o.arm(time.Now(), clientStall)
	n, err := o.conn.Write(p)
	o.sent += int64(n)
	return err
}

// arm bounds how long this side may take nothing of what is written: the deadline
// lies between one and two stalls ahead.
func (o *outlet) arm(now time.Time, stall time.Duration) {
	if o.until.Sub(now) < stall {
		o.until = now.Add(2 * stall)
		_ = o.conn.SetWriteDeadline(o.until)
	}
}
