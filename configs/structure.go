package configs

import (
	"math"
	"strings"

	"github.com/helixflow/helixflow/internal/secret"
)

// Values that hold other values: mappings with known keys, lists, and the
// mapping of headers.

func (v list[T]) element() value {
	t := v.fresh()
	return v.keys(&t)
}

func (v secretMap) decode(r *reader, n *node) {
	if !r.is(n, mapNode, "a mapping of header names to values") {
		return
	}
	*v.to = make(Headers, len(n.keys))
	for _, e := range n.keys {
		var value secret.Text
		r.push(r.doubtful(e))
		secretText{&value}.decode(r, e.value)
		if !isToken(e.key.text) {
			r.report(e.key.at, "is not a header name")
		}
		r.pop()
		(*v.to)[e.key.text] = value.Reveal()
	}
}

// elements reports whether n is a list of the allowed length.
func (r *reader) elements(n *node, least, most int) bool {
	if !r.is(n, listNode, "a list") {
		return false
	}
	if len(n.items) < least {
		r.report(n.at, "is empty: it needs at least %d", least)
	}
	if len(n.items) > most {
		r.report(n.items[most].at, "has %d elements, this version takes at most %d", len(n.items), most)
	}
	return true
}

func (v texts) decode(r *reader, n *node) {
	if !r.elements(n, v.min, math.MaxInt) {
		return
	}
	*v.to = make([]string, len(n.items))
	for i, item := range n.items {
		r.push(step{index: i})
		text{&(*v.to)[i]}.decode(r, item)
		r.pop()
	}
}

func (v list[T]) decode(r *reader, n *node) {
	most := v.max
	if most == 0 {
		most = math.MaxInt
	}
	if !r.elements(n, v.min, most) {
		return
	}
	*v.to = make([]T, len(n.items))
	for i, item := range n.items {
		(*v.to)[i] = v.fresh()
		r.push(step{index: i})
		v.keys(&(*v.to)[i]).decode(r, item)
		r.pop()
	}
}

func (v object) decode(r *reader, n *node) {
	if !r.is(n, mapNode, "a mapping of keys to values") {
		return
	}
	for _, e := range n.keys {
		k := v.find(e.key.text)
		if k == nil {
			v.unknown(r, e)
			continue
		}
		r.push(keyStep(e.key.text))
		k.value.decode(r, e.value)
		r.pop()
	}
	for i := range v {
		if v[i].required && n.child(v[i].name) == nil {
			r.push(keyStep(v[i].name))
			r.report(n.at, "is missing")
			r.pop()
		}
	}
}

func (v object) find(name string) *key {
	for i := range v {
		if v[i].name == name {
			return &v[i]
		}
	}
	return nil
}

// unknown tells of a key that is not in the table. Its value is masked: a
// mistyped api_key is still a secret.
func (v object) unknown(r *reader, e entry) {
	r.mask(e.value)
	var kind strings.Builder // the path without element numbers
	for _, s := range r.path {
		switch {
		case s.index >= 0:
			kind.WriteString("[]")
		case kind.Len() > 0:
			kind.WriteString("." + s.key)
		default:
			kind.WriteString(s.key)
		}
	}
	r.push(r.doubtful(e))
	defer r.pop()
	for _, name := range planned[kind.String()] {
		if name == e.key.text {
			r.report(e.key.at, "is not supported by this version")
			return
		}
	}
	names := make([]string, len(v))
	for i := range v {
		names[i] = v[i].name
	}
	r.report(e.key.at, "unknown key%s", suggest(e.key.text, names))
}
