package router

import (
	"errors"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/hook"
	"github.com/helixflow/helixflow/internal/metric"
)

// This file puts one question to a hook and reads its reply, over the transport
// that backends are asked over: its time-outs, its TLS, and a hang-up of the
// client breaks it off. The bodies are not copied: the question is laid around
// them as edits are around a request.

// replyBeside is what a reply may hold beside a body.
const replyBeside = 64 << 10

// hookHeader is what every question carries. Nothing of the client's head does.
const hookHeader = "Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: helixflow-hook\r\n"

// Replies that make no sense, and questions that were not asked. None of them
// repeats what was said.
var (
	errHookBusy      = errors.New("as many questions as max_inflight allows are under way")
	errHookDrained   = errors.New("it is drained")
	errNoTimeToReply = errors.New("the request's own time ran out while it was asked")
	errReplyType     = errors.New("its reply is not application/json")
	errReplySize     = errors.New("its reply is too large")
	errReplyRequest  = errors.New("its body is not a request that the router takes")
	errReplyModel    = errors.New("its body names another model")
	errReplyStream   = errors.New("its body changes whether the answer is streamed")
)

// question asks h once and reads its reply.
func (e *Exchange) question(h *Hook, phase hook.Phase, now time.Time) (hook.Reply, error) {
	if h.members.Eligible(now).Empty() {
		return hook.Reply{}, errHookDrained
	}
	a := attempts.Get().(*Attempt)
	if !h.endpoint.Acquire(&a.lease, h.limit) {
		a.release()
		return hook.Reply{}, errHookBusy
	}
	outcome := backends.Failed
	text, header := buf.Get(512), buf.Get(256)
	defer func() {
		text.Free()
		header.Free()
		e.edits.Reset()
		a.lease.Finish(outcome, time.Now())
		a.release()
	}()
	until := earliest(now.Add(h.timeout), e.deadline())
	header.B = appendHeader(append(header.B, hookHeader...), helixflow.HeaderRequestID, e.id)
	out := backends.Outgoing{
		Credential: h.token, Header: header.B, Hangup: &e.conn.cell,
		Now: now, Connect: h.timeout, FirstByte: h.timeout, Deadline: until,
	}
	text.B = e.appendQuestion(text.B, h, phase)
	out.Body = e.layQuestion(h, phase, text.B)
	out.Edits = &e.edits
	err := a.lease.RoundTrip(&out, &a.head.ResponseHeader)
	if err == nil {
		err = a.readReply(h, until)
	}
	switch {
	case err == nil:
		outcome = backends.Served
		return hook.ReadReply(a.text.B)
	case asTimeout(err) == nil:
		return hook.Reply{}, err
	case e.deadline().Before(now.Add(h.timeout)):
		return hook.Reply{}, errNoTimeToReply
	}
	return hook.Reply{}, &noReply{within: h.timeout}
}

// noReply is the error of a reply that did not come in time.
type noReply struct{ within time.Duration }

// Error says how long was waited, and not where the sockets were then.
func (e *noReply) Error() string { return "no reply within " + e.within.String() }

// appendQuestion appends what stands before the bodies.
func (e *Exchange) appendQuestion(dst []byte, h *Hook, phase hook.Phase) []byte {
	q := hook.Question{
		Phase: phase, Hook: h.name, RequestID: string(e.id), Tenant: e.principal.Tenant, Key: e.principal.KeyName,
		Model: e.modelInWords(), Endpoint: e.op.String(), Stream: e.call.Stream, Status: e.status,
	}
	return q.AppendTo(dst)
}

// modelInWords is the model as configured, or where any is, as the caller named
// it.
func (e *Exchange) modelInWords() string {
	if e.name != e.snap.catchAll {
		return e.name.route.model
	}
	if model := e.wanted(); len(model) > 0 {
		return string(model)
	}
	return string(defaultModeration)
}

// layQuestion lays the question around the body that it is about, and returns
// that. The edits are free: before a try none are laid, and behind an answer
// none are needed.
func (e *Exchange) layQuestion(h *Hook, phase hook.Phase, question []byte) []byte {
	e.edits.Reset()
	e.edits.Insert(0, question)
	if phase == hook.Before {
		e.edits.Insert(int32(len(e.body.B)), questionEnd)
		return e.body.B
	}
	request := questionNoBody
	if e.shows(h, e.body) {
		request = e.body.B
	}
	answer := e.attempt.text.B
	e.edits.Insert(0, request)
	e.edits.Insert(0, questionAnswer)
	e.edits.Insert(int32(len(answer)), questionEnd)
	return answer
}

var (
	questionNoBody = []byte(hook.NoBody)
	questionAnswer = []byte(hook.AnswerKey)
	questionEnd    = []byte(hook.End)
)

// readReply reads a reply whole, if it may be one.
func (a *Attempt) readReply(h *Hook, until time.Time) error {
	most := h.maxBody + replyBeside
	switch {
	case a.head.StatusCode() != statusOK:
		return statusError(a.head.StatusCode())
	case !a.head.isJSON():
		return errReplyType
	case a.lease.BodyLength() > most:
		return errReplySize
	}
	if err := a.readHeld(int(most)+1, h.timeout, until); err != nil {
		return err
	}
	if !a.whole {
		return errReplySize
	}
	return nil
}

// resultOf is what came of a question, for the books.
func resultOf(reply hook.Reply, err error) metric.HookResult {
	f, failed := err.(*backends.Failure)
	_, late := err.(*noReply)
	switch {
	case err == nil && reply.Action == hook.Deny:
		return metric.HookDenied
	case err == nil && reply.Action == hook.Replace:
		return metric.HookReplaced
	case err == nil:
		return metric.HookAllowed
	case err == errHookBusy:
		return metric.HookBusy
	case late, err == errNoTimeToReply:
		return metric.HookTimedOut
	case failed && f.Gone:
		return metric.HookLeft
	}
	return metric.HookFailed
}
