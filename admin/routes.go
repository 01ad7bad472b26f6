package admin

// What there is to ask, and the plain answers among it.

import (
	"io"
	"net/http"
	"strings"
)

// route is one path.
type route struct {
	change  bool // POST; otherwise GET and HEAD
	body    bool // GET, HEAD, and POST with a body that answer reads
	open    bool // needs no token
	ownSite bool // changes something or costs much: not for pages of other sites
	answer  http.HandlerFunc
}

func (r route) takes(method string) bool {
	if method == http.MethodPost {
		return r.change || r.body
	}
	return !r.change && isRead(method)
}

func (r route) allow() string {
	switch {
	case r.change:
		return "POST"
	case r.body:
		return "GET, HEAD, POST"
	}
	return "GET, HEAD"
}

func (r route) wantsBody(method string) bool { return r.body && method == http.MethodPost }

// table is every path. A map and not http.ServeMux, whose redirects and
// refusals are not JSON.
func (s *Server) table() map[string]route {
	routes := map[string]route{
		"/healthz":            {open: true, answer: s.healthz},
		"/readyz":             {open: true, answer: s.readyz},
		"/":                   {answer: s.page},
		"/metrics":            {answer: s.metrics},
		"/-/":                 {answer: s.status},
		"/-/status":           {answer: s.status},
		"/-/config":           {answer: s.config},
		"/-/backends":         {answer: s.backends},
		"/-/backends/drain":   {change: true, ownSite: true, answer: s.drainBackend},
		"/-/backends/undrain": {change: true, ownSite: true, answer: s.undrainBackend},
		"/-/limits":           {answer: s.limits},
		"/-/cache":            {answer: s.cache},
		"/-/cache/purge":      {change: true, ownSite: true, answer: s.purgeCache},
		"/-/explain":          {body: true, ownSite: true, answer: s.explain},
		"/-/reload":           {change: true, ownSite: true, answer: s.reload},
		"/-/drain":            {change: true, ownSite: true, answer: s.drain},
	}
	for path, asset := range pageAssets() {
		routes[path] = route{answer: asset}
	}
	for path, profile := range profiles() {
		routes[path] = route{ownSite: true, answer: profile}
	}
	return routes
}

// healthz says that the process lives and nothing else: a restart must not be
// the answer to a backend's trouble.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	ready, state := s.deps.Readiness.Ready()
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]string{"status": state})
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	var text strings.Builder // whole before the first byte goes out, so that a panic is still a 500
	s.deps.WriteMetrics(&text)
	setHeader(w, "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, text.String())
}

// drain begins the end of this process; /readyz tells how far it is.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.deps.Log.Info("drain asked for", "by", r.RemoteAddr)
	s.deps.Drain()
	answer(w, http.StatusAccepted, map[string]string{"status": "draining"})
}
