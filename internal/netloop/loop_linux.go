package netloop

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
)

// Loop is one epoll set, the goroutine that waits for it, and helpers for when much
// happens at once. Safe for concurrent use.
type Loop struct {
	epoll int
	wake  [2]int // a pipe that ends the goroutine
	many  chan batch
	done  sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	conns []*Conn    // by file descriptor
	gen   int32      // tells a connection from the descriptor's next one
}

// batch is what a helper is given at once. Waking it costs as much as one or two
// events do.
type batch [8]syscall.EpollEvent

const (
	epollRDHUP = 0x2000
	epollET    = 1 << 31
	ended      = epollRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	readable   = syscall.EPOLLIN | ended
	writable   = syscall.EPOLLOUT | syscall.EPOLLHUP | syscall.EPOLLERR
	wakeUp     = -1 // in place of a connection's gen
)

// Start starts a loop; Close ends it.
func Start() (*Loop, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create an epoll set: %w", err)
	}
	l := &Loop{epoll: ep, many: make(chan batch)}
	if err := syscall.Pipe2(l.wake[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		_ = syscall.Close(ep)
		return nil, fmt.Errorf("cannot create a pipe: %w", err)
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(l.wake[0]), Pad: wakeUp}
	if err := syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, l.wake[0], &ev); err != nil {
		_ = l.closeAll()
		return nil, fmt.Errorf("cannot watch a pipe: %w", err)
	}
	l.done.Go(l.run)
	for range runtime.GOMAXPROCS(0) - 1 {
		l.done.Go(l.help)
	}
	return l, nil
}

// Close ends the loop and closes the connections that it has left.
func (l *Loop) Close() error {
	_, _ = syscall.Write(l.wake[1], []byte{0})
	l.done.Wait()
	for _, c := range l.all() {
		_ = c.Close()
	}
	return l.closeAll()
}

func (l *Loop) closeAll() error {
	return errors.Join(syscall.Close(l.wake[0]), syscall.Close(l.wake[1]), syscall.Close(l.epoll))
}

// run sees to what happens, until Close.
func (l *Loop) run() {
	defer close(l.many)
	events := make([]syscall.EpollEvent, 256)
	for {
		n, err := syscall.EpollWait(l.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			panic("BUG: cannot wait for sockets: " + err.Error())
		}
		woken := false
		for _, ev := range l.handOut(events[:max(n, 0)]) {
			if ev.Pad == wakeUp {
				return
			}
			woken = l.tell(ev) || woken
		}
		if woken { // who was woken would wait for this processor while it waits for sockets
			runtime.Gosched()
		}
	}
}

// handOut gives helpers that have nothing to do a part of what happened, and returns
// the rest.
func (l *Loop) handOut(events []syscall.EpollEvent) []syscall.EpollEvent {
	for len(events) > 2*len(batch{}) {
		select {
		case l.many <- batch(events):
			events = events[len(batch{}):]
		default:
			return events
		}
	}
	return events
}

func (l *Loop) help() {
	for b := range l.many {
		for _, ev := range b {
			l.tell(ev)
		}
	}
}

// tell tells the connection of an event, unless the descriptor is another's by now,
// and reports whether that woke somebody.
func (l *Loop) tell(ev syscall.EpollEvent) (woken bool) {
	l.mu.Lock()
	var c *Conn
	if fd := int(ev.Fd); fd < len(l.conns) && l.conns[fd] != nil && l.conns[fd].gen == ev.Pad {
		c = l.conns[fd]
	}
	l.mu.Unlock()
	return c != nil && c.happened(ev.Events)
}

// Take takes a connection away from Go's poller, and closes tcp. After an error that
// is the caller's as it was.
func (l *Loop) Take(tcp *net.TCPConn) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{loop: l, fd: -1, local: tcp.LocalAddr(), remote: tcp.RemoteAddr()}
	c.in.ready, c.out.ready = true, true
	var failed error
	if err := raw.Control(func(fd uintptr) { c.fd, failed = duplicate(fd) }); err != nil {
		return nil, err
	}
	if failed == nil {
		failed = l.add(c)
	}
	if failed != nil {
		return nil, failed
	}
	_ = tcp.Close()
	return c, nil
}

func duplicate(fd uintptr) (int, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, fmt.Errorf("cannot duplicate a socket: %w", errno)
	}
	return int(n), nil
}

// add watches c, whose descriptor is closed after an error.
func (l *Loop) add(c *Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.conns) <= c.fd {
		l.conns = append(l.conns, nil)
	}
	l.gen = (l.gen + 1) & (1<<31 - 1)
	c.gen = l.gen
	ev := syscall.EpollEvent{Events: epollET | readable | writable, Fd: int32(c.fd), Pad: c.gen}
	if err := syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
		_ = syscall.Close(c.fd)
		return fmt.Errorf("cannot watch a socket: %w", err)
	}
	l.conns[c.fd] = c
	return nil
}

// remove forgets a connection; the kernel drops a closed descriptor by itself.
func (l *Loop) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[c.fd] == c {
		l.conns[c.fd] = nil
	}
}

func (l *Loop) all() (list []*Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c != nil {
			list = append(list, c)
		}
	}
	return list
}
