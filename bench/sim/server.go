package sim

// The server: its configuration, its life, and the way of a request through it.

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/helixflow/helixflow"
)

// Config describes one simulated engine. The zero value is a fast engine called
// sim that accepts every model name.
type Config struct {
	Name      string   // what system_fingerprint and the first words of an answer say; "sim" if empty
	Models    []string // the only models served; empty: every name is accepted, and Name is listed
	Preset    string   // see Presets; "fast" if empty
	Seed      uint64   // of the words, ids, vectors and step jitter
	TimeScale float64  // seconds of engine time per second; 1 if 0, 10 is ten times faster
}

// Validate reports what is wrong with the configuration, if anything.
func (c Config) Validate() error {
	if _, err := PresetNamed(c.withDefaults().Preset); err != nil {
		return err
	}
	if c.TimeScale != 0 && !(c.TimeScale >= 1e-3 && c.TimeScale <= 1e6) {
		return fmt.Errorf("cannot run at time scale %v: it must be from 0.001 to 1000000", c.TimeScale)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "sim"
	}
	if c.Preset == "" {
		c.Preset = "fast"
	}
	if c.TimeScale == 0 {
		c.TimeScale = 1
	}
	return c
}

// Server is one simulated engine behind HTTP. Safe for concurrent use.
type Server struct {
	cfg      Config
	clock    *clock
	quit     chan struct{}
	handlers sync.WaitGroup

	mu       sync.Mutex // guards the fields below; never held together with the clock's
	closed   bool
	stats    Stats
	requests uint64
	failed   map[string]int // how often an id got its ordered error
}

// New starts an engine. Its owner must Close it. A configuration that does not
// validate is a bug of the caller and panics.
func New(cfg Config) *Server {
	if err := cfg.Validate(); err != nil {
		panic("BUG: " + err.Error())
	}
	cfg = cfg.withDefaults()
	preset, _ := PresetNamed(cfg.Preset)
	return &Server{
		cfg: cfg, clock: newClock(preset, cfg.Seed, cfg.TimeScale),
		quit: make(chan struct{}), stats: Stats{Name: cfg.Name}, failed: make(map[string]int),
	}
}

// Close cuts the answers under way, waits for their handlers and ends the engine.
// A handler that waits in a write to a client that does not read is ended by its
// HTTP server, so close that one first. Closing twice is allowed.
func (s *Server) Close() {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return
	}
	close(s.quit)
	s.handlers.Wait()
	s.clock.close()
}

// Handler returns the HTTP surface. After Close it answers 503.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		(&fault{status: http.StatusServiceUnavailable, kind: "server_error", message: "The engine is closed."}).write(w)
		return
	}
	defer s.handlers.Done()
	path, method := r.URL.Path, http.MethodGet
	op := inferenceOp(path)
	if op != helixflow.OpUnknown {
		method = http.MethodPost
	}
	isModel := strings.HasPrefix(path, helixflow.OpGetModel.Path())
	switch {
	case op == helixflow.OpUnknown && !isModel && !slices.Contains(plainPaths, path):
		(&fault{status: http.StatusNotFound, kind: "invalid_request_error", message: "There is nothing at this path."}).write(w)
	case r.Method != method:
		w.Header().Set("Allow", method)
		(&fault{
			status: http.StatusMethodNotAllowed, kind: "invalid_request_error",
			message: "This path takes " + method + " only.",
		}).write(w)
	case op != helixflow.OpUnknown:
		s.infer(w, r, op)
	default:
		s.inform(w, path)
	}
}

// enter counts a handler in, unless the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.handlers.Add(1)
	return true
}

func inferenceOp(path string) helixflow.Op {
	for op := helixflow.OpUnknown + 1; op < helixflow.OpListModels; op++ {
		if op.Path() == path {
			return op
		}
	}
	return helixflow.OpUnknown
}
