package router

import (
	"fmt"
	"strconv"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/internal/hook"
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
	took := now.Sub(e.began)
	if status == statusSwitching {
		took = e.socket.began.Sub(e.began)
	}
	series.Request(e.op, e.call.Stream && e.problem == nil && e.socket == nil, status, took)
	series.Tokens(e.usage)
	if !e.firstToken.IsZero() {
		series.FirstToken(e.firstToken.Sub(e.began))
		if n := e.usage.OutputTokens; n > 1 && e.delivered {
			series.PerToken(now.Sub(e.firstToken) / time.Duration(n-1))
		}
	}
	if !e.responded.IsZero() {
		s.metrics.Overhead(e.overhead())
	}
	if log := s.access.Load(); log != nil {
		e.logAccess(log, status, now)
	}
}

// logAccess writes the exchange's line. What a client sent is copied.
func (e *Exchange) logAccess(log *accesslog.Log, status int, now time.Time) {
	r := accesslog.Record{
		Time: e.began, Client: e.from, Op: e.op, Backend: e.backend, Stream: e.call.Stream,
		Status: status, Cut: e.truncated, Left: status == statusClientGone, Replay: e.replay != nil, Tries: e.tries,
		Cache:   e.known.result.String(),
		BytesIn: e.bytesIn, BytesOut: e.relay.sent, Total: now.Sub(e.began), Queue: e.queued, Usage: e.usage,
	}
	if status == statusSwitching {
		r.Stream, r.Left, r.End = false, e.left, e.socket.end.Load().as.String()
	}
	if known := e.known.answer; known != nil {
		r.Usage = known.Usage
	} else if e.coalesced() {
		r.Usage = e.known.usage
	}
	r.ID.Set(e.id)
	r.Asked = e.asked
	if p := e.principal; p != nil {
		r.Tenant, r.KeyName, r.KeyID = p.Tenant, p.KeyName, p.KeyID
	}
	if e.name != nil {
		r.Model = e.name.route.model
	}
	if r.Hooks = e.looked.wait; e.looked.hook != "" {
		r.Hook, r.HookResult = e.looked.hook, e.looked.result.String()
	}
	if p := e.below.prefix; p != nil {
		r.Prefix = p.path
	}
	if d := &e.decision; e.chosenBy != "" && d.Reason != balancer.ReasonPolicy {
		r.Policy, r.Reason, r.Costed = e.chosenBy, d.Reason.String(), d.Costed
		r.Hit, r.Ahead, r.Cost, r.Second = d.Hit, duration(d.Wait), duration(d.Cost), duration(d.Second)
	}
	r.Hedge = e.hedged.String()
	e.shadowed.record(&r)
	r.Hashes = e.hashes
	if e.problem != nil {
		r.Problem, r.Kind = true, e.problem.Kind
	}
	if !e.firstToken.IsZero() {
		r.FirstToken = e.firstToken.Sub(e.began)
	}
	if !e.responded.IsZero() {
		r.Overhead = e.overhead()
	}
	log.Write(&r)
}

// duration is seconds, of which there may be many.
func duration(s float64) time.Duration { return time.Duration(min(s, 1e9) * float64(time.Second)) }

// overhead is what the router added before the client got the answer's first
// frame, waiting for room apart: the time between the whole request and its sending, and between the
// first byte of the answer and the frame in hand.
func (e *Exchange) overhead() time.Duration {
	return e.sent.Sub(e.bodyRead) - e.queued + e.responded.Sub(e.answered)
}

// statusClientGone is nginx's status for a client that left.
const statusClientGone = 499

// logFailure tells the operator of a backend's failure, at most once a second
// for all of them: a dead backend must not fill the disk.
func (s *Server) logFailure(e *Exchange, f *backends.Failure) {
	if f == nil || f.Gone || f.Asker != nil {
		return
	}
	s.lately.note(f.Backend, f.Error(), time.Now())
	if dropped, ok := s.failures.allow(time.Now()); ok {
		s.log.Warn("backend failed", "request_id", string(e.id), "model", e.name.route.model, "backend", f.Backend,
			"try", e.tries, "error", f.Error(), "unreported_before", dropped)
	}
}

// logHook tells the operator of a hook that failed.
func (s *Server) logHook(e *Exchange, h *Hook, phase hook.Phase, err error) {
	now := time.Now()
	s.lately.note("hook "+h.name, err.Error(), now)
	if dropped, ok := s.failures.allow(now); ok {
		s.log.Warn("hook failed", "request_id", string(e.id), "model", e.name.route.model, "hook", h.name,
			"phase", phase.String(), "error", err.Error(), "unreported_before", dropped)
	}
}

// logRetry tells the operator of a try that another one follows.
func (s *Server) logRetry(e *Exchange, a *Attempt, f *backends.Failure, status int) {
	if f == nil {
		f = &backends.Failure{Phase: backends.PhaseHead, Backend: a.lease.Endpoint().URL(), Err: statusError(status)}
	}
	s.logFailure(e, f)
}

// statusError is an answer's status as the reason of a failed try.
type statusError int

// Error names the status.
func (s statusError) Error() string { return "it answered " + strconv.Itoa(int(s)) }

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
	switch p.Kind {
	case helixflow.KindInternal, helixflow.KindBackendCredential, helixflow.KindNoSpool:
	default:
		return
	}
	if dropped, ok := s.failures.allow(time.Now()); ok {
		s.log.Error("request failed", "request_id", string(e.id), "error", p.Error(), "unreported_before", dropped)
	}
}
