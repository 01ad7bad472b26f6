package router

import (
	"bytes"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
)

// This file writes the head of every answer and hands its body to the relay.

const statusUnauthorized = fasthttp.StatusUnauthorized

// answerHead is the head of a backend's answer.
type answerHead struct{ fasthttp.ResponseHeader }

func (h *answerHead) isEventStream() bool {
	const sse = "text/event-stream"
	ct := h.ContentType()
	return len(ct) >= len(sse) && bytes.EqualFold(ct[:len(sse)], []byte(sse))
}

// respond writes the answer's head.
func (e *Exchange) respond(ctx *fasthttp.RequestCtx) {
	r := &ctx.Response
	r.SetStatusCode(e.status)
	h := &r.Header
	if e.attempt != nil {
		copyHead(h, &e.attempt.head.ResponseHeader)
	} else {
		h.SetContentType("application/json")
	}
	if e.problem != nil {
		retryHeaders(e.problem, h.Set)
		if e.problem.Kind == helixflow.KindMethodNotAllowed {
			h.Set(fasthttp.HeaderAllow, allowedMethods(e.op))
		}
	}
	h.SetBytesV(helixflow.HeaderRequestID, e.id)
	now := e.responded
	if now.IsZero() {
		now = time.Now()
	}
	var ms [20]byte
	h.SetBytesV(helixflow.HeaderProcessingMS, strconv.AppendInt(ms[:0], now.Sub(e.began).Milliseconds(), 10))
	e.cors(h)
	if e.srv.draining.Load() || e.problem != nil && e.problem.Kind == helixflow.KindClientGone {
		h.SetConnectionClose()
	}
	if e.mustLinger() {
		answerLingering(ctx)
	}
	if e.attempt != nil && e.attempt.events {
		h.Set(fasthttp.HeaderCacheControl, "no-cache")
		h.Set("X-Accel-Buffering", "no") // nginx in front must not hold events back
	}
	e.cell.armWrite(e.client.conn, now)
}

// bodySize is the answer's length, or -1 for one that is sent in chunks.
func (e *Exchange) bodySize() int {
	a := e.attempt
	switch {
	case a == nil:
		return len(e.local.B)
	case a.events:
		return -1
	case a.whole:
		return len(a.text.B)
	default:
		return int(a.lease.BodyLength())
	}
}

// copyHead copies what of a backend's head is meant for the client.
func copyHead(dst, src *fasthttp.ResponseHeader) {
	dst.SetContentTypeBytes(src.ContentType())
	named := false
	for k, v := range src.All() {
		switch string(k) { // in fasthttp's normal form
		case "Connection":
			named = named || namesHeaders(v)
		case "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
			"Upgrade", "Content-Length", "Content-Type", "Date", "Server", "Set-Cookie", "Alt-Svc",
			"X-Request-Id", "Openai-Processing-Ms", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers":
			// Hop-by-hop, of the backend's own connection, or ours to say.
		default:
			if !hasPrefixFold(k, helixflow.HeaderOwnPrefix) {
				dst.AddBytesKV(k, v)
			}
		}
	}
	if !named {
		return
	}
	for _, list := range src.PeekAll(fasthttp.HeaderConnection) {
		for token := range bytes.SplitSeq(list, []byte(",")) {
			dst.DelBytes(bytes.TrimSpace(token))
		}
	}
}

// namesHeaders reports whether a Connection header names others, which are
// meant for this connection only.
func namesHeaders(connection []byte) bool {
	return !bytes.EqualFold(connection, []byte("keep-alive")) && !bytes.EqualFold(connection, []byte("close"))
}

// cors answers a browser whose origin is allowed.
func (e *Exchange) cors(h *fasthttp.ResponseHeader) {
	o := &e.snap.origins
	if !o.configured() {
		return
	}
	h.Add(fasthttp.HeaderVary, "Origin")
	if len(e.client.origin) > 0 && o.allow(e.client.origin) {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, e.client.origin)
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, "X-Request-Id, Openai-Processing-Ms, Retry-After, Retry-After-Ms, X-Should-Retry")
	}
}

// preflight answers a browser's question whether it may call; false when ctx
// asks something else.
func (s *Server) preflight(ctx *fasthttp.RequestCtx) bool {
	o := &s.snapshot.Load().origins
	if !ctx.IsOptions() || !o.configured() || len(ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestMethod)) == 0 {
		return false
	}
	s.live.find(ctx.Conn()).armWrite(ctx.Conn(), time.Now())
	h := &ctx.Response.Header
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	h.Set(fasthttp.HeaderVary, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	origin := ctx.Request.Header.Peek(fasthttp.HeaderOrigin)
	if len(origin) == 0 || !o.allow(origin) {
		return true
	}
	h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
	h.Set(fasthttp.HeaderAccessControlAllowMethods, "GET, POST, OPTIONS")
	h.Set(fasthttp.HeaderAccessControlMaxAge, "600")
	if asked := ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestHeaders); len(asked) > 0 {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowHeaders, asked)
	}
	return true
}
