package router

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file passes on the plain middle of a stream, in the loop that reads its
// backend, while the exchange's goroutine sleeps: to wake that for each event costs
// more than the event (ADR 31). Whatever is not plain is left to it.

// passAtOnce is how often a stream is passed on before others have their turn.
const passAtOnce = 4

// passed is what the goroutine is to go on with.
type passed struct {
	back   []byte      // read, and not passed on; lent by the lease
	unsent *buf.Buffer // what the client did not take at once
	gone   bool        // the client cannot be written to
}

// passable reports whether the answer may be one that can be passed on.
func (e *Exchange) passable() bool {
	return (e.op == helixflow.OpChatCompletions || e.op == helixflow.OpCompletions || e.op == helixflow.OpResponses) && e.call.Stream &&
		e.conn.turn != nil && e.flight == nil && e.claim == nil && !e.known.keeps
}

// canPass reports whether from here on plain events can be passed on.
func (b *relay) canPass(a *Attempt) bool {
	e := b.e
	return a.text == nil && b.chunked && !b.opaque && !e.firstToken.IsZero() && e.known.recording == nil &&
		e.passable() && a.lease.CanRun()
}

// passOn sleeps while what is plain is passed on, until then at most. It returns what
// was read and is not plain, if that is why it ended.
func (b *relay) passOn(a *Attempt, until time.Time) ([]byte, error) {
	err := a.lease.Run(b.e.pass, until)
	p := b.passed
	b.passed = passed{}
	if rest := p.unsent; rest != nil {
		b.e.conn.armWrite(time.Now())
		if _, werr := b.e.conn.nc.Write(rest.B); werr != nil {
			p.gone = true
		}
		rest.Free()
	}
	if p.gone {
		b.e.left = true
		return nil, errClientLeft
	}
	return p.back, err
}

// pass passes on what has come, if it is plain and the client takes it at once. It is
// called in the loop and waits for nothing. True: the goroutine must see to it.
func (b *relay) pass() (done bool) {
	a := b.e.attempt
	for range passAtOnce {
		p, err := a.lease.Next()
		if err != nil {
			return err != backends.ErrNotYet // any other is told again
		}
		n := b.plain(a, p)
		if n == 0 {
			b.passed.back = p
			return true
		}
		out := buf.Get(len(p) + 32)
		for {
			out.B = appendChunkSize(out.B, len(p))
			out.B = append(append(out.B, p...), endOfLine...)
			b.sequence += int64(n)
			b.sent += int64(len(p))
			if len(out.B) >= gatherBelow || !a.lease.More() {
				break
			}
			if p, err = a.lease.Next(); err != nil {
				break
			}
			if n = b.plain(a, p); n == 0 {
				b.passed.back = p
				break
			}
			out = out.Grow(len(p) + 32)
		}
		b.came = time.Now()
		b.spoke = b.came
		sent, werr := b.e.conn.turn.write(out.B)
		if werr != nil {
			b.passed.gone = true
		} else if sent < len(out.B) {
			out.B = out.B[:copy(out.B, out.B[sent:])]
			b.passed.unsent, out = out, nil
		}
		out.Free()
		switch {
		case b.passed.back != nil, b.passed.unsent != nil, b.passed.gone:
			return true
		case err != nil:
			return err != backends.ErrNotYet
		}
	}
	return true
}

// plain returns how many events p is if all of them are whole and plain, else 0.
func (b *relay) plain(a *Attempt, p []byte) (n int) {
	for len(p) > 0 {
		end := a.framer.EventEnd(p)
		if end == 0 || !openai.Plain(p[:end], b.e.op) {
			a.framer.Reset()
			return 0
		}
		p = p[end:]
		n++
	}
	return n
}
