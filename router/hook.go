package router

import (
	"time"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/hook"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file is what hooks have to do with a request: when they are asked, and
// what follows. A model without hooks pays for two empty loops (ADR 14).

// Hook is a service that looks at requests or answers.
type Hook struct {
	name       string
	url        string
	requests   bool // it sees them
	answers    bool
	timeout    time.Duration
	maxBody    int64
	limit      int32  // questions at once; 0 is no bound
	passErrors bool   // on_error
	passUnseen bool   // on_unseen
	token      []byte // header line; nil for none
	endpoint   *backends.Endpoint
	members    *backends.Members
	series     *metric.HookSeries
}

// looked is what hooks have done with an exchange, for account.
type looked struct {
	hook   string            // the last one that did not just allow
	result metric.HookResult // what it did instead
	wait   time.Duration     // for all of them
}

// askBefore shows the request to the route's hooks, one after the other: each
// sees what those before it made of it.
func (e *Exchange) askBefore() error {
	r := e.name.route
	if len(r.before)+len(r.after) == 0 {
		return nil
	}
	if err := e.showable(); err != nil {
		return err
	}
	for _, h := range r.before {
		if !e.shows(h, e.body) {
			e.unseen(h, hook.Before)
			continue
		}
		if err := e.ask(h, hook.Before); err != nil {
			return err
		}
	}
	return nil
}

// showable refuses a request that a hook must see, or whose answer it must, if
// that is known to be impossible. on_error has no say here, else a caller could
// choose not to be checked.
func (e *Exchange) showable() error {
	r := e.name.route
	if e.body != nil && !utf8.Valid(e.body.B) {
		return errNotUTF8 // a hook's parser would stumble over it, or read something else
	}
	for _, h := range r.before {
		switch {
		case h.passUnseen || e.shows(h, e.body):
		case e.body == nil:
			return errUnseen
		default:
			return tooLarge(h.maxBody)
		}
	}
	for _, h := range r.after {
		switch {
		case h.passUnseen:
		case e.socket != nil:
			return errUnseen
		case e.call.Stream:
			return errUnseenStream
		}
	}
	return nil
}

// shows reports whether h may be shown this body.
func (e *Exchange) shows(h *Hook, body *buf.Buffer) bool {
	return body != nil && int64(len(body.B)) <= h.maxBody
}

// unseen books that h was passed over.
func (e *Exchange) unseen(h *Hook, phase hook.Phase) {
	e.looked.hook, e.looked.result = h.name, metric.HookUnseen
	h.series.Asked(phase == hook.After, metric.HookUnseen, 0)
}

// answersUnseen books that what a websocket says is shown to nobody.
func (e *Exchange) answersUnseen() {
	for _, h := range e.name.route.after {
		e.unseen(h, hook.After)
	}
}

// askAfter shows a whole answer to the route's hooks before the client gets any
// of it. An error that a backend answered says nothing a model said, and passes.
func (e *Exchange) askAfter() error {
	r := e.name.route
	if len(r.after) == 0 {
		return nil
	}
	err := e.askAboutAnswer(r)
	if err != nil {
		e.endAttempt(e.responded)
	}
	e.freeRequest()
	return err
}

func (e *Exchange) askAboutAnswer(r *Route) error {
	a := e.attempt
	if a == nil || e.status < 200 || e.status > 299 {
		return nil
	}
	visible := a.whole && !a.events && openai.IsObject(a.text.B) && utf8.Valid(a.text.B)
	if a.whole && !a.events {
		a.leave(backends.Served, a.served(e.status, e.responded), e.responded)
	}
	for _, h := range r.after {
		if visible && e.shows(h, a.text) {
			if err := e.ask(h, hook.After); err != nil {
				return err
			}
			continue
		}
		e.unseen(h, hook.After)
		if !h.passUnseen {
			return errWithheld
		}
	}
	return nil
}

// ask asks h and does what it says. An error is what the client is to read.
func (e *Exchange) ask(h *Hook, phase hook.Phase) error {
	began := time.Now()
	reply, err := e.question(h, phase, began)
	if err == nil && reply.Action == hook.Replace {
		err = e.adopt(h, phase, reply.Body)
	}
	now := time.Now()
	result := resultOf(reply, err)
	h.series.Asked(phase == hook.After, result, now.Sub(began))
	e.waited(phase, now.Sub(began))
	if result != metric.HookAllowed {
		e.looked.hook, e.looked.result = h.name, result
	}
	switch result {
	case metric.HookAllowed, metric.HookReplaced:
		return nil
	case metric.HookDenied:
		return &helixflow.Error{Kind: helixflow.KindDenied, Public: reply.Message, Code: reply.Code}
	case metric.HookLeft:
		return e.brokenOff()
	}
	e.srv.logHook(e, h, phase, err)
	switch {
	case err == errNoTimeToReply:
		return errNoTime // nothing passes: a slow caller could bring that about
	case h.passErrors:
		return nil
	}
	return errHookFailed
}

// waited keeps the time that a hook took out of what the router itself took:
// the request, or its answer, is as if it had come later.
func (e *Exchange) waited(phase hook.Phase, took time.Duration) {
	e.looked.wait += took
	if phase == hook.Before {
		e.bodyRead = e.bodyRead.Add(took)
		return
	}
	e.answered = e.answered.Add(took)
	e.responded = e.responded.Add(took)
}

// adopt puts a hook's body in the place of the request's or the answer's.
func (e *Exchange) adopt(h *Hook, phase hook.Phase, body []byte) error {
	if int64(len(body)) > h.maxBody {
		return errReplySize
	}
	if phase == hook.After {
		e.attempt.text.Free()
		e.attempt.text = &buf.Buffer{B: body}
		return nil
	}
	var call openai.Call
	switch err := e.scanOf(body, &call); {
	case err != nil, string(call.Type.In(body)) != string(e.call.Type.In(e.body.B)):
		return errReplyRequest
	case int64(len(body)) > e.snap.maxBody:
		return errReplySize
	case string(call.ModelName(body)) != string(e.call.ModelName(e.body.B)):
		return errReplyModel
	case call.Stream != e.call.Stream:
		return errReplyStream
	}
	e.body.Free()
	e.body = &buf.Buffer{B: body}
	e.call = call
	return nil
}

// scanOf scans a body that takes the place of the request's.
func (e *Exchange) scanOf(body []byte, call *openai.Call) error {
	if e.socket != nil {
		return openai.ScanEvent(body, call)
	}
	return openai.Scan(body, e.op, call)
}
