// The listener: up, down and up again on the same port, and the queue of
// scripts.

package fakellm

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/helixflow/helixflow/tests/outside"
)

// Options are what a Server does on all its connections. The zero value is a
// good backend on a free loopback port.
type Options struct {
	Addr        string        // by default a port of loopback that no connection takes while it is down
	TLS         *tls.Config   // serve TLS when set
	MaxRequests int           // close a connection, unannounced, after so many; 0 is never
	MaxIdle     time.Duration // close a connection idle for so long; 0 is never
}

// Server is a scripted backend. Make one with Start, end it with Close.
type Server struct {
	options Options
	addr    string
	wg      sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	listener *net.TCPListener
	live     map[*conn]struct{}
	queue    []Script
	resume   chan struct{} // of the requests to come: closed and replaced by Resume
	record   record
}

// Start listens and serves in the background until Close.
func Start(o Options) (*Server, error) {
	s := &Server{options: o, addr: o.Addr, live: map[*conn]struct{}{}, resume: make(chan struct{})}
	s.record.changed = make(chan struct{})
	if err := s.Up(); err != nil {
		return nil, err
	}
	return s, nil
}

// Addr returns host:port; it stays the same through Down and Up.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Queue appends scripts, one for each POST to come that orders none itself.
func (s *Server) Queue(scripts ...Script) {
	s.note(func() {
		for _, script := range scripts {
			script.Times = max(script.Times, 1)
			s.queue = append(s.queue, script)
		}
	})
}

// Queued returns how many requests the queued scripts are for.
func (s *Server) Queued() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, script := range s.queue {
		n += script.Times
	}
	return n
}

// pop takes the queue's first script, for one request. The lock is held.
func (s *Server) pop() Script {
	script := s.queue[0]
	if s.queue[0].Times--; s.queue[0].Times == 0 {
		s.queue = s.queue[1:]
	}
	return script
}

// Up listens again after Down, on the same port; nothing happens when it does.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	l, err := listen(s.addr)
	if err != nil {
		return err
	}
	s.listener, s.addr = l, l.Addr().String()
	s.wg.Go(func() { s.accept(l) })
	return nil
}

func listen(addr string) (*net.TCPListener, error) {
	if addr == "" {
		return outside.Listen()
	}
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve %s: %w", addr, err)
	}
	l, err := net.ListenTCP("tcp", a)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return l, nil
}

// Down stops listening, so that connecting is refused, and closes every
// connection: with RST when reset is set, else with FIN.
func (s *Server) Down(reset bool) {
	s.mu.Lock()
	l := s.listener
	s.listener = nil
	live := make([]*conn, 0, len(s.live))
	for c := range s.live {
		live = append(live, c)
	}
	s.mu.Unlock()
	if l != nil {
		outside.Stop(l) // its accept loop ends
	}
	for _, c := range live {
		c.close(reset)
	}
}

// Close is Down, and waits until every goroutine is gone.
func (s *Server) Close() {
	s.Down(false)
	s.wg.Wait()
}

func (s *Server) accept(l *net.TCPListener) {
	for {
		tcp, err := l.AcceptTCP()
		if err != nil {
			return
		}
		if c := s.open(l, tcp); c != nil {
			s.wg.Go(c.serve)
		}
	}
}

// open registers an accepted connection, unless its listener went down or a
// script wants it gone.
func (s *Server) open(l *net.TCPListener, tcp *net.TCPConn) *conn {
	c := newConn(s, tcp)
	refused := false
	s.note(func() {
		if refused = s.listener != l; refused {
			return
		}
		c.seen = &Conn{ID: s.lastConn() + 1, Opened: time.Now()}
		s.record.conns = append(s.record.conns, c.seen)
		s.live[c] = struct{}{}
		c.greeting = s.greeting()
	})
	if refused {
		_ = tcp.Close()
		return nil
	}
	return c
}

func (s *Server) lastConn() int {
	if n := len(s.record.conns); n > 0 {
		return s.record.conns[n-1].ID
	}
	return 0
}

// greeting takes the queue's first script if it strikes on accept.
func (s *Server) greeting() *Fault {
	if len(s.queue) == 0 {
		return nil
	}
	for _, f := range s.queue[0].Faults {
		if f.At.Where == AtAccept {
			s.pop()
			return &f
		}
	}
	return nil
}

// scriptFor chooses the script of a request: its own order, the queue's next,
// or none. A text that does not parse answers 400 with the reason.
func (s *Server) scriptFor(r *Request) (script Script, text string) {
	if text, ok := orderIn([]byte(r.Body)); ok {
		script, err := Parse(text)
		if err != nil {
			script = Script{Status: 400, ConnClose: true, Body: `{"error":{"message":` + quote(err.Error()) + `,"type":"fake_error","param":null,"code":"bad_script"}}`}
		}
		return script, text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method != "POST" && !r.isSocket() || len(s.queue) == 0 {
		return Script{}, ""
	}
	return s.pop(), "queued"
}
