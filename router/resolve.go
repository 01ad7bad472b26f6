package router

import "github.com/helixflow/helixflow"

// This file answers where a model leads.

// defaultModeration is the model OpenAI takes where a moderation names none.
var defaultModeration = []byte("omni-moderation-latest")

// resolve finds the route of the model that the body names, and whether the
// principal may use it.
func (e *Exchange) resolve() error {
	model := e.wanted()
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

// wanted is the model that the request names: in its path, form or body.
func (e *Exchange) wanted() []byte {
	switch {
	case e.deployment != nil:
		return e.deployment
	case e.upload != nil:
		return e.named
	default:
		return e.call.ModelName(e.body.B)
	}
}
