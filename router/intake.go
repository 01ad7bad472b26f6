package router

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
)

// This file takes in what a client sends: path, headers, body. fasthttp lends
// the first two until the body stream is closed; the body is read into our own
// buffer, since fasthttp, when it streams, neither enforces a limit nor tells a
// cut body from a whole one.

const (
	bodyStep    = 64 << 10         // a body's claimed length is believed this far
	bodyGrace   = 10 * time.Second // after this a body must have come at bodyRate
	bodyRate    = 1 << 10          // bytes per second
	bodySilence = 10 * time.Second
	drainBelow  = 64 << 10  // what is left of a refused body and fasthttp may read by itself
	maxLinger   = 128 << 20 // bytes of a refused body that are read on and dropped
	lingerFor   = 10 * time.Second
	lingerGap   = 2 * time.Second
)

// client is the asker's side of an exchange, as fasthttp lends it.
type client struct {
	ctx            *fasthttp.RequestCtx
	conn           net.Conn
	query          []byte
	credential     []byte
	origin         []byte
	credentialSent bool // a credential header came, though perhaps of no use
	ambiguous      bool // a credential header stands twice
	bodyUnread     bool // the body was not read to its end
}

// accept looks over what came before the body.
func (e *Exchange) accept(ctx *fasthttp.RequestCtx) {
	e.client.ctx, e.client.conn = ctx, ctx.Conn()
	e.cell = e.srv.live.find(e.client.conn)
	e.client.bodyUnread = ctx.Request.IsBodyStream()
	e.header = buf.Get(1 << 10)
	e.takeHeaders(&ctx.Request.Header)
	if e.id == nil {
		e.id = newRequestID(e.idBuf[:0])
	}
	e.header.B = appendHeader(e.header.B, helixflow.HeaderRequestID, e.id)
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
			"Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Accept-Encoding",
			"Cookie", "Forwarded", "X-Real-Ip", "Openai-Organization", "Openai-Project":
			// Hop-by-hop, ours to say, or a credential of the client's.
		case "X-Request-Id":
			if validRequestID(v) {
				e.id = v
			}
		case "Origin":
			e.client.origin = v
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

// dropNamed takes the lines out of lines that a Connection header names: they
// were meant for this connection only.
func dropNamed(lines []byte, connection [][]byte) []byte {
	kept := lines[:0]
	for line := range bytes.SplitAfterSeq(lines, []byte("\r\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if !named(connection, name) {
			kept = append(kept, line...)
		}
	}
	return kept
}

func named(connection [][]byte, name []byte) bool {
	for _, list := range connection {
		for token := range bytes.SplitSeq(list, []byte(",")) {
			if bytes.EqualFold(bytes.TrimSpace(token), name) {
				return true
			}
		}
	}
	return false
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

// locate finds the operation by the exact raw path, with or without /v1.
func (e *Exchange) locate() error {
	uri := e.client.ctx.Request.Header.RequestURI()
	path := uri
	if i := bytes.IndexByte(uri, '?'); i >= 0 {
		path, e.client.query = uri[:i], uri[i+1:]
		if keyInQuery(e.client.query) {
			return errKeyInQuery
		}
	}
	op, modelID := operation(path)
	if op == helixflow.OpUnknown {
		return errNotFound
	}
	e.op, e.modelID = op, modelID
	get := op == helixflow.OpListModels || op == helixflow.OpGetModel
	h := &e.client.ctx.Request.Header
	if get && !h.IsGet() && !h.IsHead() || !get && !h.IsPost() {
		return errMethod
	}
	return nil
}

// allowedMethods is the Allow header of an operation.
func allowedMethods(op helixflow.Op) string {
	if op == helixflow.OpListModels || op == helixflow.OpGetModel {
		return "GET, HEAD, OPTIONS"
	}
	return "POST, OPTIONS"
}

// readBody reads the whole body into e.body.
func (e *Exchange) readBody() error {
	h := &e.client.ctx.Request.Header
	if err := checkMedia(h); err != nil {
		return err
	}
	length := h.ContentLength()
	if int64(length) > e.snap.maxBody {
		return tooLarge(e.snap.maxBody)
	}
	src := e.client.ctx.Request.BodyStream()
	if src == nil || length == 0 {
		e.body = buf.Get(0)
		e.bodyRead = e.began
		return nil
	}
	if length < 0 {
		length = -1
		e.body = buf.Get(4 << 10)
	} else {
		e.body = buf.Get(min(length, bodyStep))
	}
	if err := e.fillBody(src, length); err != nil {
		return err
	}
	e.client.bodyUnread = false
	return nil
}

// fillBody reads src to its end. length is -1 for a chunked body.
func (e *Exchange) fillBody(src io.Reader, length int) error {
	e.bodyRead = e.began
	for reads := 0; ; reads++ {
		if reads > 0 {
			// The first read is of what came with the header: no wait, no clock.
			now := time.Now()
			e.bodyRead = now
			if !fastEnough(len(e.body.B), now.Sub(e.began)) {
				return errBodyTimeout
			}
			_ = e.client.conn.SetReadDeadline(now.Add(bodySilence))
		}
		e.body = e.body.Grow(1)
		room := e.body.B[len(e.body.B):cap(e.body.B)]
		n, err := src.Read(room)
		e.body.B = e.body.B[:len(e.body.B)+n]
		if int64(len(e.body.B)) > e.snap.maxBody {
			return tooLarge(e.snap.maxBody)
		}
		switch {
		case length >= 0 && len(e.body.B) == length:
			return nil
		case err == io.EOF && length < 0:
			return nil
		case err != nil:
			return bodyError(err)
		}
	}
}

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

func checkMedia(h *fasthttp.RequestHeader) error {
	ct := h.ContentType()
	if i := bytes.IndexByte(ct, ';'); i >= 0 {
		ct = ct[:i]
	}
	ct = bytes.TrimSpace(ct)
	if len(ct) > 0 && !bytes.EqualFold(ct, []byte("application/json")) {
		return errContentType
	}
	ce := h.Peek(fasthttp.HeaderContentEncoding)
	if len(ce) > 0 && !bytes.EqualFold(ce, []byte("identity")) {
		return errEncoding
	}
	return nil
}

// mustLinger reports whether so much of a refused request may still be on its
// way that closing would reset the connection before its answer is read.
func (e *Exchange) mustLinger() bool {
	if e.problem == nil || !e.client.bodyUnread {
		return false
	}
	n := e.client.ctx.Request.Header.ContentLength()
	return n < 0 || n > drainBelow || e.problem.Kind == helixflow.KindBodyTimeout
}

// answerLingering has the answer written when the handler has returned, and the
// connection closed lingeringly. fasthttp, told that it must close, would not
// let go of the connection: so the answer is ours to write.
func answerLingering(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.SetConnectionClose()
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(conn net.Conn) {
		writeLast(conn, &ctx.Response)
		if hijacked, ok := conn.(interface{ UnsafeConn() net.Conn }); ok {
			conn = hijacked.UnsafeConn()
		}
		lingerOn(conn)
	})
}

// writeLast writes the last answer of a connection.
func writeLast(conn net.Conn, r *fasthttp.Response) {
	_ = conn.SetWriteDeadline(time.Now().Add(clientStall))
	bw := bufio.NewWriter(conn)
	if r.Write(bw) == nil {
		_ = bw.Flush()
	}
}

// lingerOn reads what is left of a refused request after the answer was
// written, since closing with bytes unread would reset the connection before
// the client has read the answer.
func lingerOn(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	end := time.Now().Add(lingerFor)
	b := buf.Get(bodyStep)
	defer b.Free()
	for total := 0; total < maxLinger; {
		now := time.Now()
		if !now.Before(end) {
			return
		}
		_ = conn.SetReadDeadline(now.Add(lingerGap))
		n, err := conn.Read(b.B[:cap(b.B)])
		if total += n; err != nil {
			return
		}
	}
}
