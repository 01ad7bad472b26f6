package router

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/objects"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file listens to what a backend says over a websocket, as far as it takes to
// know what its responses used, and which of them are its tenant's: their client
// will name them.

// How much is kept of a message: what it is, and the id of a response, stand at its
// beginning; what the response used stands at the end of its last message.
const (
	heardBytes  = 512
	rememberFor = 16 << 10 // a larger place for messages is not kept for the next one
)

// ears hear the frames of one backend. They belong to the goroutine of
// that flow.
type ears struct {
	record  func(id []byte)         // nil: ids are nobody's
	used    func(u helixflow.Usage) // by a response that has ended
	head    []byte                  // of a frame, so far
	left    int64                   // bytes of the frame's payload still to come
	control bool                    // the frame is one between those of a message
	final   bool                    // the frame is its message's last one
	kept    []byte                  // what the message at hand begins with
	most    int                     // bytes of it that are kept; 0: enough is known of it
}

// newEars listens for e, whose attempt leads to the backend.
func (e *Exchange) newEars() *ears {
	s := e.socket
	if e.op != helixflow.OpResponsesSocket {
		return &ears{used: func(u helixflow.Usage) {
			s.use(u)
			e.ticket.Raise(time.Now(), e.name.route.demandOf(s.usage)) // nobody else has it while the socket is open
		}}
	}
	a := e.attempt
	pool, tenant, known := a.pool.name, e.principal.Tenant, e.srv.objects
	home := objects.Home{Endpoint: a.lease.Endpoint().Mark()}
	if a.credential != nil {
		home.Credential = a.credential.Mark()
	}
	return &ears{used: s.use, record: func(id []byte) { known.Record(pool, tenant, id, home, time.Now()) }}
}

// hear takes the bytes that are about to be passed on.
func (l *ears) hear(p []byte) {
	for len(p) > 0 {
		if l.left == 0 {
			n := l.begin(p)
			p = p[n:]
			continue
		}
		n := min(int64(len(p)), l.left)
		if l.listens() {
			n = min(n, int64(l.most-len(l.kept)))
			l.kept = append(l.kept, p[:n]...)
		}
		l.skip(n)
		p = p[n:]
	}
}

// begin reads on in a frame's header, and returns how many bytes of it that were.
func (l *ears) begin(p []byte) int {
	before := len(l.head)
	l.head = append(l.head, p[:min(len(p), websocket.MaxHeader-before)]...)
	h, size, err := websocket.ParseHeader(l.head)
	if err != nil || size == 0 {
		return len(l.head) - before // what is broken ends elsewhere
	}
	l.head = l.head[:0]
	l.control = h.Opcode.IsControl()
	switch h.Opcode {
	case websocket.Text:
		l.kept, l.most = l.kept[:0], heardBytes
	case websocket.Binary:
		l.most = 0
	}
	if !l.control {
		l.final = h.Final
	}
	if l.left = h.Length; l.left == 0 {
		l.skip(0)
	}
	return size - before
}

// listens reports whether more of the frame at hand is to be heard.
func (l *ears) listens() bool { return !l.control && len(l.kept) < l.most }

// miss is hear of payload that is not looked at.
func (l *ears) miss(n int64) {
	l.most = 0 // what is known of the message is all that will be
	l.skip(n)
}

// skip steps over payload that was heard, or is not to be.
func (l *ears) skip(n int64) {
	l.left -= n
	whole := l.left == 0 && l.final
	if l.control || l.most == 0 || !whole && len(l.kept) < l.most {
		return
	}
	if l.most == heardBytes {
		l.begun()
	}
	if whole {
		l.ended()
	}
}

// begun makes of what a message begins with what there is to be made of it.
func (l *ears) begun() {
	h := openai.ReadMessageHead(l.kept)
	if h.Response.Present() && l.record != nil {
		l.record(h.Response.In(l.kept))
	}
	l.most = 0
	if h.Ends(l.kept) {
		l.most = maxEvent
	}
}

// ended makes the same of a message that has ended. One of which a part was not heard
// makes no sense.
func (l *ears) ended() {
	if l.most == 0 {
		return
	}
	var ev openai.Event
	openai.ReadMessage(l.kept, &ev)
	if l.most = 0; cap(l.kept) > rememberFor {
		l.kept = nil
	}
	if ev.Terminal && ev.HasUsage {
		l.used(ev.Usage)
	}
}
