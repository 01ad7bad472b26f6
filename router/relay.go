package router

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file passes an answer on: whole events, byte for byte, as they come. A
// blocked client blocks the reading from its backend, so nothing piles up.

const (
	gatherBelow = 16 << 10 // events that came together are written together, up to this
	maxEvent    = 1 << 20  // a longer event is passed on unread
)

var (
	keepaliveComment = []byte(": keep-alive\n\n")

	errTruncated  = errors.New("the backend's answer broke off")
	errClientLeft = errors.New("the client left")
)

// bodyStream is an Exchange as fasthttp sees it: the body of its response.
type bodyStream struct {
	e        *Exchange
	written  int64
	sequence int64 // events relayed, for the number of a Responses error event
	opaque   bool  // in the middle of an event that is too long to look at
	finished bool  // a choice said why it ended
	terminal bool  // the stream said that it is over
}

func (b *bodyStream) reset() { *b = bodyStream{e: b.e} }

// SupportsBodyWriteTo tells fasthttp to use WriteTo.
func (b *bodyStream) SupportsBodyWriteTo() bool { return true }

// Read is never used: see SupportsBodyWriteTo.
func (b *bodyStream) Read([]byte) (int, error) {
	panic("BUG: a body stream is written, not read")
}

// Close ends the exchange. fasthttp calls it once, whatever happened.
func (b *bodyStream) Close() error {
	s := b.e.srv
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(nil, p, debug.Stack())
		}
	}()
	b.e.finish()
	return nil
}

// WriteTo writes the whole body. An error makes fasthttp close the connection
// without the mark of a proper end.
func (b *bodyStream) WriteTo(w io.Writer) (n int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			b.e.srv.logPanic(b.e, p, debug.Stack())
			n, err = b.written, fmt.Errorf("panic in the relay: %v", p)
		}
	}()
	e := b.e
	switch a := e.attempt; {
	case a == nil:
		err = b.write(w, e.local.B)
	case a.events:
		err = b.relayEvents(w, a)
	case a.whole:
		text := a.text
		a.text = nil
		e.readUsage(text.B)
		e.endAttempt(e.responded) // the backend is done: free its place before the client's
		err = b.write(w, text.B)
		text.Free()
	default:
		err = b.relayPieces(w, a)
	}
	return b.written, err
}

func (b *bodyStream) write(w io.Writer, p []byte) error {
	n, err := w.Write(p)
	b.written += int64(n)
	if err != nil {
		b.e.left = true
		return errClientLeft
	}
	return nil
}

// relayPieces passes on a large answer that is not a stream of events.
func (b *bodyStream) relayPieces(w io.Writer, a *Attempt) error {
	e := b.e
	if err := b.write(w, a.text.B); err != nil {
		return err
	}
	a.text.Free()
	a.text = nil
	for {
		now := time.Now()
		a.lease.Wait(now, min(e.name.route.idle, e.deadline().Sub(now)))
		p, err := a.lease.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return b.truncated(err)
		}
		e.cell.armWrite(e.client.conn, now)
		if err := b.write(w, p); err != nil {
			return err
		}
	}
}

// relayEvents passes on a stream of server-sent events.
func (b *bodyStream) relayEvents(w io.Writer, a *Attempt) error {
	if len(a.text.B) > 0 {
		if err := b.events(w, a, nil); err != nil {
			return err
		}
	}
	for !b.terminal && !a.whole {
		p, err := b.next(w, a)
		switch {
		case err == io.EOF:
			a.whole = true
			continue
		case err != nil:
			return b.broken(w, err)
		}
		if err := b.events(w, a, p); err != nil {
			return err
		}
	}
	switch {
	case b.terminal:
		a.lease.Drain(time.Now()) // a connection read to its end can serve again
		return nil
	case b.finished:
		return b.flush(w, a) // no last word, but a reason to end: clients accept it
	default:
		return b.broken(w, errTruncated)
	}
}

// next waits for the next piece of the stream, and keeps the client's
// connection awake with comments meanwhile. It gathers what came together.
func (b *bodyStream) next(w io.Writer, a *Attempt) ([]byte, error) {
	e := b.e
	route := e.name.route
	since := time.Now()
	for now, spoke := since, since; ; now = time.Now() {
		left := min(since.Add(route.idle).Sub(now), e.deadline().Sub(now))
		if left <= 0 {
			return nil, &backends.Failure{Phase: backends.PhaseBody, Timeout: true, Backend: a.lease.Endpoint().URL(), Err: errors.New("no event came in time")}
		}
		a.lease.Wait(now, min(left, max(spoke.Add(route.keepalive).Sub(now), time.Millisecond)))
		p, err := a.lease.Next()
		if err == nil {
			return b.gather(a, p), nil
		}
		if f := (*backends.Failure)(nil); !errors.As(err, &f) || !f.Timeout {
			return nil, err
		}
		if now = time.Now(); now.Sub(spoke) >= route.keepalive-route.keepalive/8 && !b.opaque {
			spoke = now
			e.cell.armWrite(e.client.conn, now)
			if err := b.write(w, keepaliveComment); err != nil {
				return nil, err
			}
		}
	}
}

// gather returns p, or a.text when p had to be put behind other bytes there:
// an event begun earlier, or pieces that came with p.
func (b *bodyStream) gather(a *Attempt, p []byte) []byte {
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
func (b *bodyStream) events(w io.Writer, a *Attempt, p []byte) error {
	held := p == nil
	if held {
		p = a.text.B
	}
	end, out := b.edit(a, p)
	b.e.cell.armWrite(b.e.client.conn, time.Now())
	var err error
	if out != nil {
		if len(out.B) > 0 {
			err = b.write(w, out.B)
		}
		out.Free()
	} else if end > 0 {
		err = b.write(w, p[:end])
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
func (b *bodyStream) edit(a *Attempt, p []byte) (end int, out *buf.Buffer) {
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
func (b *bodyStream) note(ev *openai.Event) bool {
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
func (b *bodyStream) flush(w io.Writer, a *Attempt) error {
	if a.text == nil || len(a.text.B) == 0 {
		return nil
	}
	return b.write(w, a.text.B)
}

// broken ends a stream that the backend did not end: with the error frame that
// every client understands, and never with the mark of a proper end.
func (b *bodyStream) broken(w io.Writer, cause error) error {
	err := b.truncated(cause)
	e := b.e
	if e.left || e.cell.Gone() || b.opaque {
		return err
	}
	message, code := "The backend's answer was interrupted.", codeInterrupted
	var f *backends.Failure
	switch {
	case e.srv.cutting.Load():
		message, code = "The router is shutting down.", codeDraining
	case errors.As(cause, &f) && f.Timeout:
		message, code = "The backend stopped sending.", codeStalled
	}
	frame := buf.Get(512)
	defer frame.Free()
	frame.B = openai.AppendErrorFrame(frame.B, e.op, message, typeServer, code, b.sequence)
	e.cell.armWrite(e.client.conn, time.Now())
	_ = b.write(w, frame.B)
	return err
}

// truncated books an answer that broke off.
func (b *bodyStream) truncated(cause error) error {
	e := b.e
	if !e.left && !e.cell.Gone() {
		e.truncated = true
		if f := (*backends.Failure)(nil); errors.As(cause, &f) {
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
	case e.left || e.cell.Gone():
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
