package router

import (
	"net/url"
	"strings"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/objects"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file finds the objects that a request names: in its path, its query, its
// JSON and the fields of its form. What they lead to stands in objects.go.

// guarded reports whether what the request names must be its tenant's.
func (e *Exchange) guarded() bool {
	if e.op == helixflow.OpPassthrough {
		return !e.below.prefix.shared
	}
	return e.name.route.keeps
}

// checkPath refuses a path with ids that are not the tenant's. Below an object of
// its own it may name what nobody is known to have: a part of that object, which
// the backend looks for there. What names no object, but for a POST that makes
// one, would show everybody's.
func (e *Exchange) checkPath() error {
	p := e.below.prefix
	if p.shared {
		return nil
	}
	if err := e.checkQuery(); err != nil {
		return err
	}
	id, rest := nextID(e.below.rest())
	if id == nil {
		if e.method() == "POST" || p.pool.isOwnedBy(e.principal.Tenant) {
			return nil
		}
		return errListing
	}
	if err := e.own(decodedSegment(id), "id"); err != nil {
		return err
	}
	for id, rest = nextID(rest); id != nil; id, rest = nextID(rest) {
		if _, whose := e.srv.objects.Find(p.pool.name, e.principal.Tenant, decodedSegment(id), e.began); whose == objects.Foreign {
			return objectNotFound("id")
		}
	}
	return nil
}

// checkQuery refuses what the query names, as in a form, and is not the tenant's.
func (e *Exchange) checkQuery() error {
	if len(e.client.query) == 0 {
		return nil
	}
	// Some servers part them by semicolons, too.
	for pair := range strings.FieldsFuncSeq(string(e.client.query), func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return errQuery
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return errQuery
		}
		if param, names := openai.FormReference([]byte(name), []byte(value)); names {
			if err := e.checkReference(param, []byte(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkNamed refuses what a request that a model decides names and is not the
// tenant's.
func (e *Exchange) checkNamed() error {
	switch e.op {
	case helixflow.OpResponses, helixflow.OpResponsesSocket, helixflow.OpResponsesCompact, helixflow.OpResponsesInputTokens:
		if err := e.checkThread(); err != nil {
			return err
		}
	}
	if !e.name.route.keeps {
		return nil
	}
	if e.body != nil {
		return openai.References(e.body.B, e.checkReference)
	}
	return e.checkHeld()
}

// checkThread refuses another tenant's conversation.
func (e *Exchange) checkThread() error {
	c := &e.call
	if id := c.PreviousResponseID.In(e.body.B); len(id) > 0 {
		if err := e.mustOwn(id, "previous_response_id"); err != nil {
			return err
		}
	}
	if !c.Conversation.Present() {
		return nil
	}
	return openai.Conversation(c.Conversation.In(e.body.B), func(id []byte) error { return e.mustOwn(id, "conversation") })
}

// checkReference refuses an id in the body that is not the tenant's, and a model
// that it may not use.
func (e *Exchange) checkReference(param string, id []byte) error {
	if param == "model" {
		if e.op == helixflow.OpPassthrough && !e.principal.MayUse(id) { // else resolve has looked
			return errForbidden
		}
		return nil
	}
	if !e.guarded() {
		return nil
	}
	return e.mustOwn(id, param)
}

// maxHeld is how many ids a form may name before it is known where it goes.
const maxHeld = 128

// heldField is one of them.
type heldField struct{ param, id string }

// formField takes a field of a form that passes.
func (e *Exchange) formField(name, value []byte) error {
	param, names := openai.FormReference(name, value)
	switch {
	case !names:
		return nil
	case e.attempt != nil:
		return e.checkReference(param, value)
	case len(e.held) == maxHeld:
		return errManyFields
	}
	e.held = append(e.held, heldField{param, string(value)})
	return nil
}

// checkHeld refuses what a form has named so far and is not the tenant's.
func (e *Exchange) checkHeld() error {
	for _, f := range e.held {
		if err := e.checkReference(f.param, []byte(f.id)); err != nil {
			return err
		}
	}
	return nil
}
