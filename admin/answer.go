package admin

// The shape of every answer, and the bound on every request's body.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// refuse answers with the one shape all errors here have.
func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, failure{Error: failureText{Message: message}})
}

type failure struct {
	Error failureText `json:"error"`
}

type failureText struct {
	Message  string `json:"message"`
	Problems any    `json:"problems,omitempty"`
}

// answer writes v as JSON, indented for the reader with curl. The client may be
// gone; that is its own affair.
func answer(w http.ResponseWriter, status int, v any) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic("BUG: an answer is no JSON: " + err.Error())
	}
	setHeader(w, "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes())
}

// setHeader says what an answer is and that no browser may do more with it than
// show it to who asked.
func setHeader(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// emptied reads a body that nobody wants to its end, or refuses one that is
// long: what is left unread would be taken for the next request.
func emptied(w http.ResponseWriter, r *http.Request) bool {
	_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if err != nil {
		refuseBody(w, err, "this path takes no body")
	}
	return err == nil
}

// refuseBody answers to a body that is longer than it may be, or does not come
// whole.
func refuseBody(w http.ResponseWriter, err error, tooLong string) {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		refuse(w, http.StatusRequestEntityTooLarge, tooLong)
		return
	}
	refuse(w, http.StatusBadRequest, "the body cannot be read to its end")
}
