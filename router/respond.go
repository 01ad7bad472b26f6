package router

import (
	"bytes"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/framing"
)

// This file writes the head of every answer; the relay writes what follows.

const (
	statusOK           = fasthttp.StatusOK
	statusNoContent    = fasthttp.StatusNoContent
	statusNotModified  = fasthttp.StatusNotModified
	statusUnauthorized = fasthttp.StatusUnauthorized
	statusTooMany      = fasthttp.StatusTooManyRequests
)

// answerHead is the head of a backend's answer.
type answerHead struct{ fasthttp.ResponseHeader }

func (h *answerHead) isEventStream() bool { return h.isMedia("text/event-stream") }

// isMedia reports whether the answer says that it is of this media type,
// whatever the parameters.
func (h *answerHead) isMedia(media string) bool {
	ct := h.ContentType()
	return len(ct) >= len(media) && bytes.EqualFold(ct[:len(media)], []byte(media))
}

// isPiecemeal reports whether the answer is of use to the client piece by piece,
// as audio is: it is not held until it is whole.
func (h *answerHead) isPiecemeal() bool {
	return h.StatusCode() < 400 && len(h.ContentType()) > 0 && !h.isMedia("application/json") && !h.isMedia("text/")
}

// respond sends the whole answer: its head goes out together with the first
// frame of its body.
func (e *Exchange) respond() {
	c := e.conn
	now := e.responded
	if now.IsZero() {
		now = time.Now()
	}
	if e.problem != nil && e.problem.Kind == helixflow.KindClientGone {
		c.closing = true
		e.left = true
		return // nobody is there to read it
	}
	c.closing = c.closing || e.srv.draining.Load() || c.mustClose() || c.given.Load()
	b := &e.relay
	e.describe()
	if e.inHand() {
		e.settle(now, true) // so that the head tells what is left
	}
	if e.known.keeps {
		e.beginKeeping(now)
	}
	b.out = buf.Get(2 << 10)
	b.out.B = e.appendHead(b.out.B, now)
	c.armWrite(now)
	if a := e.attempt; a != nil && a.text != nil {
		e.holds(cap(a.text.B))
	}
	if err := b.run(); err != nil {
		c.closing = true
		c.aborted = b.untilClose
		return
	}
	e.delivered = true
}

// inHand reports whether the last frame of the answer is the first one, so that
// nothing can be learned about it any more.
func (e *Exchange) inHand() bool {
	size := e.bodySize()
	switch a := e.attempt; {
	case size < 0 || size > lastFrame:
		return false
	case e.flown() != nil:
		return e.seat.view.over && !e.seat.view.cut
	default:
		return a == nil || a.whole
	}
}

// mustClose reports whether more of the request may still be on its way than is
// worth reading to keep the connection.
func (c *clientConn) mustClose() bool {
	return !c.body.Finish() && (c.wants100 || c.body.Kind() == framing.ByChunks || c.body.Length() > drainBelow)
}

// appendHead appends the answer's head, up to its blank line.
func (e *Exchange) appendHead(dst []byte, now time.Time) []byte {
	a, flown := e.attempt, e.flown()
	dst = appendStatusLine(dst, e.status)
	dst = e.srv.date.append(dst, now)
	switch {
	case a != nil:
		dst = appendContentType(dst, a.contentType())
		dst = copyHead(dst, a)
	case e.replay != nil:
		dst = appendContentType(dst, []byte(e.replay.ContentType))
		dst = append(dst, helixflow.HeaderReplayed+": true\r\n"...)
	case e.known.answer != nil && e.problem == nil:
		dst = appendContentType(dst, e.known.contentType())
	case flown != nil:
		dst = append(appendContentType(dst, flown.contentType), flown.lines...)
	case e.status != statusNoContent:
		dst = append(dst, "Content-Type: application/json\r\n"...)
	}
	if a != nil && a.events || e.replay != nil && e.replay.Events || e.known.streams() || flown != nil && flown.events {
		// nginx in front must not hold events back.
		dst = append(dst, "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"...)
	}
	if e.problem != nil {
		dst = appendRetryHeaders(dst, e.problem)
		dst = appendReason(dst, e.problem)
		dst = appendChallenge(dst, e.problem, e.client.credentialSent)
	}
	if e.problem != nil && e.problem.Kind == helixflow.KindUpgradeRequired {
		dst = appendUpgrade(dst)
	}
	if e.allow || e.problem != nil && e.problem.Kind == helixflow.KindMethodNotAllowed {
		dst = append(append(append(dst, "Allow: "...), allowedMethods(e.op)...), "\r\n"...)
	}
	dst = e.appendLimitHeaders(dst, now)
	dst = e.appendKnown(dst, now)
	dst = e.appendDecision(dst)
	dst = appendHeader(dst, helixflow.HeaderRequestID, e.id)
	dst = append(dst, helixflow.HeaderProcessingMS+": "...)
	dst = strconv.AppendInt(dst, now.Sub(e.began).Milliseconds(), 10)
	dst = append(dst, "\r\n"...)
	dst = e.appendCORS(dst)
	dst = e.appendFraming(dst)
	return append(dst, "\r\n"...)
}

// appendFraming appends what says where the body and the connection end, and
// decides the former.
func (e *Exchange) appendFraming(dst []byte) []byte {
	c := e.conn
	size := e.bodySize()
	switch {
	case isBodiless(e.status):
	case size >= 0:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, size, 10)
		dst = append(dst, "\r\n"...)
	case c.head.IsHTTP11():
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
		e.relay.chunked = true
	default:
		c.closing = true // the only end an HTTP/1.0 client knows
		e.relay.untilClose = true
	}
	switch {
	case c.closing:
		dst = append(dst, "Connection: close\r\n"...)
	case !c.head.IsHTTP11():
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}

// isBodiless reports whether an answer of this status has no body.
func isBodiless(status int) bool { return status == statusNoContent || status == statusNotModified }

// bodySize is the answer's length, or -1 for one that shows its end otherwise.
func (e *Exchange) bodySize() int64 {
	a := e.attempt
	switch {
	case e.replay != nil && e.replay.Events:
		return -1
	case e.replay != nil:
		return int64(len(e.replay.Body))
	case e.known.answer != nil && e.problem == nil:
		if e.known.streams() {
			return -1
		}
		return int64(len(e.known.body()))
	case e.flown() != nil:
		return e.flown().size
	case a == nil:
		return int64(len(e.local.B))
	case e.op == helixflow.OpPassthrough && e.conn.head.IsHead():
		return int64(max(a.head.ContentLength(), -1)) // of what a GET would get
	case a.events:
		return -1
	case a.whole:
		return int64(len(a.text.B))
	default:
		return a.lease.BodyLength()
	}
}

// statusText is a status for people: 502 Bad Gateway.
func statusText(status int) string {
	const unknown = "Unknown Status Code"
	if text := fasthttp.StatusMessage(status); text != unknown {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}

func appendStatusLine(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, fasthttp.StatusMessage(status)...)
	return append(dst, "\r\n"...)
}

// contentType is what the answer's body is; empty when nobody says.
func (a *Attempt) contentType() []byte {
	switch a.made {
	case madeJSON:
		return jsonMedia
	case madeEvents:
		return eventsMedia
	}
	return a.head.ContentType()
}

var (
	jsonMedia   = []byte("application/json")
	eventsMedia = []byte("text/event-stream; charset=utf-8")
)

func appendContentType(dst, v []byte) []byte {
	if len(v) == 0 {
		return dst
	}
	return appendHeader(dst, "Content-Type", v)
}

// copyHead appends what of a backend's head is meant for the client. A stream's
// Cache-Control is ours to say, and how a body of ours is encoded.
func copyHead(dst []byte, a *Attempt) []byte {
	src := &a.head.ResponseHeader
	begin := len(dst)
	named := false
	for k, v := range src.All() {
		switch string(k) { // in fasthttp's normal form
		case "Connection":
			named = named || namesHeaders(v)
		case "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
			"Upgrade", "Content-Length", "Content-Type", "Date", "Server", "Set-Cookie", "Alt-Svc", "X-Accel-Buffering",
			"X-Request-Id", "Openai-Processing-Ms", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
			"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions":
			// Hop-by-hop, of the backend's own connection, or ours to say.
		default:
			ours := a.events && string(k) == fasthttp.HeaderCacheControl ||
				a.made != asSent && string(k) == fasthttp.HeaderContentEncoding
			if !ours && !hasPrefixFold(k, helixflow.HeaderOwnPrefix) {
				dst = append(append(append(append(dst, k...), ": "...), v...), "\r\n"...)
			}
		}
	}
	if named {
		kept := dropNamed(dst[begin:], src.PeekAll(fasthttp.HeaderConnection))
		dst = dst[:begin+len(kept)]
	}
	return dst
}

// namesHeaders reports whether a Connection header names others, which are
// meant for this connection only.
func namesHeaders(connection []byte) bool {
	return !bytes.EqualFold(connection, []byte("keep-alive")) && !bytes.EqualFold(connection, []byte("close"))
}

// dropNamed takes the lines out of lines that a Connection header names.
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

// appendCORS answers a browser whose origin is allowed.
func (e *Exchange) appendCORS(dst []byte) []byte {
	o := &e.snap.origins
	if !o.configured() {
		return dst
	}
	dst = append(dst, "Vary: Origin\r\n"...)
	if len(e.client.origin) == 0 || !o.allow(e.client.origin) {
		return dst
	}
	dst = appendHeader(dst, "Access-Control-Allow-Origin", e.client.origin)
	if !e.preflight {
		return append(dst, "Access-Control-Expose-Headers: X-Request-Id, Openai-Processing-Ms, Retry-After, Retry-After-Ms, X-Should-Retry\r\n"...)
	}
	methods := "GET, POST, OPTIONS"
	if len(e.snap.prefixes) > 0 {
		methods = anyMethod
	}
	dst = append(append(append(dst, "Access-Control-Allow-Methods: "...), methods...), "\r\nAccess-Control-Max-Age: 600\r\n"...)
	if asked := e.conn.head.Peek(fasthttp.HeaderAccessControlRequestHeaders); len(asked) > 0 {
		dst = appendHeader(dst, "Access-Control-Allow-Headers", asked)
	}
	return dst
}

// isPreflight reports whether a browser asks if it may call.
func (e *Exchange) isPreflight() bool {
	h := &e.conn.head
	return string(h.Method()) == fasthttp.MethodOptions && e.snap.origins.configured() &&
		len(h.Peek(fasthttp.HeaderAccessControlRequestMethod)) > 0
}

// writeProblem answers outside of any exchange, and closes.
func (c *clientConn) writeProblem(p *helixflow.Error) {
	c.closing = true
	now := time.Now()
	b := buf.Get(1 << 10)
	defer b.Free()
	body := problemBody(nil, p)
	b.B = appendStatusLine(b.B, forms[p.Kind].status)
	b.B = c.srv.date.append(b.B, now)
	b.B = appendHeader(b.B, helixflow.HeaderRequestID, newRequestID(nil))
	b.B = append(b.B, "Content-Type: application/json\r\nConnection: close\r\nContent-Length: "...)
	b.B = strconv.AppendInt(b.B, int64(len(body)), 10)
	b.B = append(b.B, "\r\n\r\n"...)
	b.B = append(b.B, body...)
	c.armWrite(now)
	_, _ = c.nc.Write(b.B)
}

// continue100 tells a client that waits for it to send its body.
func (c *clientConn) continue100() error {
	c.wants100 = false
	c.armWrite(time.Now())
	_, err := c.nc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err
}

// dateLine is the Date header, made once a second. Safe for concurrent use.
type dateLine struct{ now atomic.Pointer[datedLine] }

type datedLine struct {
	second int64
	text   []byte
}

func (d *dateLine) append(dst []byte, now time.Time) []byte {
	l := d.now.Load()
	if second := now.Unix(); l == nil || l.second != second {
		l = &datedLine{second: second}
		l.text = append(fasthttp.AppendHTTPDate([]byte("Date: "), now), "\r\n"...)
		d.now.Store(l)
	}
	return append(dst, l.text...)
}
