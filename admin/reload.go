package admin

// POST /-/reload: the configuration file is read again.

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/helixflow/helixflow/configs"
)

// reloadTimeout is how long a reload may take; less than the answer may.
const reloadTimeout = 25 * time.Second

// reload answers 200 with the new generation and what changed, 422 with all
// problems of a file that is wrong, and 409 when there is no file.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	// Half a reload helps nobody, so it goes on when the asker leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), reloadTimeout)
	defer cancel()
	s.deps.Log.Info("reload asked for", "by", r.RemoteAddr)
	done, err := s.deps.Reload(ctx)
	var problems configs.Problems
	switch {
	case err == nil:
		if done.Changes == nil {
			done.Changes = []configs.Change{}
		}
		answer(w, http.StatusOK, done)
	case errors.Is(err, ErrNoFile):
		refuse(w, http.StatusConflict, ErrNoFile.Error())
	case errors.As(err, &problems):
		answer(w, http.StatusUnprocessableEntity, failure{failureText{
			Message: "the file is wrong; the configuration in force stays", Problems: problems,
		}})
	case ctx.Err() != nil:
		refuse(w, http.StatusServiceUnavailable, "the reload took too long; /-/status tells which configuration is in force")
	default:
		// Right on its face, but what it names cannot be used: a certificate
		// that is not there, an address that is taken.
		refuse(w, http.StatusUnprocessableEntity, err.Error()+"; the configuration in force stays")
	}
}
