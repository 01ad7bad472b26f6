package router

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// How long the listener rests when no descriptor is left. Open connections go
// on meanwhile.
const acceptRest = 50 * time.Millisecond

var clientKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// listener accepts client connections and survives a lack of descriptors.
type listener struct {
	*net.TCPListener
	log  *slog.Logger
	rare quiet
}

// accept waits for the next connection.
func (l *listener) accept() (*net.TCPConn, error) {
	for {
		raw, err := l.AcceptTCP()
		if err == nil {
			_ = raw.SetKeepAliveConfig(clientKeepAlive)
			return raw, nil
		}
		if !passing(err) {
			return nil, err
		}
		l.complain("cannot accept a connection; resting", err)
		rest := time.NewTimer(acceptRest)
		<-rest.C
	}
}

// complain tells the operator, at most once a second.
func (l *listener) complain(what string, err error) {
	if dropped, ok := l.rare.allow(time.Now()); ok {
		l.log.Error(what, "error", err, "unreported_before", dropped)
	}
}

// passing reports whether accepting may work again later.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
