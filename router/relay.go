package router

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/framing"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file passes an answer on: whole events, byte for byte, as they come. A
// blocked client blocks the reading from its backend, so nothing piles up.

const (
	gatherBelow = 16 << 10 // events that came together are written together, up to this
	maxEvent    = 1 << 20  // a longer event is passed on unread
)

const (
	endOfLine   = "\r\n"
	endOfChunks = "0\r\n\r\n"
)

// Frames up to this size are copied behind their head and written at once.
const copyBelow = 16 << 10

var (
	keepaliveComment = []byte(": keep-alive\n\n")

	errSilent     = errors.New("no event came in time")
	errTruncated  = errors.New("the backend's answer broke off")
	errClientLeft = errors.New("the client left")
)

// relay writes one answer to the client.
type relay struct {
	e          *Exchange
	out        *buf.Buffer // the answer's head, until it goes out with the first frame
	begun      bool        // something of the answer was written
	chunked    bool        // frames are sent as HTTP chunks
	untilClose bool        // the body ends with the connection
	spoke      time.Time   // when the client was last sent something
	sequence   int64       // events relayed, for the number of a Responses error event
	opaque     bool        // in the middle of an event that is too long to look at
	finished   bool        // a choice said why it ended
	terminal   bool        // the stream said that it is over
}

func (b *relay) reset() {
	b.out.Free()
	*b = relay{e: b.e}
}

// run sends the whole answer. After an error the connection must be closed,
// without the mark of a proper end.
func (b *relay) run() error {
	e := b.e
	if e.conn.head.IsHead() || e.status == statusNoContent {
		return b.write(nil, false)
	}
	switch a := e.attempt; {
	case a == nil:
		return b.write(e.local.B, true)
	case a.events:
		e.conn.rest()
		return b.relayEvents(a)
	case a.whole:
		text := a.text
		a.text = nil
		e.readUsage(text.B)
		e.endAttempt(e.responded) // the backend is done: free its place before the client's
		err := b.write(text.B, true)
		text.Free()
		return err
	default:
		return b.relayPieces(a)
	}
}

// write sends a frame, with the head if that is still to go out; last is the
// mark of the body's proper end.
func (b *relay) write(p []byte, last bool) error {
	out := b.out
	b.out = nil
	if out == nil {
		out = buf.Get(min(len(p), copyBelow) + 32)
	}
	defer out.Free()
	b.begun = true
	tail := ""
	if b.chunked && len(p) > 0 {
		out.B = strconv.AppendInt(out.B, int64(len(p)), 16)
		out.B = append(out.B, endOfLine...)
		tail = endOfLine
	}
	switch {
	case b.chunked && last && len(p) > 0:
		tail = endOfLine + endOfChunks
	case b.chunked && last:
		tail = endOfChunks
	}
	if err := b.e.conn.send(out, p, tail); err != nil {
		b.e.left = true
		return errClientLeft
	}
	return nil
}

// send writes head, p and tail as one: copied together if p is small, vectored
// if it is not.
func (c *clientConn) send(head *buf.Buffer, p []byte, tail string) error {
	if len(p) <= copyBelow {
		head.B = append(append(head.B, p...), tail...)
		_, err := c.nc.Write(head.B)
		return err
	}
	v := vectors.Get().(*vector)
	v.store = [3][]byte{head.B, p, append(v.tail[:0], tail...)}
	v.bufs = v.store[:]
	_, err := v.bufs.WriteTo(c.nc)
	v.store, v.bufs = [3][]byte{}, nil
	vectors.Put(v)
	return err
}

// vector is the scratch of one vectored write.
type vector struct {
	store [3][]byte
	tail  [16]byte
	bufs  net.Buffers
}

var vectors = sync.Pool{New: func() any { return new(vector) }}

// rest lets go of what a silent connection does not need.
func (c *clientConn) rest() {
	if c.br != nil && c.br.Buffered() == 0 && c.body.Finish() {
		c.body = framing.Body{}
		c.releaseReader()
	}
}

// relayPieces passes on a large answer that is not a stream of events.
func (b *relay) relayPieces(a *Attempt) error {
	e := b.e
	if err := b.write(a.text.B, false); err != nil {
		return err
	}
	text := a.text
	for {
		now := time.Now()
		if !a.lease.More() {
			a.lease.Wait(now, min(e.name.route.idle, e.deadline().Sub(now)))
		}
		n, err := a.lease.Read(text.B[:cap(text.B)])
		if err == io.EOF {
			if b.chunked {
				return b.write(nil, true)
			}
			return nil
		}
		if err != nil {
			return b.truncated(err)
		}
		e.conn.armWrite(time.Now())
		if err := b.write(text.B[:n], false); err != nil {
			return err
		}
	}
}

// relayEvents passes on a stream of server-sent events.
func (b *relay) relayEvents(a *Attempt) error {
	b.spoke = b.e.responded
	if len(a.text.B) > 0 {
		if err := b.events(a, nil); err != nil {
			return err
		}
	}
	for !b.terminal && !a.whole {
		p, err := b.next(a)
		switch {
		case err == io.EOF:
			a.whole = true
			continue
		case err != nil:
			return b.broken(err)
		}
		if err := b.events(a, p); err != nil {
			return err
		}
	}
	switch {
	case b.terminal:
		a.lease.Drain(time.Now()) // a connection read to its end can serve again
		return nil
	case b.finished:
		return b.flush(a) // no last word, but a reason to end: clients accept it
	default:
		return b.broken(errTruncated)
	}
}

// next waits for the next piece of the stream, and keeps the client's
// connection awake with comments meanwhile. It gathers what came together.
func (b *relay) next(a *Attempt) ([]byte, error) {
	e := b.e
	route := e.name.route
	since := time.Now()
	for now := since; ; now = time.Now() {
		if err := b.keepAwake(now, route.keepalive); err != nil {
			return nil, err
		}
		left := min(since.Add(route.idle).Sub(now), e.deadline().Sub(now))
		if left <= 0 {
			return nil, &backends.Failure{Phase: backends.PhaseBody, Timeout: true, Backend: a.lease.Endpoint().URL(), Err: errSilent}
		}
		a.lease.Wait(now, min(left, max(b.spoke.Add(route.keepalive).Sub(now), time.Millisecond)))
		p, err := a.lease.Next()
		if err == nil {
			return b.gather(a, p), nil
		}
		if f := asTimeout(err); f == nil {
			return nil, err
		}
	}
}

// keepAwake sends a comment to a client that has had nothing for about interval,
// be it that the backend is silent or that it drips.
func (b *relay) keepAwake(now time.Time, interval time.Duration) error {
	if b.opaque || now.Sub(b.spoke) < interval-interval/8 {
		return nil
	}
	b.spoke = now
	b.e.conn.armWrite(now)
	return b.write(keepaliveComment, false)
}

// asTimeout is err as a *Failure if it is a deadline that ran out, else nil.
func asTimeout(err error) *backends.Failure {
	if f, ok := err.(*backends.Failure); ok && f.Timeout {
		return f
	}
	return nil
}

// gather returns p, or a.text when p had to be put behind other bytes there:
// an event begun earlier, or pieces that came with p.
func (b *relay) gather(a *Attempt, p []byte) []byte {
	if a.text == nil && !a.lease.More() {
		return p
	}
	if a.text == nil {
		a.text = buf.Get(4 << 10)
	}
	for {
		a.text = a.text.Grow(len(p))
		a.text.B = append(a.text.B, p...)
		if len(a.text.B) >= gatherBelow || !a.lease.More() {
			return nil
		}
		var err error
		if p, err = a.lease.Next(); err != nil {
			return nil // told again by the following Next
		}
	}
}

// events writes the whole events of p, or of a.text when p is nil, and keeps
// in a.text what is left of them.
func (b *relay) events(a *Attempt, p []byte) error {
	held := p == nil
	if held {
		p = a.text.B
	}
	end, out := b.edit(a, p)
	if b.terminal {
		a.lease.Disarm() // the backend has said all: the client's leaving is no matter now
	}
	if end > 0 {
		b.spoke = time.Now()
		b.e.conn.armWrite(b.spoke)
	}
	var err error
	if out != nil {
		if len(out.B) > 0 || b.terminal {
			err = b.write(out.B, b.terminal)
		}
		out.Free()
	} else if end > 0 {
		err = b.write(p[:end], b.terminal)
	}
	if err != nil {
		return err
	}
	rest := p[end:]
	switch {
	case held && end == 0: // still the beginning of one event
	case held && len(rest) > 0:
		a.text.B = a.text.B[:copy(a.text.B, rest)]
	case held:
		a.text.Free() // an idle stream holds no buffer
		a.text = nil
	case len(rest) > 0:
		a.text = buf.Get(max(4<<10, len(rest)))
		a.text.B = append(a.text.B, rest...)
	}
	return nil
}

// edit looks at the whole events of p. It returns where the last one ends and,
// only if something of them is not to be passed on, what is.
func (b *relay) edit(a *Attempt, p []byte) (end int, out *buf.Buffer) {
	var ev openai.Event
	for {
		n := a.framer.EventEnd(p[end:])
		if n == 0 {
			if b.opaque || len(p)-end > maxEvent {
				b.opaque = true
				a.framer.Reset()
				if out != nil {
					out = out.Grow(len(p) - end)
					out.B = append(out.B, p[end:]...)
				}
				end = len(p)
			}
			return end, out
		}
		one := p[end : end+n]
		keep, cut := true, openai.Span{}
		if !b.opaque { // the rest of a long event is passed on as it is
			openai.ReadEvent(one, b.e.op, &ev)
			keep, cut = b.note(&ev), ev.Cut
		}
		b.opaque = false
		if out == nil && (!keep || cut.Present()) {
			out = buf.Get(len(p))
			out.B = append(out.B, p[:end]...)
		}
		if out != nil && keep {
			out = out.Grow(n)
			out.B = append(out.B, one[:cut.Start]...)
			out.B = append(out.B, one[cut.End:]...)
		}
		end += n
		if b.terminal { // nothing belongs behind the last word
			return end, out
		}
	}
}

// note takes from an event what the exchange must know, and reports whether it
// is meant for the client.
func (b *relay) note(ev *openai.Event) bool {
	e := b.e
	if ev.Comment {
		return true
	}
	if ev.HasUsage {
		e.usage = ev.Usage
	}
	if ev.Token && e.firstToken.IsZero() {
		e.firstToken = time.Now()
	}
	b.finished = b.finished || ev.Finish || ev.Failed
	b.terminal = b.terminal || ev.Terminal
	if ev.UsageOnly && e.withholdUsage {
		return false
	}
	b.sequence++
	return true
}

// flush passes on what is left of a stream that ended without a blank line.
func (b *relay) flush(a *Attempt) error {
	var rest []byte
	if a.text != nil {
		rest = a.text.B
	}
	return b.write(rest, true)
}

// broken ends a stream that the backend did not end: with the error frame that
// every client understands, and never with the mark of a proper end.
func (b *relay) broken(cause error) error {
	err := b.truncated(cause)
	e := b.e
	if e.left || e.conn.Gone() || b.opaque {
		return err
	}
	message, code := "The backend's answer was interrupted.", codeInterrupted
	switch {
	case e.srv.cutting.Load():
		message, code = "The router is shutting down.", codeDraining
	case asTimeout(cause) != nil:
		message, code = "The backend stopped sending.", codeStalled
	}
	frame := buf.Get(512)
	defer frame.Free()
	frame.B = openai.AppendErrorFrame(frame.B, e.op, message, typeServer, code, b.sequence)
	e.conn.armWrite(time.Now())
	_ = b.write(frame.B, false)
	return err
}

// truncated books an answer that broke off.
func (b *relay) truncated(cause error) error {
	e := b.e
	if !e.left && !e.conn.Gone() {
		e.truncated = true
		if f, ok := cause.(*backends.Failure); ok {
			e.srv.logFailure(e, f)
		} else {
			e.srv.logFailure(e, &backends.Failure{Phase: backends.PhaseBody, Backend: e.attempt.lease.Endpoint().URL(), Err: cause})
		}
	}
	return errTruncated
}

// deadline is when the whole exchange must be over.
func (e *Exchange) deadline() time.Time { return e.began.Add(e.name.route.total) }

// endAttempt ends the attempt, if there is one, by how it went, at about now.
func (e *Exchange) endAttempt(now time.Time) {
	a := e.attempt
	if a == nil {
		return
	}
	e.attempt = nil
	switch {
	case a.whole || e.relay.terminal:
		a.finish(backends.Served, now)
	case e.left || e.conn.Gone():
		a.finish(backends.Ignored, now)
	case e.truncated:
		a.finish(backends.Failed, now)
	default:
		a.finish(backends.Served, now)
	}
}

// readUsage finds what a whole answer cost.
func (e *Exchange) readUsage(text []byte) {
	if e.op == helixflow.OpListModels || e.op == helixflow.OpGetModel {
		return
	}
	if u, ok := openai.ReadUsage(text, e.op); ok {
		e.usage = u
	}
}
