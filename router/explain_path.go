package router

import (
	"fmt"
	"strings"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/buf"
)

// This file explains a request that no model decides.

// explainPath walks q, by its method and path, as locate and passOn do. Whose the
// objects are that it names only a request finds out.
func (e *Exchange) explainPath(q *Question, x *Explanation) (hint string, err error) {
	path, _, _ := strings.Cut(q.Path, "?")
	p := find([]byte(path))
	e.op = p.op
	b, ok := e.snap.findPrefix(p.clean)
	switch {
	case ok:
	case administrative(p.clean):
		return "a prefix must name it", errAdministrative
	default:
		return e.snap.prefixesHint(), errNotFound
	}
	e.below, e.name = b, b.prefix.name
	e.op = helixflow.OpPassthrough
	x.Operation, x.Prefix, x.Shared = e.op.String(), b.prefix.path, b.prefix.shared
	if e.principal != nil && !e.principal.MayCall(e.op) {
		return "", errEndpoint
	}
	for id, rest := nextID(b.rest()); id != nil && !b.prefix.shared; id, rest = nextID(rest) {
		x.Objects = append(x.Objects, string(decodedSegment(id)))
	}
	lists := !b.prefix.shared && len(x.Objects) == 0 && q.Method != "POST"
	if who := e.principal; lists && who != nil && !b.prefix.pool.isOwnedBy(who.Tenant) {
		return e.ownerHint(), errListing
	}
	e.body = &buf.Buffer{B: []byte("{}")}
	return "", e.explainRoute(x, q.Now)
}

// prefixesHint names what is listed.
func (s *Snapshot) prefixesHint() string {
	if len(s.prefixes) == 0 {
		return "nothing is listed under passthrough with a pool"
	}
	var paths []string
	for _, p := range s.prefixes {
		paths = append(paths, p.path)
	}
	return "passthrough lists " + strings.Join(paths, ", ")
}

// ownerHint says who may list.
func (e *Exchange) ownerHint() string {
	p := e.below.prefix.pool
	if p.owner == "" {
		return fmt.Sprintf("pool %s has no tenant whose account it is", p.name)
	}
	return fmt.Sprintf("the account of pool %s is tenant %s's", p.name, p.owner)
}

// servedByModel reports whether a request of this method and path is not for a
// prefix, but for a model or the router itself.
func servedByModel(method, path string) bool {
	path, _, _ = strings.Cut(path, "?")
	op := find([]byte(path)).op
	switch {
	case op == helixflow.OpUnknown:
		return false
	case op.Body() == helixflow.NoBody:
		return method == "GET" || method == "HEAD"
	default:
		return method == "POST"
	}
}
