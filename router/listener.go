package router

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// How long the listener rests when no descriptor is left. Open connections go
// on; fasthttp alone would end its accept loop for good.
const acceptRest = 50 * time.Millisecond

var clientKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// listener accepts client connections: it survives a lack of descriptors,
// registers each connection for hang-ups, and hands out plain *net.TCPConn, or
// TLS over one.
type listener struct {
	*net.TCPListener
	tls  *tls.Config // nil for plain HTTP
	live *liveness
	log  *slog.Logger
	rare quiet
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.AcceptTCP()
		if err == nil {
			return l.adopt(raw), nil
		}
		if !passing(err) {
			return nil, err
		}
		if dropped, ok := l.rare.allow(time.Now()); ok {
			l.log.Error("cannot accept a connection; resting", "error", err, "unreported_before", dropped)
		}
		rest := time.NewTimer(acceptRest)
		<-rest.C
	}
}

func (l *listener) adopt(raw *net.TCPConn) net.Conn {
	_ = raw.SetKeepAliveConfig(clientKeepAlive)
	var served net.Conn = raw
	if l.tls != nil {
		served = tls.Server(raw, l.tls)
	}
	if err := l.live.add(raw, served); err != nil {
		if dropped, ok := l.rare.allow(time.Now()); ok {
			l.log.Warn("cannot watch a connection for its hang-up", "error", err, "unreported_before", dropped)
		}
	}
	return served
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
