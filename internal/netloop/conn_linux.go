package netloop

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a TCP connection that a loop watches. Safe for concurrent use, but for Run:
// nobody else may read meanwhile.
type Conn struct {
	loop          *Loop
	fd            int
	gen           int32 // of fd
	local, remote net.Addr

	mu       sync.Mutex // guards the fields below; not held while fd is read or written
	in, out  side
	refs     int // of who uses fd
	closed   bool
	stepping bool        // a step runs
	step     func() bool // who is to be asked when something has come; else nil
	finished bool        // the step said so
	panicked any         // what a step did in the loop
}

// side is one direction.
type side struct {
	one      sync.Mutex // held by the one who reads, or who writes
	ready    bool       // something has happened since the kernel was last asked
	ended    bool       // and will ever be
	waiting  bool       // for signal
	signal   chan struct{}
	deadline time.Time
	timer    *time.Timer
}

// happened is the loop's news, and reports whether it woke somebody. Nothing waits in
// it.
func (c *Conn) happened(events uint32) (woken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if events&readable != 0 {
		c.in.ready = true
		c.in.ended = c.in.ended || events&ended != 0
	}
	if events&writable != 0 {
		c.out.ready = true
		woken = c.out.wake()
	}
	if !c.in.ready || c.stepping { // who steps looks again
		return woken
	}
	if c.step != nil {
		c.advance()
	}
	if c.step == nil {
		woken = c.in.wake() || woken
	}
	return woken
}

// advance runs the step as long as there is something for it. It is called with mu
// held, by one at a time.
func (c *Conn) advance() {
	c.stepping = true
	c.refs++
	for step := c.step; ; {
		c.mu.Unlock()
		done := c.ask(step)
		c.mu.Lock()
		if done {
			c.step, c.finished = nil, true
		}
		if c.step == nil || c.closed || !c.in.ready {
			break
		}
	}
	c.stepping = false
	c.release()
}

// ask keeps a panic for who runs the step.
func (c *Conn) ask(step func() bool) (done bool) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked, done = p, true
		}
	}()
	return step()
}

// Run has step called for whatever comes, in the loop, until it returns true, or
// until then: a timeout. It is called at once, too. Its calls follow one another;
// it must not wait, and reads with Read, which does not wait in it. After
// [ErrNotYet] it returns false to be called again when something has come. What
// step did has happened before Run returns.
func (c *Conn) Run(step func() bool, until time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step, c.finished = step, false
	if !c.closed {
		c.advance()
	}
	for c.step != nil && !c.closed {
		if c.in.wait(&c.mu, until) != nil {
			break
		}
	}
	c.step = nil
	for c.stepping {
		_ = c.in.wait(&c.mu, time.Time{})
	}
	switch p := c.panicked; {
	case p != nil:
		c.panicked = nil
		panic(p)
	case c.closed:
		return c.failed("read", net.ErrClosed)
	case !c.finished:
		return c.failed("read", os.ErrDeadlineExceeded)
	}
	return nil
}

// wake ends a wait, and reports whether there was one.
func (s *side) wake() bool {
	waited := s.waiting
	if waited {
		s.waiting = false
		s.signal <- struct{}{}
	}
	return waited
}

// wait waits to be woken, or until then, with mu given back meanwhile.
func (s *side) wait(mu *sync.Mutex, until time.Time) error {
	if s.signal == nil {
		s.signal = make(chan struct{}, 1)
	}
	s.waiting = true
	if until.IsZero() {
		mu.Unlock()
		<-s.signal
		mu.Lock()
		return nil
	}
	left := time.Until(until)
	if left <= 0 {
		s.waiting = false
		return os.ErrDeadlineExceeded
	}
	if s.timer == nil {
		s.timer = time.NewTimer(left)
	} else {
		s.timer.Reset(left)
	}
	mu.Unlock()
	select {
	case <-s.signal:
		s.timer.Stop()
		mu.Lock()
		return nil
	case <-s.timer.C:
	}
	mu.Lock()
	if !s.waiting { // woken at the same time
		<-s.signal
		return nil
	}
	s.waiting = false
	return os.ErrDeadlineExceeded
}

// begin is called with mu held before fd is used without it; end after.
func (c *Conn) begin() { c.refs++; c.mu.Unlock() }
func (c *Conn) end()   { c.mu.Lock(); c.release() }

// release is for the last who used a closed connection to close its descriptor.
func (c *Conn) release() {
	if c.refs--; c.closed && c.refs == 0 {
		_ = syscall.Close(c.fd)
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.in.one.Lock()
	defer c.in.one.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.await(&c.in); err != nil {
			if err == ErrNotYet {
				return 0, err
			}
			return 0, c.failed("read", err)
		}
		c.in.ready = c.in.ended
		c.begin()
		n, err := syscall.Read(c.fd, p)
		c.end()
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
			c.in.ready = c.in.ready || err == syscall.EINTR
			continue
		case err != nil:
			c.in.ready = true
			return 0, c.failed("read", os.NewSyscallError("read", err))
		case n == 0 && len(p) > 0:
			c.in.ready = true
			return 0, io.EOF
		}
		c.in.ready = c.in.ready || n == len(p) // there may be more
		return n, nil
	}
}

// await waits until something has happened on one side.
func (c *Conn) await(s *side) error {
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case s.ready && s == &c.in && c.stepping:
			return nil
		case s == &c.in && c.stepping:
			return ErrNotYet
		case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
			return os.ErrDeadlineExceeded
		case s.ready:
			return nil
		}
		_ = s.wait(&c.mu, s.deadline)
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.out.one.Lock()
	defer c.out.one.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.await(&c.out); err != nil {
			return n, c.failed("write", err)
		}
		c.out.ready = false
		c.begin()
		m, err := syscall.Write(c.fd, p[n:])
		c.end()
		n += max(m, 0)
		switch {
		case err == syscall.EAGAIN:
			continue
		case err != nil && err != syscall.EINTR:
			c.out.ready = true
			return n, c.failed("write", os.NewSyscallError("write", err))
		}
		c.out.ready = true
		if n == len(p) {
			return n, nil
		}
	}
}

// Close implements net.Conn. Who waits on the connection fails at once.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failed("close", net.ErrClosed)
	}
	c.closed = true
	c.loop.remove(c)
	c.in.wake()
	c.out.wake()
	c.refs++
	c.release()
	return nil
}

func (c *Conn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.in, &c.out) }

// SetReadDeadline implements net.Conn. A Run has an end of its own.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.in) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.out) }

func (c *Conn) setDeadlines(t time.Time, sides ...*side) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failed("set", net.ErrClosed)
	}
	for _, s := range sides {
		s.deadline = t
		s.wake() // to look at it again
	}
	return nil
}

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return (*rawConn)(c), nil }

// rawConn is a Conn as a syscall.RawConn.
type rawConn Conn

// Control implements syscall.RawConn.
func (r *rawConn) Control(f func(fd uintptr)) error {
	c := (*Conn)(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.failed("control", net.ErrClosed)
	}
	c.begin()
	f(uintptr(c.fd))
	c.end()
	return nil
}

// Read implements syscall.RawConn.
func (r *rawConn) Read(f func(fd uintptr) bool) error { return (*Conn)(r).attempt("read", &r.in, f) }

// Write implements syscall.RawConn.
func (r *rawConn) Write(f func(fd uintptr) bool) error { return (*Conn)(r).attempt("write", &r.out, f) }

func (c *Conn) attempt(op string, s *side, f func(fd uintptr) bool) error {
	s.one.Lock()
	defer s.one.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.ready = true // f is called at once
	for {
		if err := c.await(s); err != nil {
			return c.failed(op, err)
		}
		s.ready = s.ended
		c.begin()
		done := f(uintptr(c.fd))
		c.end()
		if done {
			s.ready = true // who knows what f has left
			return nil
		}
	}
}
