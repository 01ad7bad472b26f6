package admin

// /-/cache: what is kept of answers, and forgetting it.

import (
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
)

// CacheSelection says which answers a purge is about: those that fit all fields
// that are not empty.
type CacheSelection struct {
	Tenant string
	Model  string // a model's own name
	Digest string // of a key: 64 hexadecimal digits
}

func (s *Server) cache(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"cache": s.deps.Cache()})
}

// purgeCache forgets what the query says, and answers how many answers that was in
// this process's memory.
func (s *Server) purgeCache(w http.ResponseWriter, r *http.Request) {
	which, err := selectedAnswers(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	deleted, err := s.deps.PurgeCache(which)
	s.deps.Log.Info("cache purged by an operator", "tenant", which.Tenant, "model", which.Model, "key", which.Digest,
		"deleted", deleted, "by", r.RemoteAddr)
	if err != nil {
		refuse(w, http.StatusBadGateway, "forgotten here, but other replicas could not be told; try again: "+err.Error())
		return
	}
	answer(w, http.StatusOK, map[string]int{"deleted": deleted})
}

// selectedAnswers reads the query, strictly: a parameter that is not understood
// could have been meant to spare something.
func selectedAnswers(query string) (which CacheSelection, err error) {
	const form = "the query is all=true, or tenant=NAME, model=NAME and key=DIGEST or some of them, each once"
	values, err := url.ParseQuery(query)
	if err != nil {
		return which, errors.New("the query cannot be read")
	}
	for name, v := range values {
		if len(v) != 1 || v[0] == "" {
			return which, errors.New(form)
		}
		switch name {
		case "tenant":
			which.Tenant = v[0]
		case "model":
			which.Model = v[0]
		case "key":
			if digest, err := hex.DecodeString(v[0]); err != nil || len(digest) != 32 {
				return which, errors.New("key is not the digest of one: 64 hexadecimal digits")
			}
			which.Digest = v[0]
		case "all":
			if v[0] != "true" || len(values) > 1 {
				return which, errors.New(form)
			}
		default:
			return which, errors.New(form)
		}
	}
	if len(values) == 0 {
		return which, errors.New("which answers? " + form)
	}
	return which, nil
}
