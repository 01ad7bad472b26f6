//go:build linux || darwin || freebsd

package handover

// The new process: it takes the listeners, serves on them, and commits.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Taken is what Take received. Serve on the listeners, then Commit; or Abort.
// For one goroutine.
type Taken struct {
	// Listeners by name, the caller's from now on. The old process accepts on
	// the same sockets until Commit.
	Listeners map[string]net.Listener

	conn    *net.UnixConn
	timeout time.Duration
}

// Take asks the process that called Serve with the same path for its listeners.
// Each step, Commit included, may last timeout; the old process waits 30 s for
// the commit. ErrNobody where no such process is. The other process must be the
// same user's or root's.
func Take(path string, timeout time.Duration) (*Taken, error) {
	t, err := take(path, timeout)
	if err != nil {
		return nil, fmt.Errorf("cannot take over the listeners offered on %s: %w", path, err)
	}
	return t, nil
}

func take(path string, timeout time.Duration) (*Taken, error) {
	raw, err := net.DialTimeout("unix", path, timeout)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, err
	}
	t := &Taken{conn: raw.(*net.UnixConn), timeout: timeout}
	if err := t.ask(); err != nil {
		_ = t.conn.Close()
		return nil, err
	}
	return t, nil
}

func (t *Taken) ask() error {
	_ = t.conn.SetDeadline(time.Now().Add(t.timeout))
	uid, _, err := peer(t.conn)
	if err != nil {
		return err
	}
	if !trusted(uid, os.Geteuid()) {
		return fmt.Errorf("that process belongs to uid %d, this one to %d", uid, os.Geteuid())
	}
	// It may have refused without reading: then the write fails, and why is
	// there to read.
	_, wrote := t.conn.Write(appendFrame(nil, kindAsk, ""))
	in := &rights{c: t.conn}
	kind, payload, err := readFrame(in)
	if err == nil && kind == kindOffer && wrote == nil {
		t.Listeners, err = in.listeners(payload)
		return err
	}
	in.close()
	return unexpected(kind, payload, errors.Join(err, wrote))
}

// Commit tells the old process that this one serves: it stops accepting and
// drains. When it does not agree, because this one took too long, or does not
// answer, the error says so and the caller should Abort: the old one serves on.
// An old process that died meanwhile is no error: nobody else has the listeners.
func (t *Taken) Commit() error {
	defer func() { _ = t.conn.Close() }()
	_ = t.conn.SetDeadline(time.Now().Add(t.timeout))
	_, wrote := t.conn.Write(appendFrame(nil, kindCommit, ""))
	kind, payload, err := readFrame(t.conn)
	var late net.Error
	switch {
	case err == nil && kind == kindYours:
		// Its end follows when the path is free for a socket of our own.
		_, _ = io.Copy(io.Discard, t.conn)
		return nil
	case errors.As(err, &late) && late.Timeout():
		return fmt.Errorf("cannot take over the listeners: the old process does not answer: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(wrote, syscall.EPIPE) && err != nil:
		return nil
	}
	return fmt.Errorf("cannot take over the listeners: %w", unexpected(kind, payload, err))
}

// Abort leaves the listeners to the old process.
func (t *Taken) Abort() {
	_ = t.conn.Close()
	closeAll(t.Listeners)
}

// unexpected is the error for an answer that is not the one hoped for.
func unexpected(kind byte, payload string, err error) error {
	switch {
	case kind == kindRefuse:
		return fmt.Errorf("the old process refuses: %q", payload)
	case errors.Is(err, io.EOF):
		return errors.New("the old process closed the connection")
	case err != nil:
		return fmt.Errorf("cannot understand the old process: %w", err)
	}
	return fmt.Errorf("cannot understand the old process: %w", errNotOurs)
}
