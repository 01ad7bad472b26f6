package admin

// /-/limits: what everybody may use, and has left of it.

import "net/http"

func (s *Server) limits(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"scopes": s.deps.Limits()})
}
