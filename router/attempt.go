package router

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/pressure"
)

// This file tries backends until one answers: the only loop that retries.

// Unary answers up to this size are held until whole, so that a short one can
// become an error instead of a cut answer.
const holdBelow = 256 << 10

// A stream may send comments before its first event up to this much.
const maxPreamble = 64 << 10

const retrySoon = time.Second

// Attempt is one try on one endpoint. It never points into its Exchange.
type Attempt struct {
	lease      backends.Lease
	pool       *Pool
	pass       backends.Pass // leave to try the endpoint; reported once
	room       room
	credential *backends.Credential
	decision   balancer.Decision // that led here
	tokens     int64             // of the prompt, about
	place      int               // of the endpoint in the pool's prefix index
	head       answerHead
	want       want
	cold       bool        // the endpoint had to load the model first
	status     int         // the head's, or that of an error in the body
	text       *buf.Buffer // bytes of the body that were read and not yet relayed
	events     bool        // the answer is a stream of server-sent events
	whole      bool        // text is the whole body
	made       made
	answer     openai.Answer // what text says, if it is whole and no stream
	framer     openai.Framer
}

var attempts = sync.Pool{New: func() any { return new(Attempt) }}

// finish ends the attempt: its lease by o, and its leave to try by r, whose
// Pass it fills in.
func (a *Attempt) finish(o backends.Outcome, r backends.Report, now time.Time) {
	a.leave(o, r, now)
	a.release()
}

// leave ends what the attempt holds on its endpoint, once; its head and text
// stay.
func (a *Attempt) leave(o backends.Outcome, r backends.Report, now time.Time) {
	if a.lease.Endpoint() == nil {
		return
	}
	r.Pass = a.pass
	a.lease.Endpoint().Report(r, now)
	if o == backends.Served && a.status < 400 {
		a.lease.Learn(a.answer.Usage, now)
		a.calibrate(a.answer.Usage)
	}
	a.lease.Finish(o, now)
	a.pool.freed(now)
}

// release gives an attempt back that holds nothing any more.
func (a *Attempt) release() {
	a.head.Reset()
	a.text.Free()
	a.pool, a.credential, a.pass, a.room = nil, nil, backends.Pass{}, room{}
	a.decision, a.tokens, a.place = balancer.Decision{}, 0, 0
	a.text, a.events, a.whole = nil, false, false
	a.cold = false
	a.want, a.status, a.made, a.answer = want{}, 0, asSent, openai.Answer{}
	a.framer.Reset()
	attempts.Put(a)
}

// forward gets an answer from one of the route's backends: on success the
// first frame of it is in hand.
func (e *Exchange) forward() error {
	now := e.bodyRead
	e.goByAbilities()
	e.begunChoosing(now)
	if len(e.name.route.mirrors) > 0 && !e.srv.under(pressure.Lean) && e.body != nil && e.socket == nil && !e.reach.narrowed { // objects are not mirrored
		e.mirror()
	}
	for {
		a, t, err := e.take(&now)
		if err != nil {
			return err
		}
		e.attempt = a // so that even a panic ends it
		e.tries++
		e.backend = a.lease.Endpoint().URL()
		if e.tries == 1 {
			a.pool.budget.Request(now)
		}
		if err := e.prepare(t); err != nil {
			e.drop(backends.Served, backends.Report{Evidence: backends.Neutral}, now)
			return err
		}
		out := e.outgoing(a, now)
		a.want = want{understood: e.op.Understood(), stream: e.call.Stream && e.op.CanStream()}
		if a.pool.hedging != nil {
			e.watchForLate(a, &out, now)
		}
		f := asFailure(a.run(&out, e.name.route))
		if e.hedge != nil {
			a, f = e.decideRace(a, f)
		}
		if f == nil && e.socket != nil {
			f = e.socket.shake.check(a, e.client.keyInProtocol)
		}
		now = time.Now()
		r := a.book(f, now)
		if f != nil && f.Timeout && e.impatient(now) {
			r.Evidence = backends.Neutral
		}
		e.learnRoom(a, r, now)
		tooLong := e.tooLong(a, t, r)
		switch judge(trial{failure: f, status: r.Status, tooLong: tooLong}, e.mayTryAgain(a, r, tooLong, now)) {
		case Delivered:
			if r.Status == statusUnauthorized {
				url := a.lease.Endpoint().URL()
				e.drop(backends.Served, r, now)
				return credentialRefused(url)
			}
			e.deliver(a, now)
			return nil
		case ClientGone:
			e.drop(backends.Ignored, r, now)
			return e.brokenOff()
		case GiveUp:
			e.srv.logFailure(e, f)
			e.drop(backends.Failed, r, now)
			return blame(f)
		case TryAnother:
			e.srv.logRetry(e, a, f, r.Status)
			a.lease.Endpoint().Series.Retry()
			e.repeats(a, f, r)
			e.drop(outcomeOf(f, r), r, now)
		}
	}
}

// take takes a place on a backend, and waits for one if that is all that is
// missing; now is when.
func (e *Exchange) take(now *time.Time) (a *Attempt, t *target, err error) {
	if !e.crowded(*now) {
		a, t = e.acquire(*now)
	}
	if a == nil {
		if p := e.full(*now); p != nil {
			if a, t, *now, err = e.park(p, *now); err != nil {
				return nil, nil, e.refusedAgain(err)
			}
		}
	}
	if a == nil {
		return nil, nil, e.nothingLeft(*now)
	}
	return a, t, nil
}

// mayTryAgain reports whether the request may be tried once more, on a backend
// or with a credential that it was not tried with, and takes that from the
// pool's budget. A try that could not even connect cost nobody anything: the next
// one is free.
func (e *Exchange) mayTryAgain(a *Attempt, r backends.Report, tooLong bool, now time.Time) bool {
	failed := r.Err != nil || repeats(r.Status) || tooLong
	if !failed || e.tries >= a.pool.attempts || !now.Before(e.answerBy()) {
		return false
	}
	if e.upload != nil && !e.upload.replayable() || e.once() && r.Evidence != backends.Unreachable {
		return false
	}
	if (r.Status == statusUnauthorized || r.Status == statusTooMany) && a.pool.credentials.Ready(now) > 0 {
		e.forgive(a) // the same backend, with another key
	}
	if r.Evidence == backends.Unreachable {
		return e.anyLeft(now)
	}
	return !e.standsBack() && e.anyLeft(now) && a.pool.budget.Retry(now)
}

// book counts the try under its backend and credential, and returns what it
// tells of the endpoint.
func (a *Attempt) book(f *backends.Failure, now time.Time) backends.Report {
	ep := a.lease.Endpoint()
	if f != nil {
		ep.Series.Request(0)
		r := backends.Report{Evidence: f.Evidence(), Err: f}
		switch {
		case f.Timeout && a.events: // headers came, and then no token
			r.Evidence = backends.Slow
		case isOtherForm(f):
			r.Evidence = backends.Neutral
		}
		return r
	}
	status := a.status
	ep.Series.Request(status)
	if a.pool.quota {
		ep.ReadQuota(&a.head.ResponseHeader, now)
	}
	wait, told := time.Duration(0), false
	if status >= 400 {
		wait, told = backends.RetryAfter(a.head.Peek("Retry-After"), a.head.Peek("Retry-After-Ms"), now)
	}
	a.bookCredential(status, wait, now)
	return backends.Report{Evidence: backends.StatusEvidence(status, told), Wait: wait, Status: status}
}

// bookCredential rests a key that was refused or has reached its limit.
func (a *Attempt) bookCredential(status int, wait time.Duration, now time.Time) {
	switch k := a.credential; {
	case k == nil:
	case status == statusUnauthorized:
		k.Refused(now)
	case status == statusTooMany:
		k.Limited(wait, now)
	case status < 400:
		k.Accepted()
	}
}

// outcomeOf is how a try that is not delivered ends on the endpoint's books.
func outcomeOf(f *backends.Failure, r backends.Report) backends.Outcome {
	switch {
	case f != nil:
		return backends.Failed
	case r.Evidence == backends.Pressed:
		return backends.Dropped
	default:
		return backends.Served
	}
}

// drop ends the attempt without having delivered it.
func (e *Exchange) drop(o backends.Outcome, r backends.Report, now time.Time) {
	a := e.attempt
	e.attempt = nil
	a.finish(o, r, now)
}

// outgoing is what a try sends.
func (e *Exchange) outgoing(a *Attempt, now time.Time) backends.Outgoing {
	route := e.name.route
	out := backends.Outgoing{
		Op:        e.op,
		Query:     e.client.query,
		Static:    a.pool.static,
		Header:    e.headerFor(a.pool),
		Hangup:    &e.conn.cell,
		Streams:   e.passable(),
		Now:       now,
		Connect:   route.connect,
		FirstByte: route.firstToken,
		Deadline:  e.answerBy(),
	}
	if a.credential = e.credentialFor(a.pool, now); a.credential != nil {
		out.Credential = a.credential.Line()
	}
	if e.op == helixflow.OpPassthrough {
		out.Method, out.Path, out.Once = e.method(), e.below.path, e.once()
	}
	switch {
	case e.op == helixflow.OpRealtime:
		out.Query, out.Upgrade = e.queryFor(e.prepared), true
	case e.socket != nil:
		out.Upgrade = true
	case e.upload != nil:
		e.upload.rewind()
		e.upload.until = out.Deadline
		out.Stream = e.upload
	case e.body != nil:
		out.Body = e.body.B
		if !e.edits.Empty() {
			out.Edits = &e.edits
		}
	}
	return out
}

// run sends the request and reads as much of the answer as must be in hand
// before the client sees any of it.
func (a *Attempt) run(out *backends.Outgoing, route *Route) error {
	if err := a.lease.RoundTrip(out, &a.head.ResponseHeader); err != nil {
		return err
	}
	a.status = a.head.StatusCode()
	if a.lease.Switched() {
		return nil
	}
	if err := a.read(out, route); err != nil {
		return err
	}
	return a.suit(out.Op)
}

// readFirstEvent reads a stream up to its first event that is not a comment.
func (a *Attempt) readFirstEvent(out *backends.Outgoing, route *Route) error {
	if a.text == nil {
		a.text = buf.Get(1 << 10)
	}
	until := earliest(a.lease.Sent.Add(out.FirstByte), out.Deadline)
	for seen := 0; ; {
		var found bool
		if seen, found = a.firstEvent(seen, out.Op); found {
			return nil
		}
		if len(a.text.B) > maxPreamble {
			a.framer.Reset()
			return nil
		}
		p, err := a.nextBy(until, out)
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
	}
}

// nextBy reads what comes next of a stream that has not begun yet.
func (a *Attempt) nextBy(until time.Time, out *backends.Outgoing) ([]byte, error) {
	if out.OnLate != nil {
		if late := a.lease.Sent.Add(out.Late); late.Before(until) {
			a.lease.Wait(a.lease.Answered, late.Sub(a.lease.Answered))
			if p, err := a.lease.Next(); asTimeout(err) == nil {
				return p, err
			}
			out.TellLate()
		}
	}
	a.lease.Wait(a.lease.Answered, until.Sub(a.lease.Answered))
	return a.lease.Next()
}

// firstEvent looks behind the comments that were seen for the first event.
func (a *Attempt) firstEvent(seen int, op helixflow.Op) (comments int, found bool) {
	var ev openai.Event
	for {
		n := a.framer.EventEnd(a.text.B[seen:])
		if n == 0 {
			return seen, false
		}
		openai.ReadEvent(a.text.B[seen:seen+n], op, &ev)
		if !ev.Comment {
			if ev.Failed && !ev.Terminal && a.want.understood {
				a.complainEvent(a.text.B[seen : seen+n])
			}
			return seen, true
		}
		seen += n
	}
}

// readHeld reads an answer that is not a stream of events: all of it if it is
// smaller than limit, or what comes first of one that is of use piece by piece.
func (a *Attempt) readHeld(limit int, idle time.Duration, until time.Time) error {
	size := a.lease.BodyLength()
	if a.text == nil {
		a.text = buf.Get(int(min(max(size, 1<<10), holdBelow)))
	}
	for !a.whole && len(a.text.B) < limit {
		if len(a.text.B) > 0 && a.head.isPiecemeal() && !a.lease.More() {
			return nil
		}
		if !a.lease.More() {
			now := time.Now()
			a.lease.Wait(now, min(idle, until.Sub(now)))
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

// deliver makes a the exchange's answer. The request will not be sent again.
func (e *Exchange) deliver(a *Attempt, now time.Time) {
	e.sent, e.answered, e.responded = a.lease.Sent, a.lease.Answered, now
	if a.pool.hedging != nil {
		e.noteLateness(a, now)
	}
	if !e.raced.IsZero() { // what was waited for before the second try is no doing of the router's
		e.sent = e.raced
	}
	a.lease.Endpoint().Answered(&a.pass, now)
	a.timeLoading(now)
	if e.upload != nil && !e.upload.replayable() { // it came while it was sent
		e.bodyRead = a.lease.Sent
	}
	if !a.events && a.text != nil { // nil: of a websocket
		e.remember(a, a.text.B)
	}
	if len(e.name.route.after) == 0 && e.socket == nil { // nobody will look at it, or send it, any more
		e.freeRequest()
	}
	e.status, e.usage = a.status, a.answer.Usage
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
