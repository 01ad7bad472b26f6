package router

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file answers GET /models and GET /models/{id}: the names a key may use,
// from the plan, and, where a model "*" passes every other name on, what its
// backends list besides. It is not the hot path: it may allocate.

const modelOwner = "helixflow"

// listedModel is one entry as a backend lists it.
type listedModel struct {
	ID      string `json:"id"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// listModels answers with every name the principal may use.
func (e *Exchange) listModels() error {
	models := e.configuredModels()
	if e.snap.catchAll != nil {
		passed, err := e.passedModels()
		if err != nil {
			return err
		}
		models = append(models, passed...)
	}
	out := buf.Get(4 << 10)
	out.B = append(out.B, `{"object":"list","data":[`...)
	for i, m := range models {
		if i > 0 {
			out.B = append(out.B, ',')
		}
		out.B = appendModel(out.B, m)
	}
	out.B = append(out.B, `]}`...)
	e.answerLocal(out)
	return nil
}

// getModel answers with one model, by its id in the path.
func (e *Exchange) getModel() error {
	name, err := e.snap.lookup(e.modelID, e.principal)
	if err != nil {
		return err
	}
	m := listedModel{ID: name.name, Created: e.snap.created, OwnedBy: modelOwner}
	if name == e.snap.catchAll {
		passed, err := e.passedModels()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(passed, func(p listedModel) bool { return p.ID == string(e.modelID) })
		if i < 0 {
			return modelNotFound(e.modelID)
		}
		m = passed[i]
	}
	out := buf.Get(1 << 10)
	out.B = appendModel(out.B, m)
	e.answerLocal(out)
	return nil
}

func (e *Exchange) answerLocal(out *buf.Buffer) {
	e.local = out
	e.status = statusOK
	e.name = nil // answered by the plan, not by a route
}

// answerEmpty answers with nothing but a head.
func (e *Exchange) answerEmpty() {
	e.local = buf.Get(0)
	e.status = statusNoContent
}

// configuredModels are the plan's names that the principal may use.
func (e *Exchange) configuredModels() []listedModel {
	var models []listedModel
	for _, n := range e.snap.listed {
		if e.principal.Allowed(n.index) {
			models = append(models, listedModel{ID: n.name, Created: e.snap.created, OwnedBy: modelOwner})
		}
	}
	return models
}

// passedModels asks the pool behind "*" what it has, and keeps what the plan
// does not name and the principal may use.
func (e *Exchange) passedModels() ([]listedModel, error) {
	op := e.op
	e.op, e.name = helixflow.OpListModels, e.snap.catchAll
	e.bodyRead = time.Now()
	err := e.forward()
	e.op = op
	if err != nil {
		return nil, err
	}
	a := e.attempt
	if !a.whole || a.events || a.status != statusOK {
		e.truncated = true
		e.endAttempt(e.responded)
		e.truncated = false
		return nil, &helixflow.Error{Kind: helixflow.KindBackendBroken, Public: "The backend did not list its models.", Cause: errNoList}
	}
	var list struct {
		Data []listedModel `json:"data"`
	}
	err = json.Unmarshal(a.text.B, &list)
	e.endAttempt(e.responded)
	if err != nil {
		return nil, &helixflow.Error{Kind: helixflow.KindBackendBroken, Public: "The backend's list of models made no sense.", Cause: err}
	}
	seen := make(map[string]bool, len(list.Data))
	return slices.DeleteFunc(list.Data, func(m listedModel) bool {
		named := m.ID == "" || seen[m.ID] || e.snap.names[m.ID] != nil || !e.principal.MayUse([]byte(m.ID))
		seen[m.ID] = true
		return named
	}), nil
}

var errNoList = io.ErrUnexpectedEOF

func appendModel(dst []byte, m listedModel) []byte {
	dst = append(dst, `{"id":`...)
	dst = openai.AppendJSONString(dst, m.ID)
	dst = append(dst, `,"object":"model","created":`...)
	dst = strconv.AppendInt(dst, m.Created, 10)
	dst = append(dst, `,"owned_by":`...)
	dst = openai.AppendJSONString(dst, m.OwnedBy)
	return append(dst, '}')
}
