package router

import (
	"bytes"
	"errors"
	"io"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file makes a backend's answer what the client asked for, where that takes
// no guessing. Engines say in many shapes what went wrong, some of them with
// status 200, and some send the right thing under the wrong name. An answer that
// is as OpenAI's passes byte for byte, and its body is walked no more than once.

// want is what the client asked for.
type want struct {
	understood bool // of an operation whose answers have a known shape
	stream     bool
}

// made is the content type of an answer whose own says something else.
type made uint8

const (
	asSent made = iota
	madeJSON
	madeEvents
)

// read reads as much of the answer as must be in hand before the client sees any
// of it.
func (a *Attempt) read(out *backends.Outgoing, route *Route) error {
	switch {
	case a.status >= 300:
	case a.head.isEventStream():
		a.events = true
	case a.want.stream && !a.head.isEncoded():
		if err := a.sniff(out, route); err != nil {
			return err
		}
	}
	if a.events {
		return a.readFirstEvent(out, route)
	}
	return a.readHeld(route.held, route.idle, out.Deadline)
}

// sniff reads until it is clear whether the answer is a stream of events under
// another name.
func (a *Attempt) sniff(out *backends.Outgoing, route *Route) error {
	a.text = buf.Get(1 << 10)
	until := earliest(a.lease.Sent.Add(route.firstToken), out.Deadline)
	for len(a.text.B) < maxPreamble {
		switch openai.Sniff(a.text.B) {
		case openai.MediaUnknown:
		case openai.MediaEvents:
			a.events, a.made = true, madeEvents
			return nil
		default:
			return nil
		}
		a.lease.Wait(a.lease.Answered, until.Sub(a.lease.Answered))
		p, err := a.lease.Next()
		if err == io.EOF {
			a.whole = true
			return nil
		}
		if err != nil {
			return err
		}
		a.text = a.text.Grow(len(p))
		a.text.B = append(a.text.B, p...)
	}
	return nil
}

// suit makes the answer in hand what the client asked for, or fails.
func (a *Attempt) suit(op helixflow.Op) error {
	switch {
	case op == helixflow.OpPassthrough: // as it is
		return nil
	case a.status >= 400:
		if op != helixflow.OpMessages && op != helixflow.OpMessagesCountTokens { // their errors are Anthropic's
			a.complain(a.fault())
		}
		return nil
	case !a.want.understood || a.head.isEncoded() || a.status == statusNoContent:
		if a.whole && !a.events && op.Body() != helixflow.NoBody {
			a.answer = openai.ReadAnswer(a.text.B)
		}
		return nil
	case a.status >= 300:
		return a.unfit(errRedirect)
	case a.events && !a.want.stream:
		return a.unfit(errUnaskedStream)
	case a.events:
		return nil
	}
	return a.suitDocument(op)
}

// suitDocument is suit of an answer that is not a stream.
func (a *Attempt) suitDocument(op helixflow.Op) error {
	if !a.head.isJSON() {
		if !a.head.isText() {
			return nil // embeddings as bytes, where that was asked for
		}
		a.made = madeJSON
	}
	if openai.Sniff(a.text.B) != openai.MediaJSON {
		return a.unfit(errNotJSON)
	}
	if a.whole {
		a.answer = openai.ReadAnswer(a.text.B)
	}
	switch {
	case a.answer.Failed:
		f := a.fault()
		a.status = faultStatus(&f)
		a.complain(f)
	case a.want.stream:
		return a.stream(op)
	case a.answer.Odd:
		text := buf.Get(len(a.text.B))
		text.B = openai.AppendMendedAnswer(text.B, a.text.B)
		a.put(text)
	}
	return nil
}

// stream makes a stream of a whole answer: its backend does not know how.
func (a *Attempt) stream(op helixflow.Op) error {
	if !a.answer.Choices || !(op == helixflow.OpChatCompletions || op == helixflow.OpCompletions) {
		return a.unfit(errNoStream)
	}
	text := buf.Get(len(a.text.B) + 64)
	text.B = openai.AppendAsStream(text.B, a.text.B, op)
	a.put(text)
	a.events, a.made = true, madeEvents
	return nil
}

// put makes text the body in hand.
func (a *Attempt) put(text *buf.Buffer) {
	a.text.Free()
	a.text = text
}

// fault reads the error that the answer is.
func (a *Attempt) fault() openai.Fault {
	if a.head.isEncoded() {
		return openai.Fault{}
	}
	return openai.ReadFault(a.text.B)
}

// complain makes f, which was read from the answer, its whole body.
func (a *Attempt) complain(f openai.Fault) {
	if !a.head.isJSON() || a.head.isEncoded() {
		a.made = madeJSON
	}
	a.events = false
	if f.Regular && a.whole {
		return
	}
	text := buf.Get(len(a.text.B) + 256)
	text.B = f.AppendBody(text.B, faultDefault(a.status))
	a.put(text)
	a.whole = true
}

// complainEvent is complain of a stream that begins with an error: its status
// went out before the engine knew, but no further than here.
func (a *Attempt) complainEvent(ev []byte) {
	f := openai.EventFault(ev)
	a.status = faultStatus(&f)
	f.Regular = false // the body is more than the event's data
	a.complain(f)
}

// unfit is the failure of an answer that cannot be made what was asked for.
func (a *Attempt) unfit(why error) error {
	return &backends.Failure{Phase: backends.PhaseBody, Backend: a.lease.Endpoint().URL(), Err: why}
}

var (
	errRedirect      = errors.New("it redirects, which is not followed")
	errNotJSON       = errors.New("its answer is not JSON")
	errNoStream      = errors.New("it answered as a whole though a stream was asked for")
	errUnaskedStream = errors.New("it answered with a stream that was not asked for")
)

// isOtherForm reports whether a backend merely cannot do what one client asked:
// that is nothing to take it out for.
func isOtherForm(f *backends.Failure) bool { return f.Err == errNoStream || f.Err == errUnaskedStream }

// isJSON reports whether the answer says that it is JSON.
func (h *answerHead) isJSON() bool {
	return h.isMedia("application/json") || bytes.Contains(h.ContentType(), []byte("+json"))
}

// isText reports whether the answer says a type that servers say of everything,
// or none.
func (h *answerHead) isText() bool {
	return len(h.ContentType()) == 0 || h.isMedia("text/") || h.isMedia("application/x-ndjson") || h.isMedia("application/jsonl")
}

// isEncoded reports whether the body is compressed, though nobody asked for it.
func (h *answerHead) isEncoded() bool {
	v := h.ContentEncoding()
	return len(v) > 0 && !bytes.EqualFold(v, []byte("identity"))
}
