//go:build !linux && !darwin && !freebsd

package handover

// Systems where listeners cannot be passed between processes.

import (
	"errors"
	"log/slog"
	"net"
	"runtime"
	"time"
)

var errUnsupported = errors.New("cannot hand listeners over: not supported on " + runtime.GOOS)

// Handler offers the listeners of this process; not on this system.
type Handler struct{}

// Serve returns an error on this system.
func Serve(string, map[string]net.Listener, *slog.Logger) (*Handler, error) {
	return nil, errUnsupported
}

// Given never happens on this system.
func (h *Handler) Given() <-chan struct{} { return nil }

// Close does nothing on this system.
func (h *Handler) Close() {}

// Taken is what Take received; nothing on this system.
type Taken struct {
	Listeners map[string]net.Listener
}

// Take returns an error on this system.
func Take(string, time.Duration) (*Taken, error) { return nil, errUnsupported }

// Commit returns an error on this system.
func (t *Taken) Commit() error { return errUnsupported }

// Abort does nothing on this system.
func (t *Taken) Abort() {}

func adopt(int, string) (net.Listener, error) { return nil, errUnsupported }
