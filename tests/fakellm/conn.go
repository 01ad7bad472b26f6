// One connection: a goroutine that reads, and so sees the peer leave, and one
// that answers.

package fakellm

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pipelined bounds how many requests wait on one connection.
const pipelined = 64

type conn struct {
	server   *Server
	tcp      *net.TCPConn
	net      net.Conn // tcp, or TLS over it
	seen     *Conn    // the server's lock guards it
	greeting *Fault

	requests  chan *Request
	switched  atomic.Bool   // the connection has become a websocket
	messages  chan message  // of it
	gone      chan struct{} // closed when nothing more can be said
	goneOnce  sync.Once
	closeOnce sync.Once
}

func newConn(s *Server, tcp *net.TCPConn) *conn {
	c := &conn{
		server: s, tcp: tcp, net: tcp,
		requests: make(chan *Request, pipelined), messages: make(chan message), gone: make(chan struct{}),
	}
	if s.options.TLS != nil {
		c.net = tls.Server(tcp, s.options.TLS)
	}
	return c
}

// serve answers until the connection is closed by either side.
func (c *conn) serve() {
	var reading sync.WaitGroup
	defer reading.Wait()
	defer c.finish()
	if g := c.greeting; g != nil && g.Do != Stall {
		c.act(nil, *g)
		return
	}
	reading.Go(c.read)
	if c.greeting != nil && !c.act(nil, *c.greeting) {
		return
	}
	answered := 0
	for {
		r, ok := c.next()
		if !ok {
			return
		}
		script, text := c.server.scriptFor(r)
		c.server.note(func() { r.Script = text })
		if r.isSocket() && text == "" {
			c.converse(r)
			return
		}
		w := script.render(readAsked(r.Path, []byte(r.Body)))
		if !c.play(r, w, script.Drip) {
			return
		}
		c.server.note(func() { r.Finished = time.Now() })
		answered++
		if w.close || answered == c.server.options.MaxRequests {
			c.wait(script.ByeAfter)
			return
		}
	}
}

// next waits for a request, at most as long as an idle connection may live.
func (c *conn) next() (*Request, bool) {
	var idle <-chan time.Time
	if d := c.server.options.MaxIdle; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		idle = t.C
	}
	select {
	case r, ok := <-c.requests:
		return r, ok
	case <-c.gone:
		return nil, false
	case <-idle:
		return nil, false
	}
}

// read takes in requests until the peer leaves, and notes when.
func (c *conn) read() {
	defer close(c.requests)
	br := bufio.NewReaderSize(c.net, 64<<10)
	for {
		r, err := readRequest(br)
		if err != nil {
			c.left(err)
			return
		}
		c.server.note(func() {
			r.ID = len(c.server.record.requests) + 1
			r.Conn = c.seen.ID
			r.resumed = c.server.resume
			c.seen.Requests++
			c.server.record.requests = append(c.server.record.requests, r)
		})
		select {
		case c.requests <- r:
		case <-c.gone:
			return
		}
		if r.isSocket() { // what follows is frames if it was answered so
			if _, err := br.Peek(1); err != nil || c.switched.Load() {
				c.left(c.readMessages(r, br))
				return
			}
		}
	}
}

// left notes that the peer is gone, on the connection and on every request of
// it that has no whole answer yet.
func (c *conn) left(err error) {
	select {
	case <-c.gone: // we closed it ourselves
		return
	default:
	}
	now, how := time.Now(), "eof"
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		how = "reset"
	}
	c.server.note(func() {
		c.seen.Closed, c.seen.ClosedBy = now, "peer: "+how
		for _, r := range c.server.record.requests {
			if r.Conn == c.seen.ID && r.Open() {
				r.Left, r.LeftBy = now, how
			}
		}
	})
	c.goneOnce.Do(func() { close(c.gone) })
}

// play writes an answer, with its faults; false says the connection is over.
func (c *conn) play(r *Request, w wire, drip time.Duration) bool {
	sent, cuts := 0, w.cuts
	for _, p := range w.pieces {
		for len(p.data) > 0 {
			if len(cuts) > 0 && cuts[0].offset == sent {
				if !c.act(r, cuts[0].Fault) {
					return false
				}
				cuts = cuts[1:]
				continue
			}
			if !c.wait(p.wait) {
				return false
			}
			p.wait = drip
			n := len(p.data)
			if drip > 0 {
				n = min(n, 1)
			}
			if len(cuts) > 0 {
				n = min(n, cuts[0].offset-sent)
			}
			if !c.write(r, p.data[:n]) {
				return false
			}
			sent, p.data = sent+n, p.data[n:]
		}
	}
	for _, f := range cuts {
		if !c.act(r, f.Fault) {
			return false
		}
	}
	return true
}

func (c *conn) write(r *Request, data []byte) bool {
	if r.Answered.IsZero() {
		c.server.note(func() { r.Answered = time.Now() })
	}
	_, err := c.net.Write(data)
	if err != nil {
		c.left(err) // who reads may not have noticed yet
	}
	return err == nil
}

// act strikes; false says the connection is over.
func (c *conn) act(r *Request, f Fault) bool {
	if f.Do != Stall {
		if r != nil {
			c.server.note(func() { r.Finished = time.Now() })
		}
		c.close(f.Do == Reset)
		return false
	}
	var resumed chan struct{} // of a greeting: never
	if r != nil {
		c.server.note(func() { r.Stalled = time.Now() })
		resumed = r.resumed
	}
	if f.For > 0 {
		return c.wait(f.For)
	}
	select {
	case <-resumed:
		return true
	case <-c.gone:
		return false
	}
}

// wait passes the time; false says the connection is over.
func (c *conn) wait(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-c.gone:
			return false
		default:
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.gone:
		return false
	}
}

// close ends the connection from our side; the first call counts.
func (c *conn) close(reset bool) {
	c.goneOnce.Do(func() { close(c.gone) })
	c.closeOnce.Do(func() {
		if reset {
			_ = c.tcp.SetLinger(0) // a socket that is gone needs no RST
			_ = c.tcp.Close()
			return
		}
		_ = c.net.Close() // over TLS this says close_notify first
	})
}

// finish closes whatever is left and takes the connection off the books.
func (c *conn) finish() {
	c.close(false)
	c.server.note(func() {
		delete(c.server.live, c)
		if c.seen.Closed.IsZero() {
			c.seen.Closed, c.seen.ClosedBy = time.Now(), "us"
		}
	})
}
