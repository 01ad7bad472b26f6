// The control port: the same server asked over HTTP, for clients in other
// languages and for scripts.

package fakellm

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Control returns a handler for a control port:
//
//	GET  /requests   the requests so far, as JSON
//	GET  /conns      the connections so far, as JSON
//	POST /queue      queue the script in the body
//	POST /forget     empty the record
//	POST /down       refuse connections, close the open ones (?reset=1: with RST)
//	POST /resume     let what stalls go on
//	POST /up         listen again
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Requests()) })
	mux.HandleFunc("GET /conns", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Conns()) })
	mux.HandleFunc("POST /queue", s.handleQueue)
	mux.HandleFunc("POST /forget", func(http.ResponseWriter, *http.Request) { s.Forget() })
	mux.HandleFunc("POST /down", func(_ http.ResponseWriter, r *http.Request) { s.Down(r.FormValue("reset") != "") })
	mux.HandleFunc("POST /resume", func(http.ResponseWriter, *http.Request) { s.Resume() })
	mux.HandleFunc("POST /up", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Up(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

func (s *Server) handleQueue(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		http.Error(w, fmt.Sprintf("cannot read the script: %v", err), http.StatusBadRequest)
		return
	}
	script, err := Parse(string(text))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.Queue(script)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a caller that left needs no answer
}
