package configs

import (
	"math"
	"net/netip"
	"strings"

	"github.com/helixflow/helixflow/internal/secret"
)

// Values that hold other values: mappings with known keys, lists, and the
// mapping of headers.

func (v list[T]) element() value {
	t := v.fresh()
	return v.keys(&t)
}

func (v orOff) element() value { return v.keys }

func (v orOff) decode(r *reader, n *node) {
	const want = "a mapping of keys to values, or off"
	if n.kind != textNode {
		if r.is(n, mapNode, want) {
			v.keys.decode(r, n)
		}
		return
	}
	s, ok := r.expand(n)
	switch {
	case !ok:
	case s == "off":
		*v.off = true
	default:
		r.report(n.at, "%s is neither off nor a mapping of keys to values", n.shown())
	}
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

// decode reads secrets. Here an empty one is a mistake: it would be sent.
func (v secretTexts) decode(r *reader, n *node) {
	r.mask(n)
	if !r.elements(n, 1, math.MaxInt) {
		return
	}
	*v.to = make([]secret.Text, len(n.items))
	for i, item := range n.items {
		r.push(step{index: i})
		before := len(r.problems)
		secretText{&(*v.to)[i]}.decode(r, item)
		if (*v.to)[i].Empty() && len(r.problems) == before {
			r.report(item.at, "is empty")
		}
		r.pop()
	}
}

func (v prefixes) decode(r *reader, n *node) {
	if !r.elements(n, v.min, math.MaxInt) {
		return
	}
	*v.to = make([]netip.Prefix, len(n.items))
	for i, item := range n.items {
		r.push(step{index: i})
		if s, ok := r.text(item, "a CIDR such as 10.0.0.0/8"); ok {
			prefix, why := parsePrefix(s)
			if why != "" {
				r.report(item.at, "%s %s", item.shown(), why)
			}
			(*v.to)[i] = prefix
		}
		r.pop()
	}
}

// parsePrefix reads a CIDR, or an address, which is a CIDR of its own. why
// says what is wrong: what would never match, or not what it seems to.
func parsePrefix(s string) (p netip.Prefix, why string) {
	p, err := netip.ParsePrefix(s)
	if a, isAddr := netip.ParseAddr(s); isAddr == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return netip.Prefix{}, "is not a CIDR such as 10.0.0.0/8, nor an IP address"
	case p.Addr().Is4In6():
		return netip.Prefix{}, "is IPv4 written as IPv6; write it as IPv4"
	case p != p.Masked():
		return netip.Prefix{}, "has bits beyond its length; is it meant as " + p.Masked().String() + "?"
	}
	return p, ""
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
