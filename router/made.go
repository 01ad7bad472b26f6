package router

import (
	"bytes"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/objects"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file records what answers tell of that was made, before the client can read
// of it, and forgets what was deleted.

// remember reads an answer, or as much of it as is in hand.
func (e *Exchange) remember(a *Attempt, text []byte) {
	if a.status < 200 || a.status >= 300 {
		return
	}
	switch {
	case e.op == helixflow.OpResponses && !e.call.NoStore:
		e.rememberResponse(a, text)
	case e.op == helixflow.OpVideos && a.pool.keeps:
		e.record(a, text, openai.ReadID(text))
	case e.op == helixflow.OpPassthrough && !e.below.prefix.shared:
		e.rememberPassed(a, text)
	}
}

// rememberEvent is remember of an event of a stream.
func (e *Exchange) rememberEvent(a *Attempt, one []byte, ev *openai.Event) {
	switch {
	case e.op == helixflow.OpResponses && ev.Response.Present() && !e.call.NoStore:
		e.rememberResponse(a, ev.Response.In(one))
	case e.op == helixflow.OpPassthrough && e.method() == "POST":
		if data := openai.CreatedData(one); data != nil {
			e.remember(a, data)
		}
	}
}

// rememberResponse records a response, and where that can be named what is in it.
func (e *Exchange) rememberResponse(a *Attempt, response []byte) {
	if !a.pool.keeps {
		e.record(a, response, openai.ReadID(response))
		return
	}
	e.recordAll(a, response, openai.ReadMade(response, "responses", true))
}

// rememberPassed reads what a POST made, and what has come of an object that is
// looked at. Answers below an object are not read: they may be what a client wrote,
// as the content of a file is.
func (e *Exchange) rememberPassed(a *Attempt, text []byte) {
	id, rest := nextID(e.below.rest())
	looked := id != nil && len(rest) == 0
	switch m := e.method(); {
	case m == "DELETE" && looked:
		e.srv.objects.Forget(a.pool.name, e.principal.Tenant, decodedSegment(id))
	case m == "POST", looked && m != "DELETE":
		e.recordAll(a, text, openai.ReadMade(text, e.below.collection(), m == "POST"))
	}
}

// collection is the segment in front of the path's first id, or its last one.
func (b *below) collection() string {
	head := b.path
	if id, rest := nextID(b.rest()); id != nil {
		head = head[:len(head)-len(rest)-len(id)-1]
	}
	return string(head[bytes.LastIndexByte(head, '/')+1:])
}

func (e *Exchange) recordAll(a *Attempt, text []byte, made openai.Made) {
	for _, id := range made.Spans() {
		e.record(a, text, id)
	}
}

func (e *Exchange) record(a *Attempt, text []byte, id openai.Span) {
	if !id.Present() {
		return
	}
	home := objects.Home{Endpoint: a.lease.Endpoint().Mark()}
	if a.credential != nil {
		home.Credential = a.credential.Mark()
	}
	e.srv.objects.Record(a.pool.name, e.principal.Tenant, id.In(text), home, time.Now())
}
