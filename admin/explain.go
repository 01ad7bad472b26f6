package admin

// /-/explain: where a request would go, and why.

import (
	"errors"
	"io"
	"net/http"
	"net/url"
)

// maxExplainedBytes bounds the body of a request that is to be explained.
const maxExplainedBytes = 4 << 20

// Question is a request to explain. It has no credential: a key does not travel
// to be explained, its name does.
type Question struct {
	Model  string // overrides the one that Body names; one of the two is there, or Path
	Method string // of Path; empty: GET
	Path   string // of a request that no model decides
	Tenant string // empty: nobody in particular
	Key    string // the name of one of the tenant's keys; empty: any
	Body   []byte // as a client would send it, never empty; nil: none was given
}

// explain answers with what the router makes of the question, whether the
// request would be refused or not. GET takes no body.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	q, err := asked(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxExplainedBytes))
		if err != nil {
			refuseBody(w, err, "the body to explain is too long")
			return
		}
		if len(body) > 0 {
			q.Body = body
		}
	}
	explanation, err := s.deps.Explain(q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, explanation)
}

// asked reads the query, strictly: a parameter that is not understood could
// have been meant to change the answer.
func asked(query string) (Question, error) {
	const form = "the query is model=NAME, or path=PATH and method=METHOD, and tenant=NAME and key=NAME where it matters who asks, each once"
	values, err := url.ParseQuery(query)
	if err != nil {
		return Question{}, errors.New("the query cannot be read")
	}
	for name, v := range values {
		switch name {
		case "model", "method", "path", "tenant", "key":
			if len(v) == 1 {
				continue
			}
		}
		return Question{}, errors.New(form)
	}
	return Question{
		Model: values.Get("model"), Method: values.Get("method"), Path: values.Get("path"),
		Tenant: values.Get("tenant"), Key: values.Get("key"),
	}, nil
}
