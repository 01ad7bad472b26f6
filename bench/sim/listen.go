package sim

// A server on a socket of its own.

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// Running is a server that listens. Safe for concurrent use.
type Running struct {
	server *Server
	http   *http.Server
	addr   string
	served chan struct{}
}

// Start starts an engine that listens on addr, "127.0.0.1:0" for a free port.
func Start(cfg Config, addr string) (*Running, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for simulated engine: %w", err)
	}
	s := New(cfg)
	r := &Running{
		server: s, addr: ln.Addr().String(), served: make(chan struct{}),
		http: &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second},
	}
	go func() {
		defer close(r.served)
		_ = r.http.Serve(ln) // ends when Close closes the listener
	}()
	return r, nil
}

// Addr returns the address listened on, as host:port.
func (r *Running) Addr() string { return r.addr }

// Stats returns what /sim/stats says.
func (r *Running) Stats() Stats { return r.server.Stats() }

// Close closes the listener and every connection, and waits until nothing of the
// server runs any more. Closing twice is allowed.
func (r *Running) Close() error {
	err := r.http.Close()
	r.server.Close()
	<-r.served
	if err != nil {
		return fmt.Errorf("cannot close simulated engine: %w", err)
	}
	return nil
}
