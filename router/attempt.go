package router

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file tries backends until one answers: the only loop that retries.

// Unary answers up to this size are held until whole, so that a short one can
// become an error instead of a cut answer.
const holdBelow = 256 << 10

// A stream may send comments before its first event up to this much.
const maxPreamble = 64 << 10

// Attempt is one try on one endpoint. It never points into its Exchange.
type Attempt struct {
	lease  backends.Lease
	head   answerHead
	text   *buf.Buffer // bytes of the body that were read and not yet relayed
	events bool        // the answer is a stream of server-sent events
	whole  bool        // text is the whole body
	framer openai.Framer
}

var attempts = sync.Pool{New: func() any { return new(Attempt) }}

// finish ends the attempt with its lease.
func (a *Attempt) finish(o backends.Outcome, now time.Time) {
	a.lease.Finish(o, now)
	a.head.Reset()
	a.text.Free()
	a.text, a.events, a.whole = nil, false, false
	a.framer.Reset()
	attempts.Put(a)
}

// forward gets an answer from one of the route's backends: on success the
// first frame of it is in hand.
func (e *Exchange) forward() error {
	pool := e.name.route.pool
	e.pick = balancer.Request{Eligible: balancer.FirstN(len(pool.candidates)), Rand: rand.Uint64()}
	out := e.outgoing()
	for {
		a, i := e.acquire(pool)
		if a == nil {
			return e.nothingLeft()
		}
		e.tries++
		e.attempt = a // so that even a panic ends it
		e.pick.Eligible.Clear(i)
		f := asFailure(a.run(&out, e.name.route))
		out.Now = time.Now()
		a.count(f)
		if f == nil && a.head.StatusCode() == statusUnauthorized {
			url := a.lease.Endpoint().URL()
			e.drop(backends.Served, out.Now)
			return credentialRefused(url)
		}
		switch judge(f, e.tries, !e.pick.Eligible.Empty()) {
		case Delivered:
			e.deliver(a, out.Now)
			return nil
		case ClientGone:
			e.drop(backends.Ignored, out.Now)
			if !e.conn.Gone() { // broken by the end of a drain, not by the client
				return errDraining
			}
			return errClientGone
		case GiveUp:
			e.drop(backends.Failed, out.Now)
			e.srv.logFailure(e, f)
			return blame(f)
		case TryAnother:
			a.lease.Endpoint().Series.Retry()
			e.drop(backends.Failed, out.Now)
			e.srv.logFailure(e, f)
			e.failure = f
		}
	}
}

// drop ends the attempt without having delivered it.
func (e *Exchange) drop(o backends.Outcome, now time.Time) {
	e.attempt.finish(o, now)
	e.attempt = nil
}

// nothingLeft is the error of a request that no further backend can take: the
// last failure's if there was one.
func (e *Exchange) nothingLeft() error {
	if e.failure != nil {
		return blame(e.failure)
	}
	return errAllBusy
}

// outgoing is what every try sends.
func (e *Exchange) outgoing() backends.Outgoing {
	route := e.name.route
	out := backends.Outgoing{
		Op:        e.op,
		Query:     e.client.query,
		Static:    route.pool.static,
		Header:    e.header.B,
		Hangup:    &e.conn.cell,
		Now:       e.bodyRead,
		Connect:   route.connect,
		FirstByte: route.firstToken,
		Deadline:  e.began.Add(route.total),
	}
	if e.body != nil {
		out.Body = e.body.B
		if !e.edits.Empty() {
			out.Edits = &e.edits
		}
	}
	return out
}

// acquire picks an eligible endpoint and takes a place on it. Candidates that
// turn out to be full are struck off; nil when none is left.
func (e *Exchange) acquire(pool *Pool) (*Attempt, int) {
	a := attempts.Get().(*Attempt)
	for {
		i := pool.policy.Pick(&e.pick, pool.candidates)
		if i < 0 {
			attempts.Put(a)
			return nil, -1
		}
		if pool.endpoints[i].Acquire(&a.lease, pool.candidates[i].Limit) {
			return a, i
		}
		e.pick.Eligible.Clear(i)
	}
}

// run sends the request and reads as much of the answer as must be in hand
// before the client sees any of it.
func (a *Attempt) run(out *backends.Outgoing, route *Route) error {
	if err := a.lease.RoundTrip(out, &a.head.ResponseHeader); err != nil {
		return err
	}
	if a.head.isEventStream() {
		a.events = true
		return a.readFirstEvent(out, route)
	}
	return a.readHeld(out, route)
}

// readFirstEvent reads a stream up to its first event that is not a comment.
func (a *Attempt) readFirstEvent(out *backends.Outgoing, route *Route) error {
	a.text = buf.Get(1 << 10)
	until := earliest(a.lease.Sent.Add(route.firstToken), out.Deadline)
	var ev openai.Event
	for seen := 0; ; {
		a.lease.Wait(a.lease.Answered, until.Sub(a.lease.Answered))
		p, err := a.lease.Next()
		if err == io.EOF && seen == len(a.text.B) {
			return &backends.Failure{Phase: backends.PhaseBody, Backend: a.lease.Endpoint().URL(), Err: errNoEvent}
		}
		if err == io.EOF {
			a.whole = true
			a.framer.Reset() // relay looks at all of it again, from its beginning
			return nil       // and judges a stream that ends here
		}
		if err != nil {
			return err
		}
		a.text = a.text.Grow(len(p))
		a.text.B = append(a.text.B, p...)
		for n := a.framer.EventEnd(a.text.B[seen:]); n > 0; n = a.framer.EventEnd(a.text.B[seen:]) {
			openai.ReadEvent(a.text.B[seen:seen+n], out.Op, &ev)
			if !ev.Comment {
				return nil
			}
			seen += n
		}
		if len(a.text.B) > maxPreamble {
			a.framer.Reset()
			return nil
		}
	}
}

// readHeld reads an answer that is not a stream: all of it if it is small.
func (a *Attempt) readHeld(out *backends.Outgoing, route *Route) error {
	size := a.lease.BodyLength()
	a.text = buf.Get(int(min(max(size, 1<<10), holdBelow)))
	for len(a.text.B) < holdBelow {
		if !a.lease.More() {
			now := time.Now()
			a.lease.Wait(now, min(route.idle, out.Deadline.Sub(now)))
		}
		if n := len(a.text.B); n == cap(a.text.B) && int64(n) != size {
			a.text = a.text.Grow(1)
		}
		n, err := a.lease.Read(a.text.B[len(a.text.B):cap(a.text.B)])
		a.text.B = a.text.B[:len(a.text.B)+n]
		if err == io.EOF {
			a.whole = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// count books the try under its backend.
func (a *Attempt) count(f *backends.Failure) {
	code := 0
	if f == nil {
		code = a.head.StatusCode()
	}
	a.lease.Endpoint().Series.Request(code)
}

// deliver makes a the exchange's answer. The request will not be sent again.
func (e *Exchange) deliver(a *Attempt, now time.Time) {
	e.sent, e.answered, e.responded = a.lease.Sent, a.lease.Answered, now
	e.freeRequest()
	e.status = a.head.StatusCode()
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

var errNoEvent = errors.New("the stream ended before its first event")

// credentialRefused is the error of a backend's 401: it is about the pool's
// credential, and would tell the client that its own is wrong.
func credentialRefused(url string) error {
	return &helixflow.Error{
		Kind:  helixflow.KindBackendCredential,
		Cause: fmt.Errorf("cannot log in to %s: it answered 401 to the pool's credential", url),
	}
}
