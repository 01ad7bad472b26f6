package router

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
)

// This file takes in what a client sends: path, headers, body. The first two
// are lent by the connection until the exchange ends; the body is read into a
// buffer that is freed as soon as nothing will be sent again.

const (
	bodyStep    = 64 << 10         // a body's claimed length is believed this far,
	trustedPart = 4                // and then up to so many times what has come
	bodyGrace   = 10 * time.Second // after this a body must have come at bodyRate
	bodyRate    = 1 << 10          // bytes per second
	bodySilence = 10 * time.Second
)

// client is what the asker's head says, lent by the connection.
type client struct {
	query          []byte
	credential     []byte
	origin         []byte
	patience       time.Duration // how long its SDK waits; 0 when it does not say
	idempotencyKey []byte        // nil for one that stands twice
	idempotent     bool          // an idempotency key came
	credentialSent bool          // a credential header came, though perhaps of no use
	cache          cacheControl
	encoded        bool // the body comes compressed
	ambiguous      bool // a credential header stands twice
	websocket      bool // it asks to switch to one
	keyInProtocol  bool // the credential came as a subprotocol
}

// accept looks over what came before the body.
func (e *Exchange) accept() {
	e.header = buf.Get(1 << 10)
	e.takeHeaders(&e.conn.head)
	if e.id == nil {
		e.id = newRequestID(e.idBuf[:0])
	}
	e.header.B = appendHeader(e.header.B, helixflow.HeaderRequestID, e.id)
	if e.srv.access.Load() != nil {
		e.clientAddr()
	}
}

// peer is the address of the connection's other end.
func (c *clientConn) peer() netip.Addr {
	if !c.from.IsValid() {
		if a, ok := c.nc.RemoteAddr().(*net.TCPAddr); ok {
			c.from = a.AddrPort().Addr().Unmap()
		}
	}
	return c.from
}

// takeHeaders reads every header once: credentials are kept for authenticate,
// what may travel is copied line by line for the backend.
func (e *Exchange) takeHeaders(h *fasthttp.RequestHeader) {
	named := false
	for k, v := range h.All() {
		switch string(k) { // in fasthttp's normal form
		case "Connection":
			named = named || namesHeaders(v)
		case "Authorization":
			e.credentialHeader(bearer(v), &e.client.credentialSent)
		case "Api-Key", "X-Api-Key":
			e.credentialHeader(v, &e.client.credentialSent)
		case "Host", "Content-Length", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
			"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Accept-Encoding",
			"Cookie", "Forwarded", "X-Real-Ip", "Openai-Organization", "Openai-Project",
			"X-Http-Method", "X-Http-Method-Override", "X-Method-Override":
			// Hop-by-hop, ours to say, a credential of the client's, or a way to make
			// another request of this one than was looked at.
		case "Content-Encoding":
			e.client.encoded = e.client.encoded || len(v) > 0 && !bytes.EqualFold(v, []byte("identity"))
			e.header.B = appendHeader(e.header.B, string(k), v)
		case "Expect":
			e.conn.expects(v)
		case "Upgrade":
			e.client.websocket = e.client.websocket || asksWebsocket(v)
		case "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Sec-Websocket-Accept":
			// Of a handshake, which is made anew.
		case "X-Request-Id":
			if validRequestID(v) {
				e.id = v
			}
		case "Idempotency-Key":
			if e.client.idempotencyKey = v; e.client.idempotent {
				e.client.idempotencyKey = nil // which of the two is not for us to choose
			}
			e.client.idempotent = true // and it goes no further: see recall
		case "Cache-Control":
			e.client.cache.read(v)
			e.header.B = appendHeader(e.header.B, string(k), v)
		case "Origin":
			e.client.origin = v
		case "X-Stainless-Read-Timeout", "X-Stainless-Timeout":
			e.client.patience = patience(v)
			e.header.B = appendHeader(e.header.B, string(k), v)
		default:
			if travels(k) {
				e.header.B = appendHeader(e.header.B, string(k), v)
			}
		}
	}
	if named {
		e.header.B = dropNamed(e.header.B, h.PeekAll(fasthttp.HeaderConnection))
	}
}

// patience reads the seconds that OpenAI's SDKs say they will wait; 0 for what
// makes no sense.
func patience(v []byte) time.Duration {
	s, err := strconv.ParseFloat(string(v), 64)
	if err != nil || !(s > 0 && s < 24*3600) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

func (e *Exchange) credentialHeader(v []byte, sent *bool) {
	if *sent {
		// The same credential twice, or two: either way it is not for us to choose.
		e.client.ambiguous = true
	}
	*sent = true
	e.client.credential = v
}

// bearer is the token of an Authorization header; nil for another scheme.
func bearer(v []byte) []byte {
	const scheme = "bearer "
	if len(v) <= len(scheme) || !bytes.EqualFold(v[:len(scheme)], []byte(scheme)) {
		return nil
	}
	return bytes.TrimSpace(v[len(scheme):])
}

// travels reports whether a header that has no role of its own goes on to the
// backend: neither ours nor what a proxy says of the client's address does.
func travels(k []byte) bool {
	return !hasPrefixFold(k, helixflow.HeaderOwnPrefix) && !hasPrefixFold(k, "x-forwarded-")
}

func hasPrefixFold(k []byte, prefix string) bool {
	if len(k) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if k[i]|0x20 != prefix[i]|0x20 {
			return false
		}
	}
	return true
}

func appendHeader(dst []byte, k string, v []byte) []byte {
	dst = append(dst, k...)
	dst = append(dst, ": "...)
	dst = append(dst, v...)
	return append(dst, "\r\n"...)
}

// newRequestID appends "req_" and 32 hex digits: random, not secret.
func newRequestID(dst []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, "req_"...)
	for range 2 {
		for x, i := rand.Uint64(), 0; i < 16; i++ {
			dst = append(dst, digits[x&15])
			x >>= 4
		}
	}
	return dst
}

// validRequestID accepts a caller's own id if it is short and plain.
func validRequestID(v []byte) bool {
	if len(v) == 0 || len(v) > 128 {
		return false
	}
	for _, c := range v {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// locate finds the operation that the path names, and whether it has this method.
func (e *Exchange) locate() error {
	path := e.conn.head.RequestURI()
	if i := bytes.IndexByte(path, '?'); i >= 0 {
		path, e.client.query = path[:i], path[i+1:]
		if keyInQuery(e.client.query) {
			return errKeyInQuery
		}
	}
	p := find(path)
	e.op = p.op
	if e.client.websocket {
		return e.locateSocket(p.clean)
	}
	switch known := p.op != helixflow.OpUnknown; {
	case known && e.methodFits():
		e.takePlace(p)
		return nil
	case e.takePrefix(p):
		if e.method() == "" {
			return errMethod
		}
		return nil
	case known:
		return errMethod
	case e.snap.socketAt(p.clean) != helixflow.OpUnknown:
		return errUpgrade
	case administrative(p.clean):
		return errAdministrative
	}
	return errNotFound
}

// takePlace takes from a path what it names besides the operation.
func (e *Exchange) takePlace(p place) {
	switch {
	case p.op == helixflow.OpGetModel:
		e.modelID = p.model
	case p.model != nil:
		e.deployment = p.model
		e.client.query = withoutParameter(e.client.query, "api-version")
	}
}

func (e *Exchange) methodFits() bool {
	h := &e.conn.head
	if e.op.Body() == helixflow.NoBody {
		return h.IsGet() || h.IsHead()
	}
	return h.IsPost()
}

// isOptions reports whether the client asks what a path allows, which takes no
// credential.
func (e *Exchange) isOptions() bool { return string(e.conn.head.Method()) == fasthttp.MethodOptions }

// allowedMethods is the Allow header of an operation.
func allowedMethods(op helixflow.Op) string {
	switch op.Body() {
	case helixflow.NoBody:
		return "GET, HEAD, OPTIONS"
	case helixflow.AnyBody:
		return anyMethod
	default:
		return "POST, OPTIONS"
	}
}

const anyMethod = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// readBody reads the whole body into e.body.
func (e *Exchange) readBody() error {
	c := e.conn
	if err := e.checkMedia(); err != nil {
		return err
	}
	length := c.body.Length()
	if length > e.snap.maxBody {
		return tooLarge(e.snap.maxBody)
	}
	if e.tooHeavy(length) {
		return errHeavy
	}
	e.bodyRead = e.began
	if c.wants100 {
		if err := c.continue100(); err != nil {
			return errClientGone
		}
	}
	e.body = buf.Get(int(min(max(length, 1<<10), bodyStep)))
	for {
		err := e.readPiece(length)
		if err == io.EOF {
			e.holds(cap(e.body.B))
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readPiece reads what is here of the body, waiting for at least a byte; io.EOF
// is its end.
func (e *Exchange) readPiece(length int64) error {
	c := e.conn
	waits := !c.body.More()
	if waits {
		now := time.Now()
		if !fastEnough(len(e.body.B), now.Sub(e.began)) {
			return errBodyTimeout
		}
		c.armRead(now, bodySilence)
	}
	if n := len(e.body.B); n == cap(e.body.B) && int64(n) != length && !e.growBody(length) {
		return errHeavy
	}
	n, err := c.body.Read(e.body.B[len(e.body.B):cap(e.body.B)])
	e.body.B = e.body.B[:len(e.body.B)+n]
	if waits {
		e.bodyRead = time.Now()
	}
	switch {
	case int64(len(e.body.B)) > e.snap.maxBody:
		return tooLarge(e.snap.maxBody)
	case e.tooHeavy(int64(len(e.body.B))):
		return errHeavy
	case err == io.EOF:
		return io.EOF
	case err != nil:
		return bodyError(err)
	}
	return nil
}

// growBody doubles the body's room, and gives it all that its length claims once a
// quarter of that has come; false if there is no memory for it.
func (e *Exchange) growBody(length int64) bool {
	next := int64(2 * cap(e.body.B))
	if 0 <= length && length <= int64(trustedPart*cap(e.body.B)) {
		next = length
	}
	if room := e.srv.opt.Room; room != nil && next > heldFrom && !room(sentTwice*next) {
		return false
	}
	larger := buf.Get(int(next))
	larger.B = append(larger.B, e.body.B...)
	e.body.Free()
	e.body = larger
	return true
}

// sentTwice: the kernel holds a body as well while it is sent on.
const sentTwice = 2

func fastEnough(got int, after time.Duration) bool {
	return after <= bodyGrace || float64(got) >= bodyRate*(after-bodyGrace).Seconds()
}

// bodyError is why a body did not come whole.
func bodyError(err error) error {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return errBodyTimeout
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne):
		return errClientGone
	default:
		return &helixflow.Error{Kind: helixflow.KindInvalidRequest, Public: "The body's framing is malformed.", Cause: err}
	}
}

func (e *Exchange) checkMedia() error {
	ct := e.conn.head.ContentType()
	if i := bytes.IndexByte(ct, ';'); i >= 0 {
		ct = ct[:i]
	}
	ct = bytes.TrimSpace(ct)
	if e.op.Body() != helixflow.AnyBody && len(ct) > 0 && !bytes.EqualFold(ct, []byte("application/json")) {
		if e.op.Body() == helixflow.FormBody {
			return errFormType
		}
		return errContentType
	}
	return e.checkEncoding()
}

func (e *Exchange) checkEncoding() error {
	if e.client.encoded {
		return errEncoding
	}
	return nil
}
