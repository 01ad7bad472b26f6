package router

import (
	"time"

	"github.com/helixflow/helixflow/internal/objects"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file listens to what a backend says over the websocket of responses, as far
// as it takes to know which responses are its tenant's: their client will name them.

// heardBytes is how much is kept of a message: an id stands at its beginning.
const heardBytes = 512

// ears hear the frames of one backend. They belong to the goroutine of
// that flow.
type ears struct {
	record  func(id []byte)
	head    []byte // of a frame, so far
	left    int64  // bytes of the frame's payload still to come
	control bool   // the frame is one between those of a message
	kept    []byte // what the message at hand begins with
	enough  bool   // of the message
}

// newEars listens for e, whose attempt leads to the backend.
func (e *Exchange) newEars() *ears {
	a := e.attempt
	pool, tenant, known := a.pool.name, e.principal.Tenant, e.srv.objects
	home := objects.Home{Endpoint: a.lease.Endpoint().Mark()}
	if a.credential != nil {
		home.Credential = a.credential.Mark()
	}
	return &ears{record: func(id []byte) { known.Record(pool, tenant, id, home, time.Now()) }}
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
		if !l.control && !l.enough {
			l.kept = append(l.kept, p[:min(int(n), heardBytes-len(l.kept))]...)
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
	if h.Opcode == websocket.Text {
		l.kept, l.enough = l.kept[:0], false
	}
	l.left = h.Length
	return size - before
}

// skip is hear of payload that is not looked at.
func (l *ears) skip(n int64) {
	l.left -= n
	if l.control || l.enough || l.left > 0 && len(l.kept) < heardBytes {
		return
	}
	if id := openai.ReadResponseID(l.kept).In(l.kept); id != nil {
		l.record(id)
		l.enough = true
	}
	l.enough = l.enough || len(l.kept) == heardBytes
}
