package router

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/framing"
	"github.com/helixflow/helixflow/internal/pressure"
)

// This file is one client connection and its loop. fasthttp parses the heads;
// the loop is ours (ADR 1), so that a stream holds no buffers while it is
// silent, no timer moves per request, and nothing is allocated.

const (
	readBuffer = 4 << 10          // a head that does not fit gets one of server.max_header
	headerTime = 10 * time.Second // for a request's header to arrive
	idleTime   = 75 * time.Second // above the 60 s of common load balancers
	drainBelow = 64 << 10         // what may be read on of a refused body, to keep the connection
	drainFor   = time.Second
	maxLinger  = 128 << 20 // bytes that are read on before a connection is closed
	lingerFor  = 10 * time.Second
	lingerGap  = 2 * time.Second
)

// The states of a connection, for a drain. An idle one may be closed at once,
// as its client knows; on a fresh one the first request may be on its way.
const (
	connFresh int32 = iota
	connIdle
	connBusy
	connClosed
)

// clientConn is one client connection. All but cell and state belongs to the
// goroutine that serves it.
type clientConn struct {
	cell  // what a hang-up must break
	state atomic.Int32

	srv        *Server
	accepted   time.Time
	raw        net.Conn
	nc         net.Conn            // raw, or TLS over it
	chain      []*x509.Certificate // what the client presented, leaf first
	identity   authn.Identity      // what that is worth
	identityBy *authn.Certificates // under this plan's rules
	key        authn.Recent        // what came last
	from       netip.Addr          // the peer, once it was asked for
	turn       *turn               // nil where no request is served where it is read
	br         *bufio.Reader       // nil while nothing is read
	large      bool                // br is larger than those in the pool
	head       fasthttp.RequestHeader
	body       framing.Body // of the request being served
	served     bool         // a request has come before
	wants100   bool         // the client waits for leave to send its body
	closing    bool         // no further request on this connection
	aborted    bool         // close by reset
	readUntil  time.Time    // the read deadline now armed
	writeUntil time.Time    // the write deadline now armed
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// serve handles the connection's requests one after the other, to its end.
func (c *clientConn) serve() {
	defer c.end()
	c.armRead(time.Now(), headerTime)
	if t, ok := c.nc.(*tls.Conn); ok {
		if t.Handshake() != nil {
			return
		}
		c.chain = t.ConnectionState().PeerCertificates
	} else {
		c.turn = newTurn(c)
	}
	for {
		at := c.await()
		if at == begun {
			c.exchange()
			at = answered
		}
		if at != answered || !c.goesOn() {
			return
		}
	}
}

// readiness is how far a connection has come with its next request.
type readiness uint8

const (
	over     readiness = iota // there will be none
	begun                     // its head was read
	answered                  // all is done but for what is left of its body
)

// errNotYet is a turn's word for a reading that found nothing.
var errNotYet = errors.New("nothing has come yet")

// goesOn reports whether another request may come behind the one that was answered.
func (c *clientConn) goesOn() bool {
	if c.closing && !c.body.Finish() {
		c.lingerOn()
	}
	return !c.closing && c.readOn()
}

func (c *clientConn) end() {
	if p := recover(); p != nil {
		c.srv.logPanic(nil, p, debug.Stack())
	}
	if t, ok := c.raw.(*net.TCPConn); ok && c.aborted {
		// Where only the close tells the end of an answer, a cut must not look
		// like one: a reset, and no goodbye of TLS.
		_ = t.SetLinger(0)
		_ = t.Close()
	}
	_ = c.nc.Close()
	c.releaseReader()
	c.srv.forget(c)
}

// await waits for the next request and reads its head. Where it came whole it may
// be answered, too.
func (c *clientConn) await() readiness {
	c.takeReader()
	if c.br.Buffered() == 0 {
		if c.served && !c.idle() { // before the first request headerTime bounds the wait
			return over
		}
		if c.turn != nil {
			at, err := c.turn.wait()
			if err != errNotYet {
				return c.taken(at, err)
			}
		} else if _, err := c.br.Peek(1); err != nil {
			return over
		}
	}
	return c.taken(c.take())
}

// idle makes the connection wait for a request; false if it must not.
func (c *clientConn) idle() bool {
	c.armRead(time.Now(), c.srv.idleFor())
	c.state.Store(connIdle)
	return !c.srv.stopping.Load()
}

// take reads the head of a request whose first bytes are here.
func (c *clientConn) take() (readiness, error) {
	if s := c.state.Load(); s == connClosed || s != connBusy && !c.state.CompareAndSwap(s, connBusy) {
		return over, nil
	}
	if err := c.readHead(); err != nil {
		return over, err
	}
	if err := c.begin(); err != nil {
		return over, err
	}
	return begun, nil
}

// taken refuses what was no request.
func (c *clientConn) taken(at readiness, err error) readiness {
	if err != nil {
		c.refuse(err)
	}
	return at
}

// takeReader gives the connection a buffer to read into.
func (c *clientConn) takeReader() {
	if c.br == nil {
		c.br = readers.Get().(*bufio.Reader)
		c.br.Reset(c.in())
	}
}

// in is where the client's bytes are read from.
func (c *clientConn) in() io.Reader {
	if c.turn != nil {
		return c.turn
	}
	return c.nc
}

// readHead waits for the whole of a request's head and parses it.
func (c *clientConn) readHead() error {
	for waiting := false; ; waiting = true {
		here, _ := c.br.Peek(c.br.Buffered())
		if bytes.HasPrefix(here, endOfLineBytes) { // some clients end a body with one
			_, _ = c.br.Discard(len(endOfLineBytes))
			continue
		}
		end := bytes.Index(here, endOfHead)
		if end >= 0 {
			here = here[:end+len(endOfHead)]
		}
		switch {
		case !strictLines(here):
			return errLines
		case end >= 0:
			return c.head.Read(c.br)
		case len(here) == c.br.Size() && !c.grow(here):
			return errHeadTooLarge
		}
		if !waiting {
			c.readUntil = time.Now().Add(headerTime)
			_ = c.nc.SetReadDeadline(c.readUntil)
		}
		if _, err := c.br.Peek(len(here) + 1); err != nil {
			return err
		}
	}
}

// grow gives the connection a buffer for a head of the largest size; false if
// it has one.
func (c *clientConn) grow(here []byte) bool {
	if c.br.Size() >= c.srv.opt.MaxHeader {
		return false
	}
	grown := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(here)), c.in()), c.srv.opt.MaxHeader)
	c.releaseReader()
	c.br, c.large = grown, true
	return true
}

// strictLines refuses a lone LF and a folded line, which the next parser on the
// way may take for something else (RFC 9112, sections 2.2 and 5.2).
func strictLines(head []byte) bool {
	for i := 0; ; {
		n := bytes.IndexByte(head[i:], '\n')
		if n < 0 {
			return true
		}
		if i += n; i == 0 || head[i-1] != '\r' {
			return false
		}
		if i++; i < len(head) && (head[i] == ' ' || head[i] == '\t') {
			return false
		}
	}
}

var (
	endOfLineBytes  = []byte("\r\n")
	endOfHead       = []byte("\r\n\r\n")
	errLines        = errors.New("a lone LF or a folded line in a head")
	errHeadTooLarge = errors.New("a head above server.max_header")
)

// begin takes the request's framing off its head.
func (c *clientConn) begin() error {
	c.served = true
	c.head.SetNoDefaultContentType(true)
	c.closing = c.head.ConnectionClose() || c.srv.draining.Load() || c.srv.under(pressure.Lean)
	c.wants100 = false
	c.forgetGiven()
	switch n := c.head.ContentLength(); {
	case n == -1:
		c.body.Begin(c.br, framing.ByChunks, 0)
	case n > 0:
		c.body.Begin(c.br, framing.ByLength, int64(n))
	default:
		c.body = framing.Body{}
		return c.hasHost()
	}
	return c.hasHost()
}

// expects reads an Expect header.
func (c *clientConn) expects(v []byte) {
	c.wants100 = c.head.IsHTTP11() && !c.body.Finish() && bytes.EqualFold(v, []byte("100-continue"))
}

// hasHost refuses a request that RFC 9112, section 3.2 wants refused.
func (c *clientConn) hasHost() error {
	if c.head.IsHTTP11() && len(c.head.Host()) == 0 {
		return errNoHost
	}
	return nil
}

var errNoHost = errors.New("an HTTP/1.1 request without a Host header")

// exchange serves one request. Whatever goes wrong in it ends this connection
// at most.
func (c *clientConn) exchange() {
	e := c.srv.begin(c)
	defer func() {
		if p := recover(); p != nil {
			c.srv.logPanic(e, p, debug.Stack())
			c.closing = true
			if !e.relay.begun {
				c.writeProblem(&helixflow.Error{Kind: helixflow.KindInternal})
			}
			e.truncated = true
		}
		e.finish()
	}()
	c.srv.walk(e)
	if e.switches() {
		e.converse()
		return
	}
	e.respond()
}

// readOn makes the connection ready for the next request: what is left of this
// one's body is read if it is little. Else the connection must be closed.
func (c *clientConn) readOn() bool {
	if c.body.Finish() {
		return true
	}
	if !c.wants100 && c.drain() {
		return true
	}
	c.lingerOn()
	return false
}

func (c *clientConn) drain() bool {
	if c.body.Length() > drainBelow {
		return false
	}
	c.readUntil = time.Now().Add(drainFor)
	_ = c.nc.SetReadDeadline(c.readUntil)
	b := buf.Get(4 << 10)
	defer b.Free()
	for total := 0; total <= drainBelow; {
		n, err := c.body.Read(b.B[:cap(b.B)])
		if total += n; err != nil {
			return err == io.EOF
		}
	}
	return false
}

// lingerOn reads on for a while before the connection is closed, since closing
// with bytes unread would reset it before the client has read the answer.
func (c *clientConn) lingerOn() {
	c.state.Store(connClosed) // a drain need not wait for it
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	end := time.Now().Add(lingerFor)
	b := buf.Get(64 << 10)
	defer b.Free()
	for total := 0; total < maxLinger; {
		now := time.Now()
		if !now.Before(end) {
			return
		}
		_ = c.nc.SetReadDeadline(now.Add(lingerGap))
		n, err := c.nc.Read(b.B[:cap(b.B)])
		if total += n; err != nil {
			return
		}
	}
}

// refuse answers what is not a request.
func (c *clientConn) refuse(err error) {
	problem := &helixflow.Error{Kind: helixflow.KindInvalidRequest, Public: "The request is not well-formed HTTP.", Cause: err}
	var network net.Error
	switch {
	case err == errHeadTooLarge:
		problem = &helixflow.Error{Kind: helixflow.KindHeaderTooLarge, Cause: err}
	case errors.As(err, &network) && network.Timeout():
		problem = &helixflow.Error{Kind: helixflow.KindBodyTimeout, Public: "The request's header did not arrive in time.", Cause: err}
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network):
		return // it left in the middle of a head
	}
	c.srv.log.Debug("refused what is no request", "error", problem.Kind.String())
	c.writeProblem(problem)
	c.srv.noModel.Request(helixflow.OpUnknown, false, forms[problem.Kind].status, 0)
	c.lingerOn()
}

// releaseReader gives the read buffer back if nothing is in it.
func (c *clientConn) releaseReader() {
	if c.br == nil {
		return
	}
	if !c.large {
		c.br.Reset(nil)
		readers.Put(c.br)
	}
	c.br, c.large = nil, false
}

// armRead bounds the wait for what the client sends. A deadline that is at most
// a sixteenth too early is left as it is: moving a timer costs more than it is
// worth.
func (c *clientConn) armRead(now time.Time, wait time.Duration) {
	late := now.Add(wait)
	if c.readUntil.After(late) || c.readUntil.Before(late.Add(-wait/16)) {
		c.readUntil = late
		_ = c.nc.SetReadDeadline(late)
	}
}

// armWrite bounds how long the client may take nothing of what is written: the
// deadline lies between one and two stalls ahead.
func (c *clientConn) armWrite(now time.Time) {
	if c.writeUntil.Sub(now) < clientStall {
		c.writeUntil = now.Add(2 * clientStall)
		_ = c.nc.SetWriteDeadline(c.writeUntil)
	}
}

// clientStall is how long a client may take nothing of what is written.
const clientStall = 20 * time.Second
