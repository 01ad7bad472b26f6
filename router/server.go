package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/internal/idempotency"
	"github.com/helixflow/helixflow/internal/metric"
	"github.com/helixflow/helixflow/internal/objects"
	"github.com/helixflow/helixflow/internal/pressure"
	"github.com/helixflow/helixflow/internal/redisx"
	"github.com/helixflow/helixflow/router/sharing"
)

const (
	drainPoll = 20 * time.Millisecond
	freshFor  = time.Second             // how long a drain waits for the first request of a new connection
	cutGrace  = 1500 * time.Millisecond // for error frames to reach their clients
)

// Options are what a Server needs that no reload changes.
type Options struct {
	MaxHeader int                    // bytes
	HalfClose string                 // "cancel" or "ignore"
	SpoolDir  string                 // for uploads whose model comes late; "" is the system's
	TLS       *tls.Config            // nil for plain HTTP
	Room      func(bytes int64) bool // whether there is memory for a large body; nil: there is
	Sharing   *sharing.Broker        // for limits that other replicas have too; nil where none are
	Metrics   *metric.Metrics
	Log       *slog.Logger
}

// Server is the edge: it serves the published Snapshot. Safe for concurrent use.
type Server struct {
	opt          Options
	metrics      *metric.Metrics
	log          *slog.Logger
	noModel      *metric.ModelSeries
	snapshot     atomic.Pointer[Snapshot]
	watcher      *watcher
	date         dateLine
	failures     quiet
	lately       lately
	throttle     *authn.Throttle
	access       atomic.Pointer[accesslog.Log]
	answers      *idempotency.Store
	known        atomic.Pointer[cache.Cache]   // nil before the first plan with a model that has answers kept
	knownThrough atomic.Pointer[redisx.Client] // what the cache is to be shared through, until there is one
	keys         cache.Keys
	flights      flights
	flying       sync.WaitGroup // of the flights' goroutines
	objects      *objects.Registry
	spooled      atomic.Int64   // bytes of uploads on disk
	mirrored     atomic.Int32   // copies under way
	copies       sync.WaitGroup // of their goroutines

	sockets atomic.Int64 // websockets that are open, or about to be

	pressure atomic.Int32 // a pressure.Level
	inflight atomic.Int64
	draining atomic.Bool // not ready any more
	stopping atomic.Bool // no request begins any more
	cutting  atomic.Bool // what still runs is being ended

	mu        sync.Mutex // guards the fields below
	listeners []*listener
	closed    bool           // no connection is taken any more
	accepting sync.WaitGroup // of the loops that accept
	conns     map[*clientConn]struct{}
	mirrors   map[*mirrorCopy]struct{}
}

// NewServer makes a server that has nothing to serve before Publish.
func NewServer(o Options) (*Server, error) {
	w, err := newWatcher(o.HalfClose != "ignore")
	if err != nil {
		return nil, err
	}
	answers := idempotency.New(0)
	o.Metrics.Idempotency(func() metric.IdempotencyStats { return metric.IdempotencyStats(answers.Stats()) })
	return &Server{
		opt: o, metrics: o.Metrics, log: o.Log, watcher: w, answers: answers,
		noModel: o.Metrics.Model(metric.OtherModel), throttle: authn.NewThrottle(),
		objects: objects.New(objects.Options{}),
		conns:   make(map[*clientConn]struct{}),
		mirrors: make(map[*mirrorCopy]struct{}),
	}, nil
}

// Publish makes snap the plan of every request that begins from now on.
func (s *Server) Publish(snap *Snapshot) {
	s.setCache(snap.cacheMemory)
	if c := s.known.Load(); c != nil {
		c.SetAlone(snap.cacheAlone)
		c.SetShare(snap.cacheShare)
	}
	s.snapshot.Store(snap)
	s.boundAnswers()
}

// Ready reports whether new work is welcome, and if not, why.
func (s *Server) Ready() (bool, string) {
	switch {
	case s.draining.Load():
		return false, "draining"
	case s.snapshot.Load() == nil:
		return false, "starting"
	case s.under(pressure.Refuse):
		return false, "overloaded"
	default:
		return true, "ready"
	}
}

// Serve accepts connections from ln until Drain; it owns ln from now on. A
// snapshot must have been published.
func (s *Server) Serve(ln *net.TCPListener) error {
	l := &listener{TCPListener: ln, log: s.log}
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	s.accepting.Add(1)
	s.mu.Unlock()
	defer s.accepting.Done()
	for !s.stopping.Load() {
		raw, err := l.accept()
		if err != nil {
			if s.stopping.Load() || errors.Is(err, net.ErrClosed) {
				break
			}
			return fmt.Errorf("cannot accept on %s: %w", ln.Addr(), err)
		}
		s.adopt(raw, l)
	}
	_ = ln.Close() // Drain has closed it already
	return nil
}

// adopt serves a new connection on a goroutine of its own.
func (s *Server) adopt(raw *net.TCPConn, l *listener) {
	c := s.attach(raw)
	if c == nil {
		return
	}
	if err := s.watcher.add(raw, &c.cell); err != nil {
		l.complain("cannot watch a connection for its hang-up", err)
	}
	go c.serve()
}

// attach makes raw a connection of s; nil if s takes none any more.
func (s *Server) attach(raw net.Conn) *clientConn {
	c := &clientConn{srv: s, raw: raw, nc: raw, cell: cell{fd: -1}, accepted: time.Now()}
	if s.opt.TLS != nil {
		c.nc = tls.Server(raw, s.opt.TLS)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = raw.Close()
		return nil
	}
	s.conns[c] = struct{}{}
	return c
}

// forget is attach's end.
func (s *Server) forget(c *clientConn) {
	s.watcher.remove(&c.cell)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// walk serves e and turns whatever goes wrong into its answer.
func (s *Server) walk(e *Exchange) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(e, p, debug.Stack())
			e.fail(fmt.Errorf("panic: %v", p))
		}
	}()
	e.accept()
	if err := s.serve(e); err != nil {
		e.fail(err)
	}
}

// SetAccess makes log the access log of every request that ends from now on;
// nil for none. The caller closes it, not before it set another one.
func (s *Server) SetAccess(log *accesslog.Log) { s.access.Store(log) }

// Errors are the last errors of backends, the latest first.
func (s *Server) Errors() []Event { return s.lately.list() }

// Drain ends the server in order: not ready, yet serving, for the lame duck;
// then no new connections, and what runs may finish until limit; then the rest
// is ended with an error frame. It returns when all is done.
func (s *Server) Drain(ctx context.Context, lameDuck, timeout time.Duration) {
	s.draining.Store(true)
	limit, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	lame := time.NewTimer(lameDuck)
	defer lame.Stop()
	select {
	case <-lame.C:
	case <-limit.Done():
	}
	s.stop()
	defer s.hangUpOn(connFresh) // who has not asked by then
	if s.empty(limit) {
		return
	}
	s.cutting.Store(true)
	grace, cancel := context.WithTimeout(context.Background(), cutGrace)
	defer cancel()
	s.each(func(c *clientConn) { c.endNow() })
	s.empty(grace)
}

// stop closes the listeners and every idle connection. One that becomes idle
// later closes itself; one that was just accepted is answered once.
func (s *Server) stop() {
	s.stopping.Store(true)
	s.mu.Lock()
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	s.accepting.Wait() // what was accepted is known now
	s.hangUpOn(connIdle)
}

// hangUpOn closes every connection in this state.
func (s *Server) hangUpOn(state int32) {
	s.each(func(c *clientConn) {
		if c.state.CompareAndSwap(state, connClosed) {
			_ = c.raw.Close()
		}
	})
}

// empty waits until no request runs, or ctx ends.
func (s *Server) empty(ctx context.Context) bool {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for s.running() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			if s.cutting.Load() {
				s.each(func(c *clientConn) { c.endNow() }) // also what began to wait since
			}
		}
	}
	return true
}

// running reports whether a request runs, is just being read, or may be on its
// way on a new connection.
func (s *Server) running() bool {
	busy := s.inflight.Load() > 0
	s.each(func(c *clientConn) {
		state := c.state.Load()
		busy = busy || state == connBusy || state == connFresh && time.Since(c.accepted) < freshFor
	})
	return busy
}

// open is how many connections there are.
func (s *Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// each calls f for every connection.
func (s *Server) each(f func(*clientConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		f(c)
	}
}

// all is a list of the connections.
func (s *Server) all() []*clientConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// Close closes what is still open, after Drain, and waits for it to end.
func (s *Server) Close() {
	s.draining.Store(true)
	s.stop()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for s.open() > 0 {
		for _, c := range s.all() { // a busy one's Close may wait for its request, which may want s.mu
			_ = c.raw.Close()
		}
		<-tick.C
	}
	s.mu.Lock()
	for c := range s.mirrors {
		c.cell.hangUp()
	}
	s.mu.Unlock()
	s.copies.Wait()
	s.flying.Wait()
	s.watcher.close()
	s.answers.Close()
	if c := s.known.Load(); c != nil {
		c.Close()
	}
	if r := s.knownThrough.Swap(nil); r != nil {
		r.Close()
	}
}
