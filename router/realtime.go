package router

import (
	"bytes"
	"net/url"

	"github.com/helixflow/helixflow/internal/openai"
)

// This file finds the model of a realtime websocket: in the query, since there is
// no body.

// Names of parameters. Azure's clients call the model a deployment, and name a
// version of the API that only Azure has.
var (
	queryModel      = []byte("model")
	queryDeployment = []byte("deployment")
	queryVersion    = []byte("api-version")
)

// readQuery takes the model out of the query. What two parsers may read in two ways
// is refused.
func (e *Exchange) readQuery() error {
	if bytes.IndexByte(e.client.query, ';') >= 0 { // parts parameters too, for some
		return errQueryModel
	}
	var model []byte
	for pair := range bytes.SplitSeq(e.client.query, []byte("&")) {
		name, value, _ := bytes.Cut(pair, []byte("="))
		if !namesModel(name) {
			continue
		}
		decoded, err := url.QueryUnescape(string(value))
		if err != nil || model != nil {
			return errQueryModel
		}
		model = []byte(decoded)
	}
	switch {
	case len(model) == 0:
		return errNoQueryModel
	case !openai.ValidModel(model):
		return errQueryModel
	}
	e.deployment = model
	return nil
}

// queryFor is the query as a target gets it: with the model's name there, and
// without what only Azure takes.
func (e *Exchange) queryFor(t *target) []byte {
	name := t.plain
	if name == nil {
		name = e.name.plain
	}
	if name == nil {
		name = e.deployment
	}
	var kept []byte
	for pair := range bytes.SplitSeq(e.client.query, []byte("&")) {
		k, _, _ := bytes.Cut(pair, []byte("="))
		switch {
		case isParameter(k, queryVersion), len(pair) == 0:
			continue
		case len(kept) > 0:
			kept = append(kept, '&')
		}
		if namesModel(k) {
			kept = append(kept, "model="+url.QueryEscape(string(name))...)
		} else {
			kept = append(kept, pair...)
		}
	}
	return kept
}

func namesModel(name []byte) bool {
	return isParameter(name, queryModel) || isParameter(name, queryDeployment)
}

// isParameter reports whether a parameter is called so, in whatever spelling.
func isParameter(name, want []byte) bool {
	if bytes.IndexByte(name, '%') >= 0 || bytes.IndexByte(name, '+') >= 0 {
		plain, err := url.QueryUnescape(string(name))
		if err != nil {
			return false
		}
		name = []byte(plain)
	}
	return bytes.EqualFold(name, want)
}
