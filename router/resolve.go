package router

import "github.com/helixflow/helixflow"

// This file answers where a model leads.

// defaultModeration is the model OpenAI takes where a moderation names none.
var defaultModeration = []byte("omni-moderation-latest")

// resolve finds the route of the model that the body names, and whether the
// principal may use it.
func (e *Exchange) resolve() error {
	model := e.deployment
	if len(model) == 0 {
		model = e.call.ModelName(e.body.B)
	}
	if len(model) == 0 {
		if e.op != helixflow.OpModerations {
			return errMissingModel
		}
		model = defaultModeration
	}
	if e.srv.access.Load() != nil {
		e.asked.Set(model)
	}
	name, err := e.snap.lookup(model, e.principal)
	if err != nil {
		return err
	}
	e.name = name
	return nil
}
