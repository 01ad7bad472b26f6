package admin

// The server, and a request's way through it.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/helixflow/helixflow/internal/secret"
)

// Bounds of one exchange. A scrape of many series is the slowest answer;
// profiles, which take the time they are asked to, extend their own.
const (
	readTimeout    = 5 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 75 * time.Second
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 4 << 10 // where no body is wanted
)

// Server is the control plane's HTTP server. Make it with New.
type Server struct {
	deps     Deps
	host     string // the host the operator configured, accepted in Host headers
	guard    atomic.Pointer[guard]
	routes   map[string]route
	loopback atomic.Bool // it is bound there; set by Serve
	http     *http.Server
}

// New returns a server for the address server.admin, "host:port". An address
// off loopback is an error without a token, and so is a token that could be
// guessed.
func New(listen string, deps Deps) (*Server, error) {
	g, err := newGuard(deps.Token)
	if err != nil {
		return nil, err
	}
	host, err := hostOf(listen, g.enabled())
	if err != nil {
		return nil, err
	}
	s := &Server{deps: deps, host: host}
	s.guard.Store(g)
	s.routes = s.table()
	s.http = &http.Server{
		Handler:                      http.HandlerFunc(s.serve),
		DisableGeneralOptionsHandler: true, // or "OPTIONS *" would pass by serve
		ReadHeaderTimeout:            readTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(deps.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// SetToken replaces the token, for requests that begin from now on. It refuses
// what New refuses, and keeps the old one then. Safe for concurrent use.
func (s *Server) SetToken(token secret.Text) error {
	g, err := newGuard(token)
	if err != nil {
		return err
	}
	if !g.enabled() && s.guard.Load().enabled() && !s.loopback.Load() {
		return fmt.Errorf("cannot do without an admin token: %w", errOffLoopback)
	}
	s.guard.Store(g)
	return nil
}

// Serve answers on l until Shutdown, and closes it; call it once. Without a
// token it returns an error at once when l is not on loopback, whatever name
// led there. It returns nil after Shutdown.
func (s *Server) Serve(l net.Listener) error {
	s.loopback.Store(onLoopback(l.Addr()))
	if !s.loopback.Load() && !s.guard.Load().enabled() {
		_ = l.Close()
		return fmt.Errorf("cannot listen on the admin address %s: %w", l.Addr(), errOffLoopback)
	}
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve the admin address %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting and waits for the answers under way; when ctx ends
// first it cuts them and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
		return fmt.Errorf("cannot wait for the admin server: %w", err)
	}
	return nil
}

// serve is the whole server: one request to its answer. Who asks is settled
// before anything is said about what there is.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer s.recoverPanic(w)
	if s.loopback.Load() && !s.allowsHost(r.Host) {
		refuse(w, http.StatusMisdirectedRequest, "this address answers only to loopback names and to the host it was configured with")
		return
	}
	if name := ambiguous(r.Header); name != "" {
		refuse(w, http.StatusBadRequest, "the header "+name+" stands there twice")
		return
	}
	route, known := s.routes[r.URL.Path]
	if !route.open && !s.guard.Load().allows(r) {
		challenge(w, r)
		refuse(w, http.StatusUnauthorized, "this address asks for its token: Authorization: Bearer TOKEN, or to read in a browser, the token as password")
		return
	}
	switch {
	case !known:
		refuse(w, http.StatusNotFound, "no such path; GET / links to what there is")
	case !route.takes(r.Method):
		w.Header().Set("Allow", route.allow())
		refuse(w, http.StatusMethodNotAllowed, "only "+route.allow()+" is allowed here")
	case route.ownSite && fromAnotherSite(r):
		refuse(w, http.StatusForbidden, "a page of another site may not ask this")
	case !route.wantsBody(r.Method) && !emptied(w, r):
	default:
		route.answer(w, r)
	}
}

// recoverPanic turns a panic into a 500, as far as nothing was written yet.
func (s *Server) recoverPanic(w http.ResponseWriter) {
	if r := recover(); r != nil {
		s.deps.Log.Error("panic in the admin server", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		refuse(w, http.StatusInternalServerError, "internal error")
	}
}
