package router

import (
	"net/netip"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/idempotency"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/router/admission"
)

// Exchange is one request and its answer: all that the walk needs, in typed
// fields. begin takes one from the pool, finish gives it back; in between it
// belongs to the goroutine of its connection.
type Exchange struct {
	progress
	call    openai.Call
	edits   openai.Edits
	tried   []balancer.Mask // of each of the route's targets
	byLists bool            // who does not list the model is left out
	relay   relay           // writes the answer
	onLate  func()          // begins a race; see watchForLate
	pass    func() bool     // passes on what is plain; see passable
	asked   accesslog.Text  // the model as the client named it
	idBuf   [40]byte
}

// progress is the part of an Exchange that starts anew with each request.
type progress struct {
	srv    *Server
	snap   *Snapshot // pinned: no reload can tear this request
	conn   *clientConn
	client client // what its head says
	unable uint64 // targets that cannot serve it, as bits

	// What came, filled by intake and scan.
	op       helixflow.Op
	modelID  []byte      // of OpGetModel: from the path, decoded
	id       []byte      // the request's id, in idBuf or the client's own
	header   *buf.Buffer // header lines that travel to the backend
	filtered *buf.Buffer // those of them that a pool with headers of its own gets
	// The model, where an Azure client names it in the path: it takes the place
	// of the body's.
	deployment []byte
	body       *buf.Buffer // freed at the first token
	upload     *upload     // instead of body: what is passed on as it comes
	named      []byte      // the model of a form
	socket     *socket     // of a request for a websocket that makes sense; else nil
	held       []heldField // what a form names, until it is known where it goes
	below      below       // of OpPassthrough

	// What was decided.
	principal     *authn.Principal
	ticket        admission.Ticket
	refusal       admission.Refusal // the limit that stopped it
	prompt        admission.Prompt
	expected      helixflow.Usage // what was reserved for
	reach         reach
	name          *publicName
	pick          *placing          // nil: none yet, or no longer
	hashes        []uint32          // of how the prompt begins, for the access log
	attempt       *Attempt          // the try that answers, or nil
	hedge         *hedge            // the try beside it, while it is not decided which of them answers
	hedged        hedgeResult       // what came of that one
	raced         time.Time         // when the first of the two was sent, if the other one answers
	decision      balancer.Decision // of the last try
	shadowed      shadowed
	chosenBy      string // the policy's name
	tries         int
	again         bool          // this try repeats what a backend has begun to work on
	spent         [2]spent      // where the tries before it went
	drawn         float64       // see chance
	queued        time.Duration // waiting for room on a backend
	parked        *parked       // it had to; nil: it had not
	parkedIn      *lot
	preflight     bool              // a browser only asks whether it may call
	allow         bool              // somebody asks which methods there are
	failure       *backends.Failure // of the last try that failed
	prepared      *target           // whose edits are laid
	looked        looked            // what hooks did
	withholdUsage bool              // the usage chunk was asked for by us, not by the client

	known  known   // what the cache has to do with it
	seat   *seat   // on the flight that its answer comes with; nil: none
	flight *flight // whose own exchange this is; nil: a client's

	// What an idempotency key is about.
	claim    *idempotency.Claim // to be ended; nil for none
	lifetime time.Duration      // of the answer that it gathers

	// What goes back: the attempt's answer, one of before, or local.
	status  int
	replay  *idempotency.Answer
	local   *buf.Buffer // an answer of our own: a problem, the list of models
	problem *helixflow.Error

	// What it was, for account.
	from       netip.Addr // the client's address, once clientAddr was asked
	backend    string     // the last one tried
	bytesIn    int64      // of the request's body
	usage      helixflow.Usage
	began      time.Time
	bodyRead   time.Time // the whole request was here
	sent       time.Time // the last try's request was written
	answered   time.Time // the first byte of its answer came
	responded  time.Time // the answer's first frame was in hand
	firstToken time.Time
	delivered  bool // the whole answer was written
	truncated  bool // the answer broke off after its head was out
	left       bool // a write to the client failed
}

var exchanges = sync.Pool{New: func() any {
	e := new(Exchange)
	e.relay.e = e
	e.pass = e.relay.pass
	e.onLate = e.beginRace
	return e
}}

// begin takes an Exchange for a request that has just come.
func (s *Server) begin(c *clientConn) *Exchange {
	e := exchanges.Get().(*Exchange)
	e.srv = s
	e.conn = c
	e.snap = s.snapshot.Load()
	e.began = time.Now()
	s.inflight.Add(1)
	return e
}

// finish settles the exchange and gives it back: exactly once, always last,
// whatever panics on the way.
func (e *Exchange) finish() {
	s := e.srv
	if s == nil {
		panic("BUG: finished an exchange twice")
	}
	defer s.inflight.Add(-1)
	now := e.responded
	if e.attempt != nil || e.socket != nil || e.seat != nil || now.IsZero() { // more than the first frame was written, or nothing forwarded
		now = time.Now()
	}
	e.endAttempt(now)
	e.disembark()
	e.learn()
	e.settle(now, e.delivered)
	if e.socket != nil {
		e.usage = e.socket.usage
	}
	e.charge()
	e.freeRequest()
	e.forgo()
	e.forgetKnown()
	if e.socket != nil && e.socket.counted {
		s.sockets.Add(-1)
	}
	e.account(now)
	e.local.Free()
	e.recycle()
}

// recycle gives e back, which holds nothing any more.
func (e *Exchange) recycle() {
	e.progress = progress{}
	e.call.Stream = false // what is not scanned does not stream
	e.edits.Reset()
	e.asked.Set(nil)
	e.relay.reset()
	exchanges.Put(e)
}

// freeRequest lets go of what was sent: it will not be sent again.
func (e *Exchange) freeRequest() {
	e.noteHashes()
	e.pick.free()
	e.pick = nil
	e.body.Free()
	e.header.Free()
	e.filtered.Free()
	if e.upload != nil {
		e.bytesIn = e.upload.taken
		e.upload.close()
	}
	e.body, e.header, e.filtered, e.upload, e.named = nil, nil, nil, nil, nil
	e.holds(0)
}
