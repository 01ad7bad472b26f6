package router

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/websocket"
)

// This file is the handshake of a websocket, with the client and with the backend
// (RFC 6455, section 4). No byte passes before both have said 101.

const statusSwitching = fasthttp.StatusSwitchingProtocols

// Names of headers of the handshake.
const (
	headerKey        = "Sec-WebSocket-Key"
	headerAccept     = "Sec-WebSocket-Accept"
	headerVersion    = "Sec-WebSocket-Version"
	headerProtocol   = "Sec-WebSocket-Protocol"
	headerExtensions = "Sec-WebSocket-Extensions"
)

// What browsers write among the subprotocols, since they cannot set headers.
const (
	protocolKey = "openai-insecure-api-key."
	protocolOrg = "openai-organization."
	protocolPrj = "openai-project."
)

// handshake is what was said to open one websocket.
type handshake struct {
	clientAccept []byte // that answers the client
	accept       []byte // that the backend must answer
	offered      [][]byte
	protocol     []byte // that is agreed upon; nil for none
}

// asksWebsocket reports whether an Upgrade header asks for a websocket. What else it
// may ask for, HTTP/2 above all, is ignored, as a server may.
func asksWebsocket(upgrade []byte) bool { return websocket.HasToken([][]byte{upgrade}, "websocket") }

// locateSocket finds the operation of a path where a websocket is asked for.
func (e *Exchange) locateSocket(path []byte) error {
	e.conn.closing = true // unless it is opened, what follows is no request
	e.op = e.snap.socketAt(path)
	if e.op == helixflow.OpUnknown {
		return errNoWebsocket
	}
	h := &e.conn.head
	switch {
	case !h.IsGet() || !h.IsHTTP11() || !e.conn.body.Finish() || !websocket.HasToken(h.PeekAll("Connection"), "upgrade"):
		return errHandshake
	case string(h.Peek(headerVersion)) != "13":
		return errUpgrade
	case len(h.PeekAll(headerKey)) != 1 || !websocket.ValidKey(h.Peek(headerKey)):
		return errHandshake
	}
	e.socket = new(socket)
	e.takeProtocols()
	return nil
}

// takeProtocols looks through the subprotocols that the client offers. One may be
// its credential, and others say whose account that is of: these do not travel.
func (e *Exchange) takeProtocols() {
	for p := range websocket.Tokens(e.conn.head.PeekAll(headerProtocol)) {
		switch {
		case hasPrefixFold(p, protocolKey):
			e.credentialHeader(p[len(protocolKey):], &e.client.credentialSent)
			e.client.keyInProtocol = true
		case hasPrefixFold(p, protocolOrg), hasPrefixFold(p, protocolPrj):
		default:
			e.socket.shake.offered = append(e.socket.shake.offered, bytes.Clone(p))
		}
	}
}

// originAllowed reports whether the web page that asks, if it is one, may open a
// websocket: browsers leave that to the server. Where no origins are configured,
// a page needs a key, which it has to know, or to come from this very host.
func (e *Exchange) originAllowed() bool {
	o := &e.snap.origins
	switch {
	case len(e.client.origin) == 0:
		return true
	case o.configured():
		return o.allow(e.client.origin)
	case len(e.client.credential) > 0:
		return true
	}
	_, host, _ := bytes.Cut(e.client.origin, []byte("://"))
	return bytes.EqualFold(host, e.conn.head.Host())
}

// openSocket admits a websocket, and gets one from a backend where the request
// says which.
func (e *Exchange) openSocket() error {
	s := e.srv
	switch {
	case s.draining.Load():
		return errDraining
	case !e.originAllowed():
		return errOrigin
	case s.sockets.Add(1) > e.snap.websockets.max:
		s.sockets.Add(-1)
		return errWebsockets
	}
	e.socket.counted = true
	e.bodyRead = e.began
	if err := e.arrive(e.began); err != nil {
		return err
	}
	e.askUpgrade()
	if e.op == helixflow.OpResponsesSocket {
		return nil // its first message says which
	}
	if err := e.readQuery(); err != nil {
		return err
	}
	if err := e.resolve(); err != nil {
		return err
	}
	if err := e.admit(); err != nil {
		return err
	}
	if err := e.askBefore(); err != nil {
		return err
	}
	e.answersUnseen()
	return e.forward()
}

// askUpgrade puts the backend's handshake behind the header lines that travel. A websocket
// that only passes has that of the client, one whose messages are read has its own.
// None has extensions: what backends say is listened to (ADR 29).
func (e *Exchange) askUpgrade() {
	h, shake := &e.conn.head, &e.socket.shake
	shake.clientAccept = websocket.AppendAccept(nil, h.Peek(headerKey))
	b := append(e.header.B, "Connection: Upgrade\r\nUpgrade: websocket\r\n"+headerVersion+": 13\r\n"...)
	if e.op == helixflow.OpResponsesSocket {
		key := websocket.AppendRandomKey(nil)
		shake.accept = websocket.AppendAccept(nil, key)
		shake.agree(e.client.keyInProtocol)
		e.header.B = appendHeader(b, headerKey, key)
		return
	}
	shake.accept = shake.clientAccept
	b = appendHeader(b, headerKey, h.Peek(headerKey))
	if len(shake.offered) > 0 {
		b = appendHeader(b, headerProtocol, bytes.Join(shake.offered, []byte(", ")))
	}
	e.header.B = b
}

// agree chooses a subprotocol for a backend that chose none: a browser that offered
// its key as one wants an answer, and the key is none to give.
func (h *handshake) agree(keyInProtocol bool) {
	if h.protocol == nil && keyInProtocol && len(h.offered) > 0 {
		h.protocol = h.offered[0]
	}
}

// check looks over the answer of a backend that was asked for a websocket. One that
// declines is an answer like any other; one that is wrong is a failure.
func (h *handshake) check(a *Attempt, keyInProtocol bool) *backends.Failure {
	why := errNotSwitched
	if a.lease.Switched() {
		why = h.read(&a.head)
	} else if a.status >= 300 {
		why = nil
	}
	if why != nil {
		return &backends.Failure{Phase: backends.PhaseHead, Backend: a.lease.Endpoint().URL(), Err: why}
	}
	h.agree(keyInProtocol)
	return nil
}

// read reads the head of a backend's 101.
func (h *handshake) read(head *answerHead) error {
	protocol := bytes.TrimSpace(head.Peek(headerProtocol))
	switch {
	case !websocket.HasToken(head.PeekAll("Upgrade"), "websocket"), !websocket.HasToken(head.PeekAll("Connection"), "upgrade"):
		return errOtherSwitch
	case !bytes.Equal(head.Peek(headerAccept), h.accept):
		return errAccept
	case len(head.Peek(headerExtensions)) > 0:
		return errExtensions
	case len(protocol) == 0:
		return nil
	}
	for _, offered := range h.offered {
		if bytes.Equal(offered, protocol) {
			h.protocol = offered
			return nil
		}
	}
	return errProtocol
}

var (
	errNotSwitched = errors.New("it answered a websocket's handshake with success, but not with 101")
	errOtherSwitch = errors.New("it switched to something that is no websocket")
	errAccept      = errors.New("its " + headerAccept + " is wrong")
	errExtensions  = errors.New("it chose extensions that nobody offered")
	errProtocol    = errors.New("it chose a subprotocol that nobody offered")
)

// switches reports whether the client is to be answered 101.
func (e *Exchange) switches() bool {
	switch {
	case e.socket == nil || e.problem != nil:
		return false
	case e.op == helixflow.OpResponsesSocket:
		return true
	default:
		return e.attempt != nil && e.attempt.lease.Switched()
	}
}

// switchOver answers 101 and lets go of the request's head. It returns what the
// client has sent behind it, which a client should not have (RFC 6455, section 4.1)
// but which is of the websocket.
func (e *Exchange) switchOver() (early []byte, err error) {
	c := e.conn
	now := time.Now()
	e.relay.begun = true
	if e.responded.IsZero() {
		e.responded, e.sent, e.answered = now, now, now
	}
	b := buf.Get(2 << 10)
	defer b.Free()
	b.B = e.appendSwitch(b.B, now)
	c.armWrite(now)
	if _, err := c.nc.Write(b.B); err != nil {
		return nil, err
	}
	if n := c.br.Buffered(); n > 0 {
		here, _ := c.br.Peek(n)
		early = bytes.Clone(here)
		_, _ = c.br.Discard(n)
	}
	e.clientAddr() // while its head is here
	e.id = bytes.Clone(e.id)
	e.client = client{query: bytes.Clone(e.client.query)}
	c.releaseReader()
	c.head = fasthttp.RequestHeader{}
	return early, nil
}

// appendSwitch appends the whole head of our 101.
func (e *Exchange) appendSwitch(dst []byte, now time.Time) []byte {
	shake := &e.socket.shake
	dst = appendStatusLine(dst, statusSwitching)
	dst = e.srv.date.append(dst, now)
	dst = append(dst, "Upgrade: websocket\r\nConnection: Upgrade\r\n"...)
	dst = appendHeader(dst, headerAccept, shake.clientAccept)
	if shake.protocol != nil {
		dst = appendHeader(dst, headerProtocol, shake.protocol)
	}
	if a := e.attempt; a != nil {
		dst = copyHead(dst, a)
	}
	dst = appendHeader(dst, helixflow.HeaderRequestID, e.id)
	dst = e.appendLimitHeaders(dst, now)
	return append(dst, "\r\n"...)
}

// appendUpgrade appends what a client should ask for.
func appendUpgrade(dst []byte) []byte {
	return append(dst, "Upgrade: websocket\r\nConnection: Upgrade\r\n"+headerVersion+": 13\r\n"...)
}

// socketAt is the operation whose websockets are served at a path in its one
// spelling; OpUnknown if none are.
func (s *Snapshot) socketAt(path []byte) helixflow.Op {
	for _, op := range s.websockets.ops {
		if string(withoutVersion(path)) == strings.TrimPrefix(op.Path(), "/v1") {
			return op
		}
	}
	return helixflow.OpUnknown
}
