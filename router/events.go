package router

import (
	"errors"
	"io"
	"time"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file passes on a stream of server-sent events: whole events, byte for
// byte, as they come. A blocked client blocks the reading from its backend, so
// nothing piles up.

const (
	gatherBelow = 16 << 10 // events that came together are written together, up to this
	maxEvent    = 1 << 20  // a longer event is passed on unread
)

var (
	keepaliveComment = []byte(": keep-alive\n\n")
	errSilent        = errors.New("no event came in time")
)

// relayEvents passes on a stream of server-sent events.
func (b *relay) relayEvents(a *Attempt) error {
	b.came, b.spoke = b.e.responded, b.e.responded
	b.finished = !b.e.op.Understood() // no telling which event is the last
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
	return b.end(a)
}

// end ends a stream that has said its last word, or whose framing has ended.
func (b *relay) end(a *Attempt) error {
	if !b.terminal && a.text != nil && len(a.text.B) > 0 {
		if err := b.lastEvent(a); err != nil {
			return err
		}
	}
	switch {
	case b.terminal:
		a.lease.Drain(time.Now()) // a connection read to its end can serve again
		return nil
	case b.failed:
		return b.write(nil, true)
	case !b.finished:
		return b.broken(errTruncated)
	case b.e.op.Understood(): // some engines leave out the last word; clients wait for it
		b.e.known.recording.Append(done)
		b.e.keepKnown()
		return b.write(done, true)
	default:
		return b.write(nil, true)
	}
}

// lastEvent passes on an event that lacks its blank line, which is there when the
// event itself is.
func (b *relay) lastEvent(a *Attempt) error {
	p := a.text.B
	switch {
	case !b.e.op.Understood():
		return b.write(p, false)
	case b.opaque, !openai.Whole(p):
		return b.broken(errTruncated)
	}
	missing := "\n\n"
	if p[len(p)-1] == '\n' {
		missing = "\n"
	}
	a.text = a.text.Grow(len(missing))
	a.text.B = append(a.text.B, missing...)
	return b.events(a, nil)
}

var done = []byte("data: [DONE]\n\n")

// next waits for the next piece of the stream, and keeps the client's
// connection awake with comments meanwhile. It gathers what came together.
func (b *relay) next(a *Attempt) ([]byte, error) {
	e := b.e
	route := e.name.route
	since := b.came
	for now := since; ; now = time.Now() {
		if err := b.keepAwake(now, route.keepalive); err != nil {
			return nil, err
		}
		left := min(since.Add(route.idle).Sub(now), e.deadline().Sub(now))
		if left <= 0 {
			return nil, &backends.Failure{Phase: backends.PhaseBody, Timeout: true, Backend: a.lease.Endpoint().URL(), Err: errSilent}
		}
		left = min(left, max(b.spoke.Add(route.keepalive).Sub(now), time.Millisecond))
		if b.canPass(a) {
			p, err := b.passOn(a, now.Add(left))
			now, since = time.Now(), b.came
			switch {
			case p != nil:
				return b.gather(a, p), nil
			case asTimeout(err) != nil:
				continue
			case err != nil:
				return nil, err
			}
		}
		a.lease.Wait(now, left)
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
	if b.e.flight != nil { // each follower sees to its own client
		return nil
	}
	b.e.conn.armWrite(now)
	return b.put(keepaliveComment, false)
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
	b.came = time.Now()
	if rec := b.e.known.recording; rec != nil {
		rec.Beat(b.came)
		if b.terminal && !b.failed {
			b.e.keepKnown()
		}
	}
	if end > 0 {
		b.spoke = b.came
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
	b.e.holds(len(rest))
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
	rec := b.e.known.recording
	for {
		n := a.framer.EventEnd(p[end:])
		if n == 0 {
			if b.opaque || len(p)-end > maxEvent {
				b.opaque = true
				b.e.unkeep()
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
		keep, odd, usageOnly := true, false, false
		switch {
		case b.opaque: // the rest of a long event is passed on as it is
		case !b.e.firstToken.IsZero() && openai.Plain(one, b.e.op):
			b.sequence++
		default:
			openai.ReadEvent(one, b.e.op, &ev)
			b.e.rememberEvent(a, one, &ev)
			keep, odd, usageOnly = b.note(&ev), ev.Odd && b.e.op.Understood(), ev.UsageOnly
		}
		b.opaque = false
		if out == nil && (!keep || odd) {
			out = buf.Get(len(p) + 512)
			out.B = append(out.B, p[:end]...)
		}
		switch {
		case out == nil || !keep:
		case odd:
			begin := len(out.B)
			out.B = openai.AppendMended(out.B, one, b.e.op, brokenOff, b.sequence-1)
			one = out.B[begin:]
		default:
			out = out.Grow(n)
			out.B = append(out.B, one...)
		}
		if rec != nil {
			b.e.keepEvent(rec, one, usageOnly)
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
		e.attempt.answer.Usage = ev.Usage
	}
	if ev.Token && e.firstToken.IsZero() {
		e.firstToken = time.Now()
		if times := e.attempt.lease.FirstToken(e.firstToken); times > 0 {
			e.attempt.pool.series.FirstToken(times)
		}
	}
	b.finished = b.finished || ev.Finish
	if ev.Failed {
		b.failed = true
		e.forgo()
		e.unkeep()
	}
	b.terminal = b.terminal || ev.Terminal
	if ev.UsageOnly && e.withholdUsage {
		return false
	}
	b.sequence++
	return true
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
	switch ended := e.ended(); {
	case ended != nil:
		message, code = farewell(ended)
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
