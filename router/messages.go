package router

import (
	"errors"
	"os"
	"time"
	"unicode/utf8"

	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file makes messages of the frames of one client, by RFC 6455 and no looser.

// maxControl is the longest payload of a control frame.
const maxControl = 125

// assembly is where the reading of frames stands.
type assembly struct {
	frame   websocket.Header
	inFrame bool
	left    int64 // bytes of the frame's payload still to come
	began   time.Time
	open    bool // a message has begun; its bytes are in the Exchange's body
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
	d.s.note(endClient) // before the backend can answer
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
