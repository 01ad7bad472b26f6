package router

import (
	"fmt"
	"net"
	"sync"
	"syscall"
)

// watcher is one epoll set of all client connections, edge-triggered on
// hang-ups only, so that traffic does not wake it. It also sees a FIN behind
// unread pipelined bytes, which a peek cannot.
type watcher struct {
	epoll   int
	wake    [2]int // a pipe that ends the goroutine
	leaving uint32 // the events that mean that a client has left
	done    sync.WaitGroup

	mu    sync.Mutex // guards cells and gen; taken at accept, close and hang-up only
	cells []*cell    // by file descriptor
	gen   int32
}

const (
	epollRDHUP = 0x2000
	epollET    = 1 << 31
)

func newWatcher(halfCloseIsLeaving bool) (*watcher, error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create an epoll set: %w", err)
	}
	w := &watcher{epoll: ep, leaving: syscall.EPOLLHUP | syscall.EPOLLERR}
	if halfCloseIsLeaving {
		w.leaving |= epollRDHUP
	}
	if err := syscall.Pipe2(w.wake[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		_ = syscall.Close(ep)
		return nil, fmt.Errorf("cannot create a pipe: %w", err)
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(w.wake[0]), Pad: -1}
	if err := syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, w.wake[0], &ev); err != nil {
		w.closeAll()
		return nil, fmt.Errorf("cannot watch a pipe: %w", err)
	}
	w.done.Add(1)
	go w.run()
	return w, nil
}

// run turns events into hang-ups, until close.
func (w *watcher) run() {
	defer w.done.Done()
	events := make([]syscall.EpollEvent, 256)
	for {
		n, err := syscall.EpollWait(w.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			panic("BUG: cannot wait for hang-ups: " + err.Error())
		}
		for i := range max(n, 0) {
			if events[i].Pad == -1 {
				return
			}
			c := w.lookup(int(events[i].Fd), events[i].Pad)
			if c == nil {
				continue
			}
			c.hearEnd()
			if events[i].Events&w.leaving != 0 {
				c.hangUp()
			}
		}
	}
}

// lookup finds the cell of an event; nil when the descriptor serves another
// connection by now.
func (w *watcher) lookup(fd int, gen int32) *cell {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fd < len(w.cells) && w.cells[fd] != nil && w.cells[fd].gen == gen {
		return w.cells[fd]
	}
	return nil
}

// add watches raw. An error means that its hang-up will show at a write only.
func (w *watcher) add(raw *net.TCPConn, c *cell) error {
	rc, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	var ctl error
	err = rc.Control(func(f uintptr) {
		fd := int(f)
		w.mu.Lock()
		for len(w.cells) <= fd {
			w.cells = append(w.cells, nil)
		}
		if w.gen++; w.gen < 0 {
			w.gen = 0
		}
		c.fd, c.gen, c.tcp = fd, w.gen, raw
		w.cells[fd] = c
		w.mu.Unlock()
		ev := syscall.EpollEvent{Events: syscall.EPOLLHUP | syscall.EPOLLERR | epollRDHUP | epollET, Fd: int32(fd), Pad: c.gen}
		ctl = syscall.EpollCtl(w.epoll, syscall.EPOLL_CTL_ADD, fd, &ev)
	})
	if err == nil {
		err = ctl
	}
	if err != nil {
		w.remove(c)
		c.fd = -1
	}
	return err
}

// remove forgets a cell; the kernel dropped the closed descriptor by itself.
func (w *watcher) remove(c *cell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.fd >= 0 && c.fd < len(w.cells) && w.cells[c.fd] == c {
		w.cells[c.fd] = nil
	}
}

// close ends the goroutine and waits for it.
func (w *watcher) close() {
	_, _ = syscall.Write(w.wake[1], []byte{0})
	w.done.Wait()
	w.closeAll()
}

func (w *watcher) closeAll() {
	_ = syscall.Close(w.wake[0])
	_ = syscall.Close(w.wake[1])
	_ = syscall.Close(w.epoll)
}
