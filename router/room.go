package router

import (
	"time"

	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
)

// This file tells the limit that is found out for a backend what the beginning
// of each answer says about room there.

// room is what a try remembers of the backend it went to: the limit to be told,
// and how many requests were there. The zero value is of one whose limit is not
// looked for.
type room struct {
	limit    *balancer.Concurrency
	inflight int32
}

func (c *room) enter(to *balancer.Candidate) {
	if to.Concurrency != nil {
		c.limit, c.inflight = to.Concurrency, to.Load.InFlight()
	}
}

// learnRoom tells the limit of a's backend how a began.
func (e *Exchange) learnRoom(a *Attempt, r backends.Report, now time.Time) {
	if a.room.limit == nil || e.socket != nil {
		return
	}
	answer := balancer.Answer{Sent: a.lease.Sent, InFlight: a.room.inflight, Refused: isRefusal(r)}
	switch {
	case answer.Refused && answer.Sent.IsZero():
		answer.Sent = now
	case answer.Refused:
	case r.Err != nil || r.Status >= 400:
		return // it tells nothing of room
	case a.events && e.body != nil:
		answer.Slowness = float64(unremarkable+now.Sub(a.lease.Sent)) / float64(unremarkable+e.prefillTime())
	}
	if a.room.limit.Observe(answer, now) {
		a.pool.freed(now)
	}
}

// isRefusal reports whether a try ended so that fewer at once may end better.
func isRefusal(r backends.Report) bool {
	return r.Evidence == backends.Pressed || r.Evidence == backends.Slow || hasNoRoom(r.Status)
}

const (
	// unremarkable is by how much a first token may be late that nobody would
	// notice: without it an engine that answers in a millisecond would be blamed
	// for taking two.
	unremarkable = 50 * time.Millisecond
	// How many bytes of a request are a token of its prompt: rough, since what
	// comes of it is only compared with itself.
	bytesPerToken = 4
)

// prefillTime is about how long a backend that does nothing else needs for the
// request's prompt.
func (e *Exchange) prefillTime() time.Duration {
	tokens := e.expected.InputTokens
	if tokens == 0 {
		c := &e.call
		bytes := c.Messages.Len() + c.Input.Len() + c.Prompt.Len() + c.Instructions.Len() + c.Tools.Len()
		tokens = int64(bytes / bytesPerToken)
	}
	return time.Duration(balancer.PrefillSeconds(tokens) * float64(time.Second))
}
