package sim

// A request that takes the engine's time, from its first byte to its sequences.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/helixflow/helixflow"
)

// infer serves one request that takes the engine's time.
func (s *Server) infer(w http.ResponseWriter, r *http.Request, op helixflow.Op) {
	s.receive(r)
	ans, f := s.accept(w, r, op)
	if f != nil {
		s.count(&s.stats.Refused)
		f.write(w)
		return
	}
	how := left
	defer func() {
		s.clock.release(ans.jobs())
		if how == delivered {
			s.count(&s.stats.Finished)
		} else {
			s.count(&s.stats.Aborted)
		}
	}()
	if how = s.answer(r.Context(), w, ans); how == cut {
		panic(http.ErrAbortHandler) // net/http's way to close the connection here and now
	}
}

func (s *Server) receive(r *http.Request) {
	names := slices.Sorted(maps.Keys(r.Header))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Received++
	s.stats.LastHeaders = names
}

func (s *Server) count(which *int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*which++
}

// accept reads the request and starts its sequences.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, op helixflow.Op) (*answer, *fault) {
	data, f := readBody(w, r)
	if f != nil {
		return nil, f
	}
	a, f := readAsk(op, s.models()[0], data)
	if f != nil {
		return nil, f
	}
	if f := s.checkModel(a.model); f != nil {
		return nil, f
	}
	if f := a.orderedFault(); f != nil && s.failsNow(&a.orders) {
		s.pause(r.Context(), a.orders.ttft)
		return nil, f
	}
	return s.start(a)
}

// maxBody is the largest body read, twice the router's default.
const maxBody = 64 << 20

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *fault) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &fault{
			status: http.StatusUnsupportedMediaType, kind: "invalid_request_error",
			message: "Compressed bodies are not read.",
		}
	}
	body := http.MaxBytesReader(w, r.Body, maxBody)
	var data []byte
	var err error
	if r.ContentLength > 0 && r.ContentLength <= maxBody {
		data = make([]byte, r.ContentLength)
		_, err = io.ReadFull(body, data)
	} else {
		data, err = io.ReadAll(body)
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || r.ContentLength > maxBody {
		return nil, &fault{
			status: http.StatusRequestEntityTooLarge, kind: "invalid_request_error", code: "request_too_large",
			message: fmt.Sprintf("The body is above %d bytes.", maxBody),
		}
	}
	if err != nil {
		return nil, badRequest("", "cannot read the body: it is cut")
	}
	return data, nil
}

// maxFailed bounds how many ids are remembered; beyond, all are forgotten.
const maxFailed = 4096

// failsNow reports whether the ordered error is due, and counts it.
func (s *Server) failsNow(o *orders) bool {
	if o.times == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed[o.id] >= o.times {
		return false
	}
	if len(s.failed) >= maxFailed {
		clear(s.failed)
	}
	s.failed[o.id]++
	return true
}

func (s *Server) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.quit:
	}
}
