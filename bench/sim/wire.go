package sim

// What goes on the wire, whatever the endpoint: JSON strings, error bodies and
// server-sent events.

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// fault is an error answer.
type fault struct {
	status     int
	kind       string // OpenAI's "type"
	code       string // "" is null
	param      string // "" is null
	message    string
	retryAfter time.Duration
}

func (f *fault) Error() string { return f.message }

func badRequest(param, message string) *fault {
	return &fault{status: http.StatusBadRequest, kind: "invalid_request_error", param: param, message: message}
}

// object is a JSON object in the making; encoding/json sorts its keys.
type object map[string]any

// body is OpenAI's error object, all four keys.
func (f *fault) body() []byte {
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	return marshal(object{"error": object{
		"message": f.message, "type": f.kind, "param": null(f.param), "code": null(f.code),
	}})
}

func (f *fault) write(w http.ResponseWriter) {
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(f.retryAfter.Seconds())), 10))
		w.Header().Set("Retry-After-Ms", strconv.FormatInt(f.retryAfter.Milliseconds(), 10))
	}
	writeJSON(w, f.status, f.body())
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client left; the caller sees it in the context
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("BUG: cannot marshal answer: " + err.Error())
	}
	return data
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(dst, marshal(s)...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// events is a stream of server-sent events: frames collect in buf until Flush.
type events struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf []byte
}

// openEvents sends the header, so that the client knows before the first token
// that it is served, as engines do.
func openEvents(w http.ResponseWriter) (*events, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	e := &events{w: w, rc: http.NewResponseController(w)}
	return e, e.rc.Flush()
}

// flush sends what has been collected, in one write.
func (e *events) flush() error {
	if len(e.buf) == 0 {
		return nil
	}
	_, err := e.w.Write(e.buf)
	if cap(e.buf) > maxKeptBuffer {
		e.buf = nil
	}
	e.buf = e.buf[:0]
	if err != nil {
		return err
	}
	return e.rc.Flush()
}

// maxKeptBuffer is how much of a burst's buffer a stream keeps.
const maxKeptBuffer = 16 << 10

func (e *events) data(payload []byte) {
	e.buf = append(e.buf, "data: "...)
	e.buf = append(e.buf, payload...)
	e.buf = append(e.buf, "\n\n"...)
}
