package admin

// /debug/pprof/: profiles for go tool pprof. Made of runtime/pprof, because
// importing net/http/pprof puts its handlers, with the command line among
// them, on the mux that any other server of the process might serve.

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

const (
	profilePath       = "/debug/pprof/"
	profileSeconds    = 30 // net/http/pprof's default, which go tool pprof expects
	traceSeconds      = 1
	maxProfileSeconds = 120
)

// profiles are the routes.
func profiles() map[string]http.HandlerFunc {
	routes := map[string]http.HandlerFunc{
		profilePath: listProfiles,
		profilePath + "profile": func(w http.ResponseWriter, r *http.Request) {
			record(w, r, profileSeconds, pprof.StartCPUProfile, pprof.StopCPUProfile)
		},
		profilePath + "trace": func(w http.ResponseWriter, r *http.Request) {
			record(w, r, traceSeconds, trace.Start, trace.Stop)
		},
	}
	for _, p := range pprof.Profiles() {
		routes[profilePath+p.Name()] = func(w http.ResponseWriter, r *http.Request) { snapshot(w, r, p) }
	}
	return routes
}

// listProfiles says what there is, and how much of it.
func listProfiles(w http.ResponseWriter, _ *http.Request) {
	counts := make(map[string]int)
	for _, p := range pprof.Profiles() {
		counts[p.Name()] = p.Count()
	}
	answer(w, http.StatusOK, map[string]any{"profiles": counts, "recorded": []string{"profile?seconds=30", "trace?seconds=1"}})
}

// snapshot writes what a profile holds now: ?debug=1 or 2 as text, ?gc=1 after
// a garbage collection.
func snapshot(w http.ResponseWriter, r *http.Request, p *pprof.Profile) {
	debug, _ := strconv.Atoi(r.FormValue("debug"))
	if r.FormValue("gc") == "1" && p.Name() == "heap" {
		runtime.GC()
	}
	if debug > 0 {
		setHeader(w, "text/plain; charset=utf-8")
	} else {
		setHeader(w, "application/octet-stream")
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", p.Name()))
	}
	_ = p.WriteTo(w, debug)
}

// record writes what happens in the next ?seconds=, or until the asker leaves.
func record(w http.ResponseWriter, r *http.Request, seconds int, start func(io.Writer) error, stop func()) {
	if text := r.FormValue("seconds"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil || seconds < 1 || seconds > maxProfileSeconds {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("seconds is a whole number from 1 to %d", maxProfileSeconds))
			return
		}
	}
	length := time.Duration(seconds) * time.Second
	// The server's own deadline is for short answers.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(length + writeTimeout))
	setHeader(w, "application/octet-stream")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", path.Base(r.URL.Path)))
	if err := start(w); err != nil {
		w.Header().Del("Content-Disposition")
		refuse(w, http.StatusConflict, "this is being recorded for somebody else already")
		return
	}
	defer stop()
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}
