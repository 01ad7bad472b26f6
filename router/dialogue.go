package router

import (
	"bytes"
	"errors"
	"os"
	"time"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file is the client's side of the websocket of responses. Its messages are
// read whole, since the first one says where the websocket leads, and each may say
// something that its sender may not.

// maxControl is the longest payload of a control frame.
const maxControl = 125

// createEvent is the type of an event that asks for a response.
const createEvent = "response.create"

// dialogue reads the messages of one client. It belongs to that client's goroutine.
type dialogue struct {
	e     *Exchange
	s     *socket
	model []byte // that the first message named; nil before there is a backend

	frame   websocket.Header
	inFrame bool
	left    int64 // bytes of the frame's payload still to come
	began   time.Time
	open    bool // a message has begun; its bytes are in e.body
	control [maxControl]byte
	n       int // bytes of control
}

// protocolError ends the socket of a client that breaks the rules.
type protocolError struct{ end *ending }

// Error names the rule.
func (p *protocolError) Error() string { return p.end.reason }

var (
	errBadFrame    = &protocolError{endProtocol}
	errNotText     = &protocolError{endUnsupported}
	errBadText     = &protocolError{endUTF8}
	errMessageSize = &protocolError{endTooBig}
	errMessageSlow = &protocolError{endTooSlow}
)

// take reads the frames that are here.
func (d *dialogue) take() error {
	in := &d.s.up.in
	for !d.s.up.closed {
		if !d.inFrame {
			h, size, err := websocket.ParseHeader(in.unread())
			if err != nil {
				return err
			}
			if size == 0 {
				break
			}
			in.take(size)
			d.s.up.count(int64(size))
			if err := d.begin(&h); err != nil {
				return err
			}
		}
		p := in.unread()
		p = p[:min(int64(len(p)), d.left)]
		d.keep(p)
		in.take(len(p))
		d.s.up.count(int64(len(p)))
		if d.left > 0 {
			break
		}
		if err := d.end(); err != nil {
			return err
		}
	}
	if d.open && !fastEnough(len(d.e.body.B), time.Since(d.began)) {
		return errMessageSlow
	}
	return nil
}

// begin looks over a frame's header.
func (d *dialogue) begin(h *websocket.Header) error {
	control := h.Opcode.IsControl()
	switch {
	case !h.Masked, h.Reserved != 0, !h.Opcode.IsKnown():
		return errBadFrame
	case h.Opcode == websocket.Binary:
		return errNotText
	case !control && d.open != (h.Opcode == websocket.Continuation):
		return errBadFrame
	case !control && d.held()+h.Length > d.e.snap.maxBody:
		return errMessageSize
	}
	d.frame, d.inFrame, d.left, d.n = *h, true, h.Length, 0
	if !control && !d.open {
		d.open, d.began = true, time.Now()
		d.e.body = buf.Get(int(min(h.Length, bodyStep)))
	}
	return nil
}

func (d *dialogue) held() int64 {
	if !d.open {
		return 0
	}
	return int64(len(d.e.body.B))
}

// keep takes in bytes of the frame's payload.
func (d *dialogue) keep(p []byte) {
	at := d.frame.Length - d.left
	d.left -= int64(len(p))
	if d.frame.Opcode.IsControl() {
		begin := d.n
		d.n += copy(d.control[begin:], p)
		websocket.Mask(d.control[begin:d.n], d.frame.Key, at)
		return
	}
	d.e.body = d.e.body.Grow(len(p))
	begin := len(d.e.body.B)
	d.e.body.B = append(d.e.body.B, p...)
	websocket.Mask(d.e.body.B[begin:], d.frame.Key, at)
}

// end does what a whole frame asks for.
func (d *dialogue) end() error {
	d.inFrame = false
	switch {
	case d.frame.Opcode.IsControl():
		return d.answer(d.control[:d.n])
	case !d.frame.Final:
		return nil
	}
	d.open = false
	defer d.forget()
	if d.s.ending.Load() {
		return nil // it is too late for more
	}
	if !utf8.Valid(d.e.body.B) {
		return errBadText
	}
	err := d.message()
	if err == nil {
		return nil
	}
	if _, ok := err.(writeError); ok {
		return err
	}
	return d.refuse(asProblem(err))
}

// forget lets go of a message that was dealt with.
func (d *dialogue) forget() {
	d.e.body.Free()
	d.e.body = nil
	d.e.edits.Reset()
}

// answer answers a control frame, or passes it on to who is there to answer.
func (d *dialogue) answer(payload []byte) error {
	op := d.frame.Opcode
	if op == websocket.Close {
		return d.close(payload)
	}
	if d.model != nil {
		return d.told(d.s.backend.say(websocket.AppendFrame(nil, op, payload, true)), endBackendStall)
	}
	if op == websocket.Ping {
		return d.told(d.s.client.say(websocket.AppendFrame(nil, websocket.Pong, payload, false)), endStall)
	}
	return nil
}

// close passes the client's goodbye on, or answers it.
func (d *dialogue) close(payload []byte) error {
	status, reason := websocket.StatusNormal, ""
	if len(payload) > 0 {
		if status = websocket.CloseStatus(payload); !websocket.ValidStatus(status) || !utf8.Valid(payload[2:]) {
			return errBadFrame
		}
		reason = string(payload[2:])
	}
	d.s.up.closed = true
	if d.model == nil {
		d.s.client.part(status, "")
	} else {
		d.s.backend.part(status, reason)
	}
	return nil
}

// told is what to do about the failure of a frame of our own: whoever takes nothing
// is let go; who left is known elsewhere.
func (d *dialogue) told(err error, stalled *ending) error {
	if err == errWaiting || errors.Is(err, os.ErrDeadlineExceeded) {
		d.s.stop(stalled)
	}
	return nil
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
		e.settle(e.bodyRead)
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
