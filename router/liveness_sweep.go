//go:build !linux

package router

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// Where there is no epoll, a sweep peeks at each connection this often. It is
// blind behind unread pipelined bytes.
const sweepEvery = 100 * time.Millisecond

// watcher looks at every client connection in turn.
type watcher struct {
	halfCloseIsLeaving bool
	stop               chan struct{}
	done               sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[*cell]syscall.RawConn
}

func newWatcher(halfCloseIsLeaving bool) (*watcher, error) {
	w := &watcher{halfCloseIsLeaving: halfCloseIsLeaving, stop: make(chan struct{}), conns: make(map[*cell]syscall.RawConn)}
	w.done.Add(1)
	go w.run()
	return w, nil
}

func (w *watcher) run() {
	defer w.done.Done()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.sweep()
		}
	}
}

func (w *watcher) sweep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, rc := range w.conns {
		if w.halfCloseIsLeaving && peekEOF(rc) {
			c.hangUp()
			delete(w.conns, c)
		}
	}
}

// add watches raw. An error means that its hang-up will show at a write only.
func (w *watcher) add(raw *net.TCPConn, c *cell) error {
	rc, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = rc
	return nil
}

func (w *watcher) remove(c *cell) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

func (w *watcher) close() {
	close(w.stop)
	w.done.Wait()
}
