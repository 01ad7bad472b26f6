package configs

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/helixflow/helixflow/internal/secret"
)

// What a key may hold, and how it gets into its field. The schemas of the same
// kinds stand in schema.go, their differences in diff_values.go.

// value is a kind of value bound to the field it fills.
type value interface {
	decode(r *reader, n *node)
	schema() *schema
	diff(s scope, next value)
}

// container is a value that repeats another.
type container interface{ element() value }

type (
	text       struct{ to *string }
	secretText struct{ to *secret.Text }
	secretMap  struct{ to *Headers }
	boolean    struct{ to *bool }
	date       struct {
		to   *time.Time
		none string // what it means when there is none
	}
	since  struct{ to *time.Time } // a date, or true for Always
	choice struct {
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
	share struct {
		to       *Share
		min, max Share
	}
	texts struct {
		to   *[]string
		min  int
		none string // what an empty list means
	}
	inTurn      struct{ texts } // whose order means something
	secretTexts struct{ to *[]secret.Text }
	prefixes    struct {
		to  *[]netip.Prefix
		min int
	}
	// list holds elements that begin as fresh makes them; max 0 is no bound.
	// One is a noun known by its id.
	list[T any] struct {
		to       *[]T
		noun     string
		id       func(*T) string
		fresh    func() T
		keys     func(*T) object
		min, max int
	}
	object []key
	// orOff is a mapping, or the word off.
	orOff struct {
		off  *bool
		keys object
	}
	paramDefaults struct{ to *[]ParamDefault }
	paramCaps     struct{ to *[]ParamCap }
)

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
	if !ok || !isMoment(t) {
		r.report(n.at, "%s is not a date such as 2027-01-01 or a time such as 2027-01-01T09:00:00Z", n.shown())
		return
	}
	*v.to = t
}

func (v since) decode(r *reader, n *node) {
	const want = "true, or a date such as 2027-01-01 or a time such as 2027-01-01T09:00:00Z"
	s, ok := r.textOr(boolNode, n, want)
	if !ok {
		return
	}
	t, ok := parseDate(s)
	switch {
	case s == "true":
		*v.to = Always
	case s == "false":
	case !ok || !isMoment(t):
		r.report(n.at, "%s is not %s", n.shown(), want)
	default:
		*v.to = t
	}
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

func (v share) decode(r *reader, n *node) {
	if n.kind == numberNode && n.text != "0" {
		r.report(n.at, "%s has no unit: write 20%% or 0.5%%", n.shown())
		return
	}
	s, ok := r.textOr(numberNode, n, "a share such as 20%")
	if !ok {
		return
	}
	part, ok := parseShare(s)
	if s == "0" {
		part, ok = 0, true
	}
	if !ok {
		r.report(n.at, "%s is not a share such as 20%% or 0.5%%", n.shown())
		return
	}
	if r.within(n, int64(part), int64(v.min), int64(v.max), func(i int64) string { return Share(i).String() }) {
		*v.to = part
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
