package sim

// What is answered without the engine's time: models, health, metrics, stats.

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/helixflow/helixflow"
)

// plainPaths are those of inform, the single models apart.
var plainPaths = []string{"/v1/models", "/health", "/metrics", "/sim/stats"}

// inform answers what needs no engine.
func (s *Server) inform(w http.ResponseWriter, path string) {
	switch path {
	case "/health":
		w.WriteHeader(http.StatusOK)
	case "/metrics":
		counters, figures := s.clock.snapshot()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, metricsPage(s.models()[0], s.Stats(), counters, &figures))
	case "/sim/stats":
		writeJSON(w, http.StatusOK, marshal(s.Stats()))
	case "/v1/models":
		var data []object
		for _, id := range s.models() {
			data = append(data, s.model(id))
		}
		writeJSON(w, http.StatusOK, marshal(object{"object": "list", "data": data}))
	default:
		id := strings.TrimPrefix(path, helixflow.OpGetModel.Path())
		if f := s.checkModel(id); f != nil {
			f.write(w)
			return
		}
		writeJSON(w, http.StatusOK, marshal(s.model(id)))
	}
}

func (s *Server) models() []string {
	if len(s.cfg.Models) == 0 {
		return []string{s.cfg.Name}
	}
	return s.cfg.Models
}

func (s *Server) model(id string) object {
	return object{
		"id": id, "object": "model", "created": s.clock.start.Unix(), "owned_by": "sim",
		"max_model_len": s.clock.preset.MaxModelLen,
	}
}

func (s *Server) checkModel(id string) *fault {
	if id == "" || len(s.cfg.Models) > 0 && !slices.Contains(s.cfg.Models, id) {
		return &fault{
			status: http.StatusNotFound, kind: "invalid_request_error", code: "model_not_found", param: "model",
			message: "The model " + strconv.Quote(id) + " does not exist.",
		}
	}
	return nil
}

// Stats returns the counters since the start and the gauges of now.
func (s *Server) Stats() Stats {
	counters, _ := s.clock.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Open = st.Received - st.Refused - st.Finished - st.Aborted
	st.Running, st.Waiting = counters.Running, counters.Waiting
	st.BlocksUsed, st.BlocksTotal = counters.BlocksUsed, counters.BlocksTotal
	st.LastHeaders = slices.Clone(st.LastHeaders)
	return st
}
