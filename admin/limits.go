package admin

// /-/limits: what everybody may use, and has left of it.

import "net/http"

func (s *Server) limits(w http.ResponseWriter, _ *http.Request) {
	all := map[string]any{"scopes": s.deps.Limits()}
	if shared := s.deps.Sharing(); shared != nil {
		all["sharing"] = shared
	}
	answer(w, http.StatusOK, all)
}
