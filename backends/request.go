package backends

import (
	"cmp"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file writes a request: head and body in one write where they are small,
// and as one vectored write around the original bytes where they are not.

// Requests up to this size are copied into one buffer and written at once.
const copyBelow = 16 << 10

// writeStall bounds a write that the backend's socket does not take.
const writeStall = 20 * time.Second

// Outgoing is one request to a backend. Everything in it is borrowed for the
// duration of RoundTrip.
type Outgoing struct {
	Op         helixflow.Op
	Method     string        // of OpPassthrough; the other operations know theirs
	Path       []byte        // of OpPassthrough: begins with a slash, and with /v1 where that is meant
	Once       bool          // never on a connection that may be dead, since it cannot be sent again
	Suffix     []byte        // appended to the operation's path: a model's id
	Query      []byte        // without its question mark
	Credential []byte        // the header line of the pool's credential; nil for none
	Static     []byte        // extra header lines of the pool
	Header     []byte        // header lines of the request, each with its CRLF
	Body       []byte        // nil for a GET
	Edits      *openai.Edits // changes to Body; nil for none
	Stream     Stream        // instead of Body: one that is sent as it comes, and once only
	Streams    bool          // the answer is awaited as a stream that Lease.Run may read
	Upgrade    bool          // Header asks to switch protocols: a 101 is an answer
	Hangup     Hangup
	Now        time.Time // about when RoundTrip is called
	Connect    time.Duration
	FirstByte  time.Duration
	Deadline   time.Time // of the whole exchange; zero for none
	Late       time.Duration
	OnLate     func() // called once, when Late has gone by since the sending and no answer has begun; nil: nobody wants to know
}

// TellLate calls OnLate, if somebody wants to know and does not yet.
func (o *Outgoing) TellLate() {
	if tell := o.OnLate; tell != nil {
		o.OnLate = nil
		tell()
	}
}

// patience is how long from now an answer is waited for, or until somebody is to
// be told that it is late.
func (o *Outgoing) patience(now time.Time) time.Duration {
	wait := o.FirstByte
	if !o.Deadline.IsZero() {
		wait = min(wait, o.Deadline.Sub(now))
	}
	if o.OnLate != nil {
		wait = min(wait, o.Late)
	}
	return wait
}

// requestLine is the method and target of each operation, as this endpoint
// wants them.
type requestLine [helixflow.NumOps][]byte

// compile writes down what every request to the endpoint shares.
func (ep *Endpoint) compile(s Spec) {
	origin := ""
	if ep.dialer.AbsoluteForm() {
		origin = "http://" + s.Address.HostHeader()
	}
	ep.root = []byte(origin + strings.TrimSuffix(s.Address.Path, "/v1")) // what any path follows, see JoinPath
	for op := range helixflow.NumOps {
		base := s.Address
		if !strings.HasPrefix(op.Path(), "/v1/") && op != helixflow.OpUnknown { // an engine's own, which stands beside its /v1
			base.Path = strings.TrimSuffix(base.Path, "/v1")
		}
		// An unknown operation has no path: it is asked of the URL itself.
		target := origin + cmp.Or(base.JoinPath(op.Path()), "/")
		ep.lines[0][op] = []byte("GET " + target)
		ep.lines[1][op] = []byte("POST " + target)
	}
	tail := " HTTP/1.1\r\nHost: " + s.Address.HostHeader() + "\r\n"
	if auth := ep.dialer.ProxyAuthorization(); auth != "" && ep.dialer.AbsoluteForm() {
		tail += "Proxy-Authorization: " + auth + "\r\n"
	}
	ep.tail = []byte(tail + "Accept-Encoding: identity\r\n")
}

// appendHead appends the request's head; size is its body's, -1 for chunks.
func (ep *Endpoint) appendHead(dst []byte, o *Outgoing, size int64) []byte {
	withBody := 0
	if o.Body != nil || o.Stream != nil {
		withBody = 1
	}
	if o.Op == helixflow.OpPassthrough {
		dst = append(append(append(append(dst, o.Method...), ' '), ep.root...), o.Path...)
	} else {
		dst = append(append(dst, ep.lines[withBody][o.Op]...), o.Suffix...)
	}
	if len(o.Query) > 0 {
		dst = append(dst, '?')
		dst = append(dst, o.Query...)
	}
	dst = append(dst, ep.tail...)
	dst = append(dst, o.Credential...)
	dst = append(dst, o.Static...)
	dst = append(dst, o.Header...)
	switch {
	case size < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case withBody == 1:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, size, 10)
		dst = append(dst, '\r', '\n')
	}
	return append(dst, '\r', '\n')
}

// send writes the whole request to c, and returns when that was done.
func (ep *Endpoint) send(c *Conn, o *Outgoing) (at time.Time, err error) {
	size := len(o.Body)
	if o.Edits != nil {
		size = o.Edits.Size(o.Body)
	}
	b := buf.Get(1<<10 + len(o.Credential) + len(o.Static) + len(o.Header) + len(o.Query) + min(size, copyBelow))
	if o.Stream != nil {
		b.B = ep.appendHead(b.B, o, o.Stream.Size())
		err = sendStream(c, b, o)
		b.Free()
		return time.Now(), err
	}
	b.B = ep.appendHead(b.B, o, int64(size))
	if size <= copyBelow {
		if o.Edits != nil {
			b.B = o.Edits.AppendTo(b.B, o.Body)
		} else {
			b.B = append(b.B, o.Body...)
		}
		return c.write(b)
	}
	err = sendLarge(c, b.B, o)
	b.Free()
	return time.Now(), err
}

// sendLarge writes what can have to wait for the peer, within a deadline.
func sendLarge(c *Conn, head []byte, o *Outgoing) error {
	if c.answers > 0 && !c.peek.silent() {
		return errUnasked
	}
	if err := c.nc.SetWriteDeadline(earlier(time.Now().Add(writeStall), o.Deadline)); err != nil {
		return err
	}
	if err := sendVectored(c.nc, head, o); err != nil {
		return err
	}
	return c.nc.SetWriteDeadline(time.Time{})
}

// vector is the scratch of one vectored write: the head, and the body around a
// few edits. More of them are well served by an allocation.
type vector struct {
	store [26][]byte
	bufs  net.Buffers
}

var vectors = sync.Pool{New: func() any { return new(vector) }}

func sendVectored(nc net.Conn, head []byte, o *Outgoing) error {
	v := vectors.Get().(*vector)
	defer func() {
		v.store = [len(v.store)][]byte{}
		v.bufs = nil
		vectors.Put(v)
	}()
	list := append(v.store[:0], head)
	if o.Edits != nil {
		list = o.Edits.Segments(list, o.Body)
	} else {
		list = append(list, o.Body)
	}
	v.bufs = list
	_, err := v.bufs.WriteTo(nc)
	return err
}
