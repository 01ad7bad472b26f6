package router

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/formdata"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file is the walk of one request.

// serve walks e to an answer, which respond then sends. An error is one that
// the client is to read.
func (s *Server) serve(e *Exchange) error {
	if e.isPreflight() {
		e.preflight = true
		e.answerEmpty()
		return nil
	}
	if err := e.endure(); err != nil {
		return err
	}
	if err := e.locate(); err != nil {
		if err == errMethod && e.isOptions() {
			e.allow = true
			e.answerEmpty()
			return nil
		}
		return err
	}
	if err := e.authenticate(); err != nil {
		return err
	}
	switch e.op {
	case helixflow.OpListModels:
		return e.listModels()
	case helixflow.OpGetModel:
		return e.getModel()
	}
	if err := e.endureClass(); err != nil {
		return err
	}
	switch e.op {
	case helixflow.OpRealtime, helixflow.OpResponsesSocket:
		return e.openSocket()
	case helixflow.OpPassthrough:
		if err := e.arrive(e.began); err != nil {
			return err
		}
		return e.passOn()
	}
	if err := e.understand(); err != nil {
		if err == errMissingModel && e.passesWithoutModel() {
			return e.passWithoutModel()
		}
		return err
	}
	return e.answer()
}

// understand lets e in, as far as rates go, and finds out what is asked of which
// model.
func (e *Exchange) understand() error {
	if err := e.shed(); err != nil {
		return err
	}
	if err := e.arrive(e.began); err != nil {
		return err
	}
	if err := e.scan(); err != nil {
		return err
	}
	return e.resolve()
}

// answer gets an answer: one that is known, or a backend's.
func (e *Exchange) answer() error {
	if err := e.checkNamed(); err != nil {
		return err
	}
	if err := e.recall(); err != nil || e.replay != nil {
		return err
	}
	if err := e.shedAtRoute(); err != nil {
		return err
	}
	if err := e.admit(); err != nil {
		return err
	}
	if err := e.askBefore(); err != nil {
		return err
	}
	if err := e.lookup(); err != nil || e.known.answer != nil {
		return err
	}
	if e.seat != nil { // with others who ask the same
		return e.fly()
	}
	if err := e.forward(); err != nil {
		return err
	}
	return e.askAfter()
}

// authenticate finds out who asks, from the headers alone: a refusal is cheap.
func (e *Exchange) authenticate() error {
	if e.client.ambiguous {
		return errTwoCredentials
	}
	if e.lacksCertificate() {
		e.conn.closing = true // the next connection is asked for one
		return e.refuse(helixflow.AuthCertificate)
	}
	p, reason := e.recognize()
	if reason != helixflow.AuthAccepted {
		return e.refuse(reason)
	}
	e.principal = p
	return e.authorize()
}

// scan reads the body and finds in it, in one pass, all that routing needs; of a
// form it reads as much as that takes.
func (e *Exchange) scan() error {
	if e.op.Body() == helixflow.FormBody && formdata.IsForm(e.conn.head.ContentType()) {
		return e.scanForm()
	}
	if err := e.readBody(); err != nil {
		return err
	}
	e.bytesIn = int64(len(e.body.B))
	return openai.Scan(e.body.B, e.op, &e.call)
}

// scanForm takes in a form as far as to its model.
func (e *Exchange) scanForm() error {
	if err := e.checkEncoding(); err != nil {
		return err
	}
	u, err := e.openUpload(true, "model")
	if err != nil {
		return err
	}
	if err := u.readAhead(); err != nil {
		return err
	}
	e.named, err = u.findModel(e.srv, e.snap.maxSpool)
	e.bodyRead = time.Now()
	return err
}

// fail turns an error of the walk, or a panic, into the answer.
func (e *Exchange) fail(err error) {
	problem := asProblem(err)
	if e.attempt != nil { // a panic between the answer and its relay
		e.truncated = true
		e.endAttempt(time.Now())
	}
	e.srv.logProblem(e, problem)
	e.problem = problem
	e.answerProblem(problem)
}
