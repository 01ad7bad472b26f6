//go:build linux || darwin || freebsd

package handover

// The old process: it offers its listeners, and learns that they were taken.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	askWithin    = 2 * time.Second  // from connecting to the ask
	commitWithin = 30 * time.Second // for the new process to start serving
	writeWithin  = time.Second

	maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1 // unix(7)
)

// Handler offers the listeners of this process on a unix socket. Make it with
// Serve; nil offers nothing. Safe for concurrent use.
type Handler struct {
	path      string
	listeners map[string]net.Listener
	log       *slog.Logger
	socket    *net.UnixListener
	file      fs.FileInfo // of the socket, to tell it from a successor's
	given     chan struct{}
	done      sync.WaitGroup

	mu     sync.Mutex    // guards the fields below
	taker  *net.UnixConn // the process that is taking over, if one is
	gave   bool
	closed bool
}

// Serve offers listeners (TCP or unix, at most 16, names of a-z, 0-9, '-' and
// '_') to a process of the same user, or root's, that calls Take with the same
// path. The socket file is made with mode 0600 and replaces one that nobody
// listens on; ErrInUse where somebody does.
//
// The listeners stay the caller's, who goes on accepting on them. Once Given is
// closed the caller stops that and drains.
func Serve(path string, listeners map[string]net.Listener, log *slog.Logger) (*Handler, error) {
	names := slices.Sorted(maps.Keys(listeners))
	if len(names) == 0 || len(names) > maxListeners {
		return nil, fmt.Errorf("cannot offer %d listeners: 1 to %d", len(names), maxListeners)
	}
	for _, name := range names {
		if !validName(name) {
			return nil, fmt.Errorf("cannot offer a listener named %q", name)
		}
	}
	if err := withDescriptors(names, listeners, nil, func([]int) error { return nil }); err != nil {
		return nil, err
	}
	socket, file, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("cannot offer listeners on %s: %w", path, err)
	}
	h := &Handler{
		path: path, listeners: maps.Clone(listeners), log: log,
		socket: socket, file: file, given: make(chan struct{}),
	}
	h.done.Add(1)
	go h.run()
	return h, nil
}

// Given is closed when a new process serves on the listeners in place of this
// one.
func (h *Handler) Given() <-chan struct{} {
	if h == nil {
		return nil
	}
	return h.given
}

// Close ends the offer and removes the socket file, unless the listeners were
// given. A process that has received them but not yet committed keeps them.
func (h *Handler) Close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	mine := !h.gave && !h.closed
	h.closed = true
	if h.taker != nil {
		_ = h.taker.Close() // it sees an end, which means: yours
	}
	h.mu.Unlock()
	if mine {
		if now, err := os.Lstat(h.path); err == nil && os.SameFile(now, h.file) {
			_ = os.Remove(h.path) // a stale file is replaced by the next one
		}
	}
	_ = h.socket.Close()
	h.done.Wait()
}

func (h *Handler) run() {
	defer h.done.Done()
	for {
		c, err := h.socket.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			h.log.Error("cannot accept on the hand-over socket; resting", "error", err)
			rest := time.NewTimer(writeWithin)
			<-rest.C
			continue
		}
		if !h.begin(c) {
			refuse(c, "another process is taking over")
			_ = c.Close()
			continue
		}
		h.done.Add(1)
		go func() {
			defer h.done.Done()
			gave := h.session(c)
			h.finish(c, gave)
		}()
	}
}

// begin makes c the one that takes over.
func (h *Handler) begin(c *net.UnixConn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.taker != nil || h.gave || h.closed {
		return false
	}
	h.taker = c
	return true
}

// finish ends a session. The socket is closed before the taker's connection: it
// sees that one's end and may then open its own socket on the same path.
func (h *Handler) finish(c *net.UnixConn, gave bool) {
	h.mu.Lock()
	h.taker, h.gave = nil, gave
	h.mu.Unlock()
	if gave {
		_ = h.socket.Close()
	}
	_ = c.Close()
	if gave {
		close(h.given)
	}
}

// session is one process's try. It reports whether that process serves now.
func (h *Handler) session(c *net.UnixConn) (gave bool) {
	_ = c.SetDeadline(time.Now().Add(askWithin))
	uid, pid, err := peer(c)
	if err != nil {
		h.log.Warn("cannot tell who asks for the listeners", "error", err)
		return false
	}
	if !trusted(uid, os.Geteuid()) {
		h.log.Warn("refused to hand listeners over", "uid", uid, "pid", pid)
		refuse(c, fmt.Sprintf("uid %d may not, only %d and root", uid, os.Geteuid()))
		return false
	}
	kind, _, err := readFrame(c)
	if err == io.EOF {
		return false // it only looked whether somebody listens
	}
	if err == nil && kind != kindAsk {
		err = errNotOurs
	}
	if err != nil {
		h.log.Warn("cannot understand who asks for the listeners", "pid", pid, "error", err)
		refuse(c, err.Error())
		return false
	}
	_ = c.SetDeadline(time.Now().Add(commitWithin))
	if err := sendOffer(c, slices.Sorted(maps.Keys(h.listeners)), h.listeners); err != nil {
		h.log.Warn("cannot hand listeners over", "pid", pid, "error", err)
		return false
	}
	h.log.Info("handing listeners over", "pid", pid)
	return h.awaitCommit(c, pid)
}

func (h *Handler) awaitCommit(c *net.UnixConn, pid int) bool {
	kind, _, err := readFrame(c)
	if err == nil && kind != kindCommit {
		err = errNotOurs
	}
	if err == nil {
		// When this reaches nobody, the new process gave up meanwhile.
		_ = c.SetWriteDeadline(time.Now().Add(writeWithin))
		_, err = c.Write(appendFrame(nil, kindYours, ""))
	}
	if err != nil {
		h.log.Warn("the process that was taking over did not; serving on", "pid", pid, "error", err)
		if !errors.Is(err, net.ErrClosed) {
			refuse(c, "too late or not understood; the old process serves on")
		}
		return false
	}
	h.log.Info("listeners handed over", "pid", pid)
	return true
}

// refuse says why not; whoever does not want to hear it need not.
func refuse(c *net.UnixConn, why string) {
	_ = c.SetWriteDeadline(time.Now().Add(writeWithin))
	_, _ = c.Write(appendFrame(nil, kindRefuse, why[:min(len(why), maxPayload)]))
}

// trusted reports whether a process of user uid may give listeners to, or take
// them from, one of user own.
func trusted(uid, own int) bool { return uid == own || uid == 0 }

// listenPrivate listens on a socket file at path that its owner alone may open,
// and never removes a file that is something else.
func listenPrivate(path string) (*net.UnixListener, fs.FileInfo, error) {
	if path == "" || path[0] == '@' {
		return nil, nil, errors.New("it must be the path of a file")
	}
	if len(path) > maxPath {
		return nil, nil, fmt.Errorf("the path has %d bytes, and a socket's at most %d", len(path), maxPath)
	}
	if err := free(path); err != nil {
		return nil, nil, err
	}
	// Under another name first, so that nobody can open it before its mode is
	// right, and the old one's place is taken in one step.
	private := filepath.Join(filepath.Dir(path), fmt.Sprintf(".hfx%d", os.Getpid()))
	if err := os.Remove(private); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	l.SetUnlinkOnClose(false)
	file, err := publish(private, path)
	if err != nil {
		_ = l.Close()
		_ = os.Remove(private)
		return nil, nil, err
	}
	return l, file, nil
}

func publish(private, path string) (fs.FileInfo, error) {
	if err := os.Chmod(private, 0o600); err != nil {
		return nil, err
	}
	file, err := os.Lstat(private)
	if err != nil {
		return nil, err
	}
	return file, os.Rename(private, path)
}

// free returns an error unless path is nothing or a socket nobody listens on.
func free(path string) error {
	file, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if file.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file that is not a socket")
	}
	c, err := net.DialTimeout("unix", path, writeWithin)
	switch {
	case err == nil:
		_ = c.Close()
		return ErrInUse
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil
	}
	return err
}
