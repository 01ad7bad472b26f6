package admin

// /-/backends: the fleet, and draining one of it.

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func (s *Server) backends(w http.ResponseWriter, _ *http.Request) {
	list := s.deps.Backends.List()
	if list == nil {
		list = []Backend{}
	}
	answer(w, http.StatusOK, struct {
		Backends  []Backend   `json:"backends"`
		Discovery []Discovery `json:"discovery,omitempty"`
	}{list, s.deps.Backends.Discovery()})
}

func (s *Server) drainBackend(w http.ResponseWriter, r *http.Request) {
	s.changeBackend(w, r, s.deps.Backends.Drain)
}

func (s *Server) undrainBackend(w http.ResponseWriter, r *http.Request) {
	s.changeBackend(w, r, s.deps.Backends.Undrain)
}

// changeBackend finds the one backend that the query names, has change act on
// it, and answers with what it is now, in the shape of /-/backends.
func (s *Server) changeBackend(w http.ResponseWriter, r *http.Request, change func(pool, url string) error) {
	pool, address, err := namedBackend(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	var pools []string
	for _, b := range s.deps.Backends.List() {
		if b.URL == address && (pool == "" || b.Pool == pool) && !slices.Contains(pools, b.Pool) {
			pools = append(pools, b.Pool)
		}
	}
	if len(pools) > 1 {
		refuse(w, http.StatusConflict, "this backend is in several pools; add one of them as pool: "+strings.Join(pools, ", "))
		return
	}
	err = ErrNoBackend
	if len(pools) == 1 {
		err = change(pools[0], address)
	}
	switch {
	case errors.Is(err, ErrNoBackend):
		refuse(w, http.StatusNotFound, "no such backend; GET /-/backends lists them, a url must be as it stands there")
		return
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	s.deps.Log.Info("backend changed by an operator", "path", r.URL.Path, "pool", pools[0], "backend", address, "by", r.RemoteAddr)
	answer(w, http.StatusOK, map[string][]Backend{"backends": slices.DeleteFunc(s.deps.Backends.List(), func(b Backend) bool {
		return b.Pool != pools[0] || b.URL != address
	})})
}

// namedBackend reads url and pool. It is strict, for a parameter that is not
// understood could have been meant to narrow what happens.
func namedBackend(query string) (pool, address string, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", "", errors.New("the query cannot be read")
	}
	for name, v := range values {
		if name != "url" && name != "pool" || len(v) > 1 {
			return "", "", errors.New("the query is url=URL, and pool=NAME where that URL is in several pools, each once")
		}
	}
	if values.Get("url") == "" {
		return "", "", errors.New("which backend? the query is url=URL, and pool=NAME where that URL is in several pools")
	}
	return values.Get("pool"), values.Get("url"), nil
}
