package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/metric"
)

const (
	headerTime  = 10 * time.Second // for a request's header to arrive
	idleTime    = 75 * time.Second // above the 60 s of common load balancers
	drainPoll   = 20 * time.Millisecond
	cutGrace    = 1500 * time.Millisecond // for error frames to reach their clients
	writeBuffer = 4 << 10
)

// Options are what a Server needs that no reload changes.
type Options struct {
	MaxHeader    int           // bytes
	HalfClose    string        // "cancel" or "ignore"
	LameDuck     time.Duration // not ready, still serving
	DrainTimeout time.Duration // from the beginning of a drain to the cut
	TLS          *tls.Config   // nil for plain HTTP
	Metrics      *metric.Metrics
	Log          *slog.Logger
}

// Server is the edge: it serves the published Snapshot. Safe for concurrent use.
type Server struct {
	opt      Options
	metrics  *metric.Metrics
	log      *slog.Logger
	noModel  *metric.ModelSeries
	snapshot atomic.Pointer[Snapshot]
	live     *liveness
	fast     fasthttp.Server
	failures quiet

	inflight atomic.Int64
	draining atomic.Bool // not ready any more
	cutting  atomic.Bool // what still runs is being ended

	mu        sync.Mutex // guards listeners
	listeners []*listener
	serving   sync.WaitGroup
}

// NewServer makes a server that has nothing to serve before Publish.
func NewServer(o Options) (*Server, error) {
	live, err := newLiveness(o.HalfClose != "ignore")
	if err != nil {
		return nil, err
	}
	s := &Server{opt: o, metrics: o.Metrics, log: o.Log, noModel: o.Metrics.Model(metric.OtherModel), live: live}
	s.fast = fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.refuse,
		ExpectHandler:                s.expect,
		ConnState:                    s.connState,
		ReadBufferSize:               o.MaxHeader,
		WriteBufferSize:              writeBuffer,
		ReadTimeout:                  headerTime,
		IdleTimeout:                  idleTime,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		LazyRequestTime:              true,
		CloseOnShutdown:              true,
		Concurrency:                  1 << 20, // admission is ours
		Logger:                       fastLog{o.Log},
	}
	return s, nil
}

// Publish makes snap the plan of every request that begins from now on.
func (s *Server) Publish(snap *Snapshot) { s.snapshot.Store(snap) }

// Ready reports whether new work is welcome, and if not, why.
func (s *Server) Ready() (bool, string) {
	switch {
	case s.draining.Load():
		return false, "draining"
	case s.snapshot.Load() == nil:
		return false, "starting"
	default:
		return true, "ready"
	}
}

// Serve accepts connections from ln until Drain; it owns ln from now on. A
// snapshot must have been published.
func (s *Server) Serve(ln *net.TCPListener) error {
	l := &listener{TCPListener: ln, tls: s.opt.TLS, live: s.live, log: s.log}
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		return ln.Close()
	}
	s.listeners = append(s.listeners, l)
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	err := s.fast.Serve(l)
	if s.draining.Load() || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("cannot serve on %s: %w", ln.Addr(), err)
}

// handle is a request's way through fasthttp: the walk, then the answer. A
// panic that walk could not make an answer of ends this request only.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	var e *Exchange // until its body stream owns it
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(e, p, debug.Stack())
			if e != nil {
				_ = e.stream.Close()
			}
			s.plain(ctx, &helixflow.Error{Kind: helixflow.KindInternal})
			ctx.SetConnectionClose()
		}
	}()
	if s.preflight(ctx) {
		return
	}
	e = s.begin()
	s.walk(e, ctx)
	e.respond(ctx)
	ctx.Response.SetBodyStream(&e.stream, e.bodySize())
	e = nil
}

// walk serves e and turns whatever goes wrong into its answer.
func (s *Server) walk(e *Exchange, ctx *fasthttp.RequestCtx) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(e, p, debug.Stack())
			e.fail(fmt.Errorf("panic: %v", p))
		}
	}()
	e.accept(ctx)
	if err := s.serve(e); err != nil {
		e.fail(err)
	}
}

// expect answers "Expect: 100-continue" before the body is sent: a refusal that
// the header alone decides saves the upload.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	s.live.find(ctx.Conn()).armWrite(ctx.Conn(), time.Now())
	if int64(ctx.Request.Header.ContentLength()) <= s.snapshot.Load().maxBody {
		return fasthttp.StatusContinue
	}
	s.plain(ctx, tooLarge(s.snapshot.Load().maxBody))
	return ctx.Response.StatusCode()
}

// refuse answers what fasthttp could not even parse.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	problem := &helixflow.Error{Kind: helixflow.KindInvalidRequest, Public: "The request is not well-formed HTTP.", Cause: err}
	var small *fasthttp.ErrSmallBuffer
	var ne net.Error
	switch {
	case errors.As(err, &small):
		problem = &helixflow.Error{Kind: helixflow.KindHeaderTooLarge, Cause: err}
	case errors.As(err, &ne) && ne.Timeout():
		problem = &helixflow.Error{Kind: helixflow.KindBodyTimeout, Public: "The request's header did not arrive in time.", Cause: err}
	}
	s.live.find(ctx.Conn()).armWrite(ctx.Conn(), time.Now())
	s.plain(ctx, problem)
	if problem.Kind == helixflow.KindHeaderTooLarge {
		// The rest of the header is still to come, and fasthttp closes at once:
		// what it writes after this reaches nobody.
		ctx.Response.Header.SetConnectionClose()
		writeLast(ctx.Conn(), &ctx.Response)
		lingerOn(ctx.Conn())
	}
}

// plain answers with a problem outside of any exchange.
func (s *Server) plain(ctx *fasthttp.RequestCtx, p *helixflow.Error) {
	f := &forms[p.Kind]
	ctx.Response.Reset()
	ctx.SetStatusCode(f.status)
	ctx.SetContentType("application/json")
	ctx.Response.Header.SetBytesV(helixflow.HeaderRequestID, newRequestID(nil))
	ctx.SetBody(problemBody(nil, p))
	s.noModel.Request(helixflow.OpUnknown, false, f.status, 0)
}

func (s *Server) connState(c net.Conn, state fasthttp.ConnState) {
	if state == fasthttp.StateClosed || state == fasthttp.StateHijacked {
		s.live.remove(c)
	}
}

// Drain ends the server in order: not ready, yet serving, for the lame duck;
// then no new connections, and what runs may finish until the drain's limit;
// then the rest is ended with an error frame. It returns when all is done.
func (s *Server) Drain(ctx context.Context) {
	s.mu.Lock()
	s.draining.Store(true)
	s.mu.Unlock()
	limit, cancel := context.WithTimeout(ctx, s.opt.DrainTimeout)
	defer cancel()
	lame := time.NewTimer(s.opt.LameDuck)
	defer lame.Stop()
	select {
	case <-lame.C:
	case <-limit.Done():
	}
	if s.shutdown(limit) {
		return
	}
	s.cutting.Store(true)
	grace, cancel := context.WithTimeout(context.Background(), cutGrace)
	defer cancel()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for s.inflight.Load() > 0 && grace.Err() == nil {
		s.live.breakAll()
		<-tick.C
	}
}

// shutdown closes the listeners and waits for the requests that run, not for
// connections that are merely open.
func (s *Server) shutdown(limit context.Context) (idle bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.fast.ShutdownWithContext(limit)
	}()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return s.inflight.Load() == 0
		case <-limit.Done():
			<-done
			return s.inflight.Load() == 0
		case <-tick.C:
		}
	}
}

// Close frees what the server holds, after Drain.
func (s *Server) Close() {
	s.mu.Lock()
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
	s.live.close()
}

// fastLog passes fasthttp's own complaints on, which name no header's value
// (SecureErrorLogMessage), at the lowest level: most are clients' doing.
type fastLog struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (l fastLog) Printf(format string, args ...any) {
	l.log.Debug("http: " + fmt.Sprintf(format, args...))
}
