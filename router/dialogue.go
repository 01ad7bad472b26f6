package router

import (
	"bytes"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file is the client's side of the websocket of responses. Its messages are
// read whole, since the first one says where the websocket leads, and each may say
// something that its sender may not.

// createEvent is the type of an event that asks for a response.
const createEvent = "response.create"

// dialogue reads the messages of one client. It belongs to that client's goroutine.
type dialogue struct {
	e     *Exchange
	s     *socket
	model []byte // that the first message named; nil before there is a backend

	assembly
}

// message does what a message asks for.
func (d *dialogue) message() error {
	e := d.e
	e.bodyRead = time.Now()
	if err := openai.ScanEvent(e.body.B, &e.call); err != nil {
		return err
	}
	kind := string(e.call.Type.In(e.body.B))
	model := e.call.ModelName(e.body.B)
	switch {
	case kind == "":
		return errNoType
	case d.model != nil && model != nil && !bytes.Equal(model, d.model):
		return errOtherModel
	case d.model != nil:
		return d.send(kind)
	case kind != createEvent:
		return errFirstEvent
	}
	if err := e.resolve(); err != nil {
		return err
	}
	if err := e.checkNamed(); err != nil {
		return err
	}
	if err := e.admit(); err != nil {
		return err
	}
	if err := e.askBefore(); err != nil {
		return err
	}
	e.answersUnseen()
	if err := e.forward(); err != nil {
		return err
	}
	if !e.attempt.lease.Switched() {
		return errDeclined
	}
	d.model = bytes.Clone(model)
	e.joinBackend()
	return d.write()
}

// send passes a later message on. Each response that is asked for counts as a
// request.
func (d *dialogue) send(kind string) error {
	e := d.e
	if err := e.checkNamed(); err != nil {
		return err
	}
	if kind == createEvent {
		e.settle(e.bodyRead, true)
		if err := e.arrive(e.bodyRead); err != nil {
			return err
		}
		if err := e.admit(); err != nil {
			return err
		}
	}
	if err := e.askBefore(); err != nil {
		return err
	}
	t := e.prepared
	e.prepared = nil
	if err := e.prepare(t); err != nil {
		return err
	}
	return d.write()
}

// write writes the message with its edits to the backend.
func (d *dialogue) write() error {
	e := d.e
	var store [8][]byte
	if err := d.s.backend.send(e.edits.Segments(store[:0], e.body.B), e.edits.Size(e.body.B)); err != nil {
		return writeError{err}
	}
	return nil
}

// errDeclined stands for the answer of a backend that opened no websocket.
var errDeclined = &helixflow.Error{Kind: helixflow.KindBackendBroken}

// refuse tells the client of an error. Before there is a backend it is the end.
func (d *dialogue) refuse(p *helixflow.Error) error {
	e := d.e
	b := buf.Get(512)
	defer b.Free()
	if p == errDeclined && e.attempt.whole {
		b.B = openai.AppendErrorEvent(b.B, e.attempt.status, e.attempt.text.B)
	} else {
		b.B = problemEvent(b.B, p)
	}
	frame := websocket.AppendFrame(nil, websocket.Text, b.B, false)
	why := endRefused
	switch {
	case p == errClientGone:
		why = endLeft
	case retryable(p):
		why = endRefusedNow
	}
	_ = d.told(d.s.client.say(frame), endStall)
	if d.model == nil {
		e.srv.logProblem(e, p)
		e.problem = p
		d.s.stop(why)
	}
	return nil
}
