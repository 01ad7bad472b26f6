package router

import (
	"fmt"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
)

// This file books what an exchange was, once, at its end.

// account counts the exchange, which ended at now. Requests that found no model are counted under
// the name of none, so that no caller can invent series.
func (e *Exchange) account(now time.Time) {
	s := e.srv
	series := s.noModel
	if e.name != nil {
		series = e.name.route.series
	}
	status := e.status
	if !e.delivered && (e.left || e.conn.Gone()) { // one that leaves with the whole answer is served
		status = statusClientGone
		s.metrics.ClientDisconnect()
	} else if e.truncated {
		s.metrics.StreamTruncation()
	}
	series.Request(e.op, e.call.Stream && e.problem == nil, status, now.Sub(e.began))
	series.Tokens(e.usage)
	if !e.firstToken.IsZero() {
		series.FirstToken(e.firstToken.Sub(e.began))
	}
	if !e.responded.IsZero() {
		s.metrics.Overhead(e.overhead())
	}
}

// overhead is what the router added before the client got the answer's first
// frame: the time between the whole request and its sending, and between the
// first byte of the answer and the frame in hand.
func (e *Exchange) overhead() time.Duration {
	return e.sent.Sub(e.bodyRead) + e.responded.Sub(e.answered)
}

// statusClientGone is nginx's status for a client that left.
const statusClientGone = 499

// logFailure tells the operator of a backend's failure, at most once a second
// for all of them: a dead backend must not fill the disk.
func (s *Server) logFailure(e *Exchange, f *backends.Failure) {
	if f == nil || f.Gone {
		return
	}
	if dropped, ok := s.failures.allow(time.Now()); ok {
		s.log.Warn("backend failed", "request_id", string(e.id), "model", e.name.route.model, "backend", f.Backend,
			"try", e.tries, "error", f.Error(), "unreported_before", dropped)
	}
}

// logPanic tells the operator of a panic, in e if it is known; stack is where.
func (s *Server) logPanic(e *Exchange, cause any, stack []byte) {
	s.metrics.Panic()
	id := ""
	if e != nil {
		id = string(e.id)
	}
	s.log.Error("panic", "request_id", id, "error", fmt.Sprint(cause), "stack", string(stack))
}

// logProblem tells the operator of an error that only the operator can mend.
func (s *Server) logProblem(e *Exchange, p *helixflow.Error) {
	if p.Kind != helixflow.KindInternal && p.Kind != helixflow.KindBackendCredential {
		return
	}
	if dropped, ok := s.failures.allow(time.Now()); ok {
		s.log.Error("request failed", "request_id", string(e.id), "error", p.Error(), "unreported_before", dropped)
	}
}
