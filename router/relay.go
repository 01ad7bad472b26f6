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
)

// This file sends every answer, frame by frame (ADR 6).

const (
	endOfLine   = "\r\n"
	endOfChunks = "0\r\n\r\n"
)

// Frames up to this size are copied behind their head and written at once.
const copyBelow = 16 << 10

// A request holds its limits until no more than this is left of its answer.
const lastFrame = 64 << 10

var (
	errTruncated  = errors.New("the backend's answer broke off")
	errClientLeft = errors.New("the client left")
)

// relay writes one answer to the client.
type relay struct {
	e          *Exchange
	out        *buf.Buffer // the answer's head, until it goes out with the first frame
	begun      bool        // something of the answer was written
	sent       int64       // bytes of the body
	chunked    bool        // frames are sent as HTTP chunks
	untilClose bool        // the body ends with the connection
	came       time.Time   // when the backend last sent something
	spoke      time.Time   // when the client was last sent something
	sequence   int64       // events relayed, for the number of a Responses error event
	opaque     bool        // in the middle of an event that is too long to look at
	finished   bool        // a choice said why it ended
	failed     bool        // the stream said an error
	terminal   bool        // the stream said that it is over
	passed     passed      // what passing on came to
}

func (b *relay) reset() {
	b.out.Free()
	*b = relay{e: b.e}
}

// run sends the whole answer. After an error the connection must be closed,
// without the mark of a proper end.
func (b *relay) run() error {
	e := b.e
	if e.conn.head.IsHead() || isBodiless(e.status) {
		e.settle(time.Now(), true)
		return b.write(nil, false)
	}
	switch a := e.attempt; {
	case e.replay != nil:
		return b.write(e.replay.Body, true)
	case e.known.answer != nil && e.problem == nil:
		return b.replayKnown(e.known.answer)
	case e.flown() != nil:
		return b.follow()
	case a == nil:
		return b.write(e.local.B, true)
	case a.events:
		e.conn.rest()
		return b.relayEvents(a)
	case a.whole:
		text := a.text
		a.text = nil
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
	if c := b.e.claim; c != nil {
		c.Append(p)
		if last {
			b.e.keep()
		}
	}
	if last && b.e.ticket.Held() {
		if n := len(p) - lastFrame; n > 0 { // a place is not free while somebody reads slowly
			if err := b.put(p[:n], false); err != nil {
				return err
			}
			p = p[n:]
		}
		b.e.settle(time.Now(), true)
	}
	return b.put(p, last)
}

// put is write of what is no part of the answer.
func (b *relay) put(p []byte, last bool) error {
	if f := b.e.flight; f != nil {
		b.sent += int64(len(p))
		return f.write(p, last)
	}
	out := b.out
	b.out = nil
	if out == nil {
		out = buf.Get(min(len(p), copyBelow) + 32)
	}
	defer out.Free()
	b.begun = true
	tail := ""
	if b.chunked && len(p) > 0 {
		out.B = appendChunkSize(out.B, len(p))
		tail = endOfLine
	}
	switch {
	case b.chunked && last && len(p) > 0:
		tail = endOfLine + endOfChunks
	case b.chunked && last:
		tail = endOfChunks
	}
	b.sent += int64(len(p))
	if err := b.e.conn.send(out, p, tail); err != nil {
		b.e.left = true
		return errClientLeft
	}
	return nil
}

// appendChunkSize begins an HTTP chunk of n bytes.
func appendChunkSize(dst []byte, n int) []byte {
	return append(strconv.AppendInt(dst, int64(n), 16), endOfLine...)
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
	rec := e.known.recording
	rec.Append(a.text.B)
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
			e.keepKnown()
			if b.chunked {
				return b.write(nil, true)
			}
			e.keep()
			return nil
		}
		if err != nil {
			return b.truncated(err)
		}
		e.conn.armWrite(time.Now())
		rec.Append(text.B[:n])
		last := !b.chunked && b.sent+int64(n) == a.lease.BodyLength()
		if last {
			e.keepKnown()
			rec = nil
		}
		if err := b.write(text.B[:n], last); err != nil {
			return err
		}
	}
}

// truncated books an answer that broke off.
func (b *relay) truncated(cause error) error {
	e := b.e
	e.forgo()
	e.unkeep()
	e.settle(time.Now(), false)
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
func (e *Exchange) deadline() time.Time {
	if e.op == helixflow.OpResponsesSocket { // what asks is its first message
		return e.bodyRead.Add(e.name.route.total)
	}
	return e.began.Add(e.name.route.total)
}

// answerBy is when an answer must be in hand: the deadline, or the end of the
// client's own patience if that is sooner. An SDK waits so long for each read,
// so what is on its way by then is not held to it; and it is let to give up
// first, for what it says then is its own time-out and not an error of ours. Of a
// passthrough the sending alone may take longer.
func (e *Exchange) answerBy() time.Time {
	if p := e.client.patience; p > 0 && e.op != helixflow.OpPassthrough && p+graceOfPatience < e.name.route.total {
		return e.began.Add(p + graceOfPatience)
	}
	return e.deadline()
}

// graceOfPatience is for the client's clock, and the way there and back.
const graceOfPatience = 250 * time.Millisecond

// impatient reports whether by now the client's patience has ended, and not the
// time that the operator allows: that says nothing about a backend.
func (e *Exchange) impatient(now time.Time) bool {
	by := e.answerBy()
	return by.Before(e.deadline()) && !now.Before(by)
}

// endAttempt ends the attempt, if there is one, by how it went, at about now.
func (e *Exchange) endAttempt(now time.Time) {
	a := e.attempt
	if a == nil {
		return
	}
	if e.hedge != nil { // a panic in the middle of a race
		e.callOff()
	}
	e.attempt = nil
	status := a.status
	switch {
	case e.truncated:
		a.finish(backends.Failed, backends.Report{Evidence: backends.Faulty, Status: status, Err: errTruncated}, now)
	case !a.whole && !e.relay.terminal && (e.left || e.conn.Gone()):
		a.finish(backends.Ignored, backends.Report{Evidence: backends.Neutral, Status: status}, now)
	default:
		a.finish(backends.Served, a.served(status, now), now)
	}
}

// served is what an answer that was passed on tells of its endpoint.
func (a *Attempt) served(status int, now time.Time) backends.Report {
	r := backends.Report{Evidence: backends.Well, Status: status}
	if status >= 400 {
		wait, told := backends.RetryAfter(a.head.Peek("Retry-After"), a.head.Peek("Retry-After-Ms"), now)
		r.Evidence, r.Wait = backends.StatusEvidence(status, told), wait
	}
	return r
}
