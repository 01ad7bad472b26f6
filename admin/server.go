package admin

// The server, and a request's way through it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// Bounds of one exchange. A scrape of many series is the slowest answer.
const (
	readTimeout    = 5 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 75 * time.Second
	maxHeaderBytes = 16 << 10
)

// Readiness says whether the router wants traffic. It must be safe for
// concurrent use.
type Readiness interface {
	// Ready returns whether to send traffic here, and the word for why:
	// "ready", "starting" or "draining".
	Ready() (ready bool, state string)
}

// Deps is what the server shows. All fields are required.
type Deps struct {
	Readiness    Readiness
	WriteMetrics func(io.Writer) // Prometheus' text format; safe for concurrent use
	Log          *slog.Logger
}

// Server is the control plane's HTTP server. Make it with New.
type Server struct {
	deps Deps
	host string // the host the operator configured, accepted in Host headers
	http *http.Server
}

// New returns a server for the address server.admin, "host:port". An address
// off loopback is an error, as long as there is no way to ask for a token.
func New(listen string, deps Deps) (*Server, error) {
	host, err := loopbackHost(listen)
	if err != nil {
		return nil, err
	}
	s := &Server{deps: deps, host: host}
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

// Serve answers on l until Shutdown, and closes it. It returns an error at once
// when l is not on loopback, whatever name led there, and nil after Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := mustBeLoopback(l.Addr()); err != nil {
		_ = l.Close()
		return err
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

// serve is the whole server: one request to its answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	defer s.recoverPanic(w)
	if !s.allowsHost(r.Host) {
		refuse(w, http.StatusMisdirectedRequest, "this address answers only to loopback names and to the host it was configured with")
		return
	}
	// A switch and not http.ServeMux, whose redirects and refusals are not JSON.
	var handler func(http.ResponseWriter)
	switch r.URL.Path {
	case "/healthz":
		handler = s.healthz
	case "/readyz":
		handler = s.readyz
	case "/metrics":
		handler = s.metrics
	default:
		refuse(w, http.StatusNotFound, "no such path; there are /healthz, /readyz and /metrics")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD are allowed here")
		return
	}
	handler(w)
}

// recoverPanic turns a panic into a 500, as far as nothing was written yet.
func (s *Server) recoverPanic(w http.ResponseWriter) {
	if r := recover(); r != nil {
		s.deps.Log.Error("panic in the admin server", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		refuse(w, http.StatusInternalServerError, "internal error")
	}
}

// healthz says that the process lives and nothing else: a restart must not be
// the answer to a backend's trouble.
func (s *Server) healthz(w http.ResponseWriter) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) readyz(w http.ResponseWriter) {
	ready, state := s.deps.Readiness.Ready()
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]string{"status": state})
}

func (s *Server) metrics(w http.ResponseWriter) {
	var text strings.Builder // whole before the first byte goes out, so that a panic is still a 500
	s.deps.WriteMetrics(&text)
	setHeader(w, "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, text.String())
}

// refuse answers with the one shape all errors here have.
func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"error": map[string]string{"message": message}})
}

// answer writes v as JSON. The client may be gone; that is its own affair.
func answer(w http.ResponseWriter, status int, v any) {
	setHeader(w, "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func setHeader(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}
