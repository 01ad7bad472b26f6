package configs

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/helixflow/helixflow/internal/secret"
)

// What a key may hold, and how it gets into its field. The schemas of the same
// kinds stand in schema.go.

// value is a kind of value bound to the field it fills.
type value interface {
	decode(r *reader, n *node)
	schema() *schema
}

// container is a value that repeats another.
type container interface{ element() value }

type (
	text       struct{ to *string }
	secretText struct{ to *secret.Text }
	secretMap  struct{ to *Headers }
	boolean    struct{ to *bool }
	date       struct{ to *time.Time }
	choice     struct {
		to    *string
		names []string
	}
	count struct {
		to       *int
		min, max int
	}
	size struct {
		to       *int64
		min, max int64
	}
	duration struct {
		to       *time.Duration
		min, max time.Duration
	}
	texts struct {
		to  *[]string
		min int
	}
	// list holds elements that begin as fresh makes them; max 0 is no bound.
	list[T any] struct {
		to       *[]T
		fresh    func() T
		keys     func(*T) object
		min, max int
	}
	object []key
)

func (v list[T]) element() value {
	t := v.fresh()
	return v.keys(&t)
}

// is reports whether n is of the kind, and tells when it is not. Where another
// shape was expected the value is masked: it may be a secret in the wrong place.
func (r *reader) is(n *node, kind nodeKind, want string) bool {
	switch {
	case n.kind == kind:
		return true
	case n.kind == nullNode:
		r.report(n.at, "has no value: write %s, or leave the key out", want)
	default:
		if kind >= listNode || n.kind >= listNode {
			r.mask(n)
		}
		r.report(n.at, "must be %s, not %s", want, nodeKindNames[n.kind])
	}
	return false
}

// text returns the text of n with its ${…} replaced.
func (r *reader) text(n *node, want string) (string, bool) {
	if !r.is(n, textNode, want) {
		return "", false
	}
	return r.expand(n)
}

// textOr is text for a value that may also be of the other kind.
func (r *reader) textOr(kind nodeKind, n *node, want string) (string, bool) {
	if n.kind == kind {
		return n.text, true
	}
	return r.text(n, want)
}

func (v text) decode(r *reader, n *node) {
	want := "text"
	if n.kind == boolNode || n.kind == numberNode {
		want = "text (put it in quotes)"
	}
	if s, ok := r.text(n, want); ok {
		*v.to = s
	}
}

func (v choice) decode(r *reader, n *node) {
	s, ok := r.text(n, "one of "+strings.Join(v.names, ", "))
	if !ok {
		return
	}
	for _, name := range v.names {
		if s == name {
			*v.to = name
			return
		}
	}
	r.report(n.at, "%s is not one of %s%s", n.shown(), strings.Join(v.names, ", "), n.suggest(v.names))
}

func (v boolean) decode(r *reader, n *node) {
	s, ok := n.text, true
	if n.kind != textNode || hasVariable(n.text) {
		s, ok = r.textOr(boolNode, n, "true or false")
	}
	switch {
	case !ok:
	case s == "true" || s == "false":
		*v.to = s == "true"
	default:
		r.report(n.at, "%s is not true or false", n.shown())
	}
}

func (v date) decode(r *reader, n *node) {
	s, ok := r.text(n, "a date such as 2027-01-01 or a time such as 2027-01-01T09:00:00Z")
	if !ok {
		return
	}
	t, ok := parseDate(s)
	if !ok {
		r.report(n.at, "%s is not a date such as 2027-01-01 or a time such as 2027-01-01T09:00:00Z", n.shown())
		return
	}
	*v.to = t
}

func (v count) decode(r *reader, n *node) {
	s, ok := r.textOr(numberNode, n, "a whole number such as 64 or 2k")
	if !ok {
		return
	}
	i, ok := parseCount(s)
	if !ok {
		r.report(n.at, "%s is not a whole number such as 64 or 2k", n.shown())
		return
	}
	if r.within(n, i, int64(v.min), int64(v.max), func(i int64) string { return strconv.FormatInt(i, 10) }) {
		*v.to = int(i)
	}
}

func (v size) decode(r *reader, n *node) {
	s, ok := r.textOr(numberNode, n, "a size such as 32MiB")
	if !ok {
		return
	}
	bytes, ok := parseSize(s)
	if !ok {
		r.report(n.at, "%s is not a size such as 32MiB, 16KiB or 1GB", n.shown())
		return
	}
	if r.within(n, bytes, v.min, v.max, formatSize) {
		*v.to = bytes
	}
}

func (v duration) decode(r *reader, n *node) {
	if n.kind == numberNode && n.text != "0" {
		r.report(n.at, "%s has no unit: write 30s, 10m or 250ms", n.shown())
		return
	}
	s, ok := r.textOr(numberNode, n, "a duration such as 30s")
	if !ok {
		return
	}
	d, ok := parseDuration(s)
	if !ok {
		r.report(n.at, "%s is not a duration such as 30s, 10m or 250ms", n.shown())
		return
	}
	if r.within(n, int64(d), int64(v.min), int64(v.max), func(i int64) string { return formatDuration(time.Duration(i)) }) {
		*v.to = d
	}
}

// within tells when a quantity is outside its bounds.
func (r *reader) within(n *node, i, low, high int64, format func(int64) string) bool {
	switch {
	case i < 0 && low >= 0:
		r.report(n.at, "%s is negative", n.shown())
	case i < low:
		r.report(n.at, "%s is below the minimum, %s", n.shown(), format(low))
	case i > high:
		r.report(n.at, "%s is above the maximum, %s", n.shown(), format(high))
	default:
		return true
	}
	return false
}

func (v secretText) decode(r *reader, n *node) {
	r.mask(n)
	want := "text"
	if n.kind == numberNode || n.kind == boolNode {
		want = "text (put it in quotes)"
	}
	if r.is(n, textNode, want) {
		if s, ok := r.secret(n); ok && s != "" {
			*v.to = secret.New(s)
		}
	}
}

func (v secretMap) decode(r *reader, n *node) {
	if !r.is(n, mapNode, "a mapping of header names to values") {
		return
	}
	*v.to = make(Headers, len(n.keys))
	for _, e := range n.keys {
		var value secret.Text
		r.push(step{key: e.key.text, index: -1})
		secretText{&value}.decode(r, e.value)
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
		r.push(step{key: e.key.text, index: -1})
		if k := v.find(e.key.text); k != nil {
			k.value.decode(r, e.value)
		} else {
			v.unknown(r, e)
		}
		r.pop()
	}
	for i := range v {
		if v[i].required && n.child(v[i].name) == nil {
			r.push(step{key: v[i].name, index: -1})
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
	var kind strings.Builder // the path without the key and the element numbers
	for _, s := range r.path[:len(r.path)-1] {
		switch {
		case s.index >= 0:
			kind.WriteString("[]")
		case kind.Len() > 0:
			kind.WriteString("." + s.key)
		default:
			kind.WriteString(s.key)
		}
	}
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
