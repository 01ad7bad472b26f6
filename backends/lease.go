package backends

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/framing"
	"github.com/helixflow/helixflow/internal/netloop"
)

// A connection that answered well but has bytes of its body left is read on
// for this long before it is given up.
const drainWait = 50 * time.Millisecond

const maxInterim = 8 // 1xx answers before the real one

// Outcome is how a Lease ended, for the endpoint's books.
type Outcome uint8

// The outcomes. Every Lease ends in exactly one of them.
const (
	Served  Outcome = iota // a whole answer, whatever its status
	Ignored                // the asker left
	Dropped                // the backend had no room
	Failed                 // unreachable, cut, stalled or nonsense
)

// Lease is one counted presence on an endpoint, and at most one connection.
// The zero Lease holds nothing; Acquire fills it, Finish empties it.
type Lease struct {
	ep       *Endpoint
	conn     *Conn
	hangup   Hangup
	charge   balancer.Charge
	body     framing.Body
	reusable bool
	armed    bool      // a hang-up may break conn
	switched bool      // the backend has switched protocols
	Sent     time.Time // the request was written
	Answered time.Time // the first byte of the answer came
}

// Acquire counts l in at ep, and reports false if ep is at its limit; a limit
// of 0 is none. The Lease must be empty.
func (ep *Endpoint) Acquire(l *Lease, limit int32) bool {
	if l.ep != nil {
		panic("BUG: acquired a lease that is held")
	}
	if !ep.Load.Acquire(limit) {
		return false
	}
	*l = Lease{ep: ep}
	return true
}

// Endpoint is where the lease is held; nil when it holds nothing.
func (l *Lease) Endpoint() *Endpoint { return l.ep }

// RoundTrip sends o and reads the answer's head into head; the body follows by
// Next. A pooled connection that turns out to be dead, before any byte of an
// answer, is replaced by a fresh one once. Errors are *Failure.
func (l *Lease) RoundTrip(o *Outgoing, head *fasthttp.ResponseHeader) error {
	now := o.Now
	l.hangup = o.Hangup
	var c *Conn
	if o.Stream == nil && !o.Once { // what can be sent once goes never on a connection that may be dead
		c = l.ep.take(now, o.Streams)
	}
	for c != nil {
		if !o.Hangup.Arm(c) {
			c.close()
			return &Failure{Phase: PhaseConnect, Gone: true, Backend: l.ep.url, Err: errGone}
		}
		f := l.exchange(c, o, head, now)
		if f == nil {
			return nil
		}
		if f.Err == errUnasked { // nothing was sent
			c = l.ep.take(now, o.Streams)
			continue
		}
		if !stale(f) {
			return f
		}
		now = time.Now()
		l.ep.dropIdle(now)
		break
	}
	c, err := l.ep.dial(o, now)
	if err != nil {
		return err
	}
	if f := l.exchange(c, o, head, now); f != nil {
		return f
	}
	return nil
}

// stale tells a connection that the backend had already let go of from a
// request that it may have begun to work on.
func stale(f *Failure) bool {
	if f.Timeout || f.Gone || f.Phase != PhaseSend && f.Phase != PhaseWait {
		return false
	}
	return errors.Is(f.Err, io.EOF) || errors.Is(f.Err, io.ErrUnexpectedEOF) ||
		errors.Is(f.Err, syscall.ECONNRESET) || errors.Is(f.Err, syscall.EPIPE)
}

// exchange does the round trip on c, which is armed. On failure c is gone.
func (l *Lease) exchange(c *Conn, o *Outgoing, head *fasthttp.ResponseHeader, now time.Time) *Failure {
	l.conn, l.armed = c, true
	phase := PhaseSend
	_ = c.readBy(now, o.patience(now)) // the wait for the answer may begin in send
	sent, err := l.ep.send(c, o)
	l.Sent = sent
	if err == nil {
		phase, err = l.readHead(o, head)
	} else if mayHaveAnswered(err, o) && answersAnyway(c, l.Sent) {
		// Some servers answer (413, 429) and close without reading the body.
		phase, err = l.readHead(o, head)
		l.reusable = false
	}
	if err == nil {
		return nil
	}
	f := &Failure{Phase: phase, Timeout: isTimeout(err), Backend: l.ep.url, Err: err}
	if asker, ok := err.(askerError); ok {
		f.Timeout, f.Asker = false, asker.error
	}
	if !o.Hangup.Disarm(c) {
		f.Gone, f.Timeout, f.Err = true, false, errGone
	}
	c.close()
	l.conn, l.armed = nil, false
	return f
}

// mayHaveAnswered reports whether a failed write is worth a look for an answer.
func mayHaveAnswered(err error, o *Outgoing) bool {
	if _, ok := err.(askerError); ok || err == errUnasked {
		return false
	}
	return o.Stream != nil || !isTimeout(err)
}

func answersAnyway(c *Conn, now time.Time) bool {
	if c.readBy(now, drainWait) != nil {
		return false
	}
	_, err := c.br.Peek(1)
	return err == nil
}

// readHead waits for the answer and reads its head, past interim ones.
func (l *Lease) readHead(o *Outgoing, head *fasthttp.ResponseHeader) (Phase, error) {
	c := l.conn
	if err := l.await(o); err != nil {
		return PhaseWait, err
	}
	l.Answered = time.Now()
	for range maxInterim {
		raw, _ := c.br.Peek(c.br.Buffered())
		if err := readHead(c, head); err != nil {
			return PhaseHead, err
		}
		status := head.StatusCode()
		if status == fasthttp.StatusSwitchingProtocols {
			if !o.Upgrade {
				return PhaseHead, errUpgrade
			}
			l.switched, l.reusable = true, false
			return PhaseBody, nil
		}
		if status >= 200 {
			l.beginBody(head, status, o.Method == fasthttp.MethodHead)
			// The buffer began with this head, however much of it was there then.
			if l.body.Kind() == framing.ByChunks && hasLength(raw[:cap(raw)]) {
				l.reusable = false
			}
			return PhaseBody, nil
		}
		head.Reset()
		if _, err := c.br.Peek(1); err != nil {
			return PhaseHead, err
		}
	}
	return PhaseHead, errInterim
}

// await waits for the answer's first byte.
func (l *Lease) await(o *Outgoing) error {
	if wait := o.patience(l.Sent); o.OnLate != nil && o.Late == wait {
		if err := l.conn.peekBy(l.Sent, wait); err == nil || !isTimeout(err) {
			return err
		}
		o.TellLate()
	}
	return l.conn.peekBy(l.Sent, o.patience(l.Sent))
}

// hasLength reports whether a raw head has a Content-Length. Beside chunks it
// means that somebody on the way may see another end of this answer than we do
// (RFC 9112, section 6.3); fasthttp drops it without a word.
func hasLength(raw []byte) bool {
	const name = "content-length:"
	if end := bytes.Index(raw, []byte("\r\n\r\n")); end >= 0 {
		raw = raw[:end]
	}
	for line := range bytes.SplitSeq(raw, []byte("\n")) {
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return true
		}
	}
	return false
}

// readHead reads one head, into a larger buffer if it must.
func readHead(c *Conn, head *fasthttp.ResponseHeader) error {
	err := head.Read(c.br)
	if isTooLarge(err) && c.grow() {
		err = head.Read(c.br)
	}
	if err == nil {
		return nil
	}
	return headError(err)
}

func isTooLarge(err error) bool {
	if err == nil {
		return false
	}
	var small *fasthttp.ErrSmallBuffer
	return errors.As(err, &small)
}

// headError replaces fasthttp's own texts: they quote the head, which may hold
// what no log should.
func headError(err error) error {
	var network *net.OpError
	switch {
	case isTooLarge(err):
		return errHeadSize
	case errors.As(err, &network):
		return network
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	default:
		return errHead
	}
}

// beginBody reads the answer's framing off its head; headOnly: whatever that says,
// nothing follows. A server that sends a body all the same must not have it taken
// for the next answer.
func (l *Lease) beginBody(head *fasthttp.ResponseHeader, status int, headOnly bool) {
	l.reusable = !head.ConnectionClose() && !headOnly
	switch n := head.ContentLength(); {
	case headOnly || status == fasthttp.StatusNoContent || status == fasthttp.StatusNotModified:
		l.body.Begin(l.conn.br, framing.ByLength, 0)
	case n >= 0:
		l.body.Begin(l.conn.br, framing.ByLength, int64(n))
	case n == -1:
		l.body.Begin(l.conn.br, framing.ByChunks, 0)
	default:
		l.body.Begin(l.conn.br, framing.UntilClose, 0)
		l.reusable = false
	}
}

// Switched reports whether the backend has switched protocols. The answer has no
// body then, and the connection is to be had from Tunnel.
func (l *Lease) Switched() bool { return l.switched }

// Tunnel hands out the connection of a backend that has switched protocols, once,
// with what it has sent since, which is the caller's. Closing the connection is
// still up to Finish, and until Disarm a hang-up breaks it.
func (l *Lease) Tunnel() (nc net.Conn, early []byte) {
	c := l.conn
	if !l.switched || c.br == nil {
		panic("BUG: there is no tunnel")
	}
	early, _ = c.br.Peek(c.br.Buffered())
	c.br = nil // the tunnel's ends read for themselves
	_ = c.nc.SetDeadline(time.Time{})
	return c.nc, early
}

// BodyLength is the body's length in bytes if its head told it, else -1.
func (l *Lease) BodyLength() int64 { return l.body.Length() }

// Next lends the following bytes of the body, until the next call on l. It
// waits until the deadline set by WaitUntil. io.EOF is the proper end; any
// other error is a *Failure, after a timeout of which Next may be called again.
func (l *Lease) Next() ([]byte, error) {
	p, err := l.body.Next()
	return p, l.bodyError(err)
}

// Read is Next for bytes that are wanted in p: large pieces skip the
// connection's own buffer.
func (l *Lease) Read(p []byte) (int, error) {
	n, err := l.body.Read(p)
	return n, l.bodyError(err)
}

// More reports whether Next has something to give without waiting for the
// network.
func (l *Lease) More() bool { return l.body.More() }

func (l *Lease) bodyError(err error) error {
	if err == nil || err == io.EOF || err == netloop.ErrNotYet {
		return err
	}
	// Nobody but Break closes a connection that is leased.
	gone := errors.Is(err, net.ErrClosed)
	return &Failure{Phase: PhaseBody, Timeout: isTimeout(err), Gone: gone, Backend: l.ep.url, Err: err}
}

// CanRun reports whether Run can read the body.
func (l *Lease) CanRun() bool { return l.conn.loop != nil && l.body.Kind() != framing.UntilClose }

// Run has step called for whatever comes of the body, until it returns true, by a
// goroutine that does the same for other leases: step must not wait. In it Next does
// not either: after ErrNotYet step returns false and is called again when there is
// more. The error is a *Failure: a timeout when step is not done by then, which is the
// end of this Run and not of the body.
func (l *Lease) Run(step func() bool, until time.Time) error {
	return l.bodyError(l.conn.loop.Run(step, until))
}

// Wait bounds the following calls of Next: they fail with a timeout after
// wait, or up to a sixteenth of it sooner.
func (l *Lease) Wait(now time.Time, wait time.Duration) { _ = l.conn.readBy(now, wait) }

// Disarm ends the asker's say over the connection: a later hang-up does not
// break it. A broken one is never used again.
func (l *Lease) Disarm() {
	if l.armed && !l.hangup.Disarm(l.conn) {
		l.reusable = false
	}
	l.armed = false
}

// Entrust makes h the asker whose hang-up breaks the connection. False: it is
// broken already, for the asker before or this one had left.
func (l *Lease) Entrust(h Hangup) bool {
	held := l.armed && l.hangup.Disarm(l.conn)
	l.hangup = h
	l.armed = held && h.Arm(l.conn)
	if !l.armed {
		l.reusable = false
	}
	return l.armed
}

// Drain reads on to the end of a body whose meaning is complete, for a short
// while, so that the connection can serve again.
func (l *Lease) Drain(now time.Time) {
	_ = l.conn.readBy(now, drainWait)
	for range 8 {
		if _, err := l.body.Next(); err != nil {
			return
		}
	}
}

// Finish ends the lease: the connection is kept if its answer was read to the
// proper end and nobody broke it, and the endpoint is counted out; now is when. A
// Lease that holds nothing does nothing.
func (l *Lease) Finish(o Outcome, now time.Time) {
	if l.ep == nil {
		return
	}
	l.Disarm()
	if c := l.conn; c != nil {
		whole := l.body.Finish()
		if o == Served && whole && l.reusable && c.br.Buffered() == 0 {
			c.answers++
			l.ep.put(c, now)
		} else {
			c.close()
		}
	}
	l.settle(o, now)
	l.ep.Load.Release()
	*l = Lease{}
}
