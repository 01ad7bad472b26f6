package configs

// The differences between two values of a kind, each bound to the field of its
// own configuration.

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/helixflow/helixflow/internal/secret"
)

func (v object) diff(s scope, next value) {
	for i, k := range next.(object) {
		v[i].value.diff(s.into(&k), k.value)
	}
}

func (v orOff) diff(s scope, next value) {
	n := next.(orOff)
	switch {
	case *v.off != *n.off:
		words := map[bool]string{true: "off", false: "on"}
		s.change(words[*v.off], words[*n.off])
	case !*n.off:
		v.keys.diff(s, n.keys)
	}
}

// diff matches elements by their ids: what is gone first, then what is new or
// not as it was.
func (v list[T]) diff(s scope, next value) {
	before := make(map[string]*T, len(*v.to))
	for i := range *v.to {
		t := &(*v.to)[i]
		before[v.id(t)] = t
	}
	after := make(map[string]bool, len(before))
	elements := *next.(list[T]).to
	for i := range elements {
		after[v.id(&elements[i])] = true
	}
	for i := range *v.to {
		if id := v.id(&(*v.to)[i]); !after[id] {
			s.element(v.noun, id).add(Removed, "", "")
		}
	}
	for i := range elements {
		t := &elements[i]
		here := s.element(v.noun, v.id(t))
		if b, ok := before[v.id(t)]; ok {
			v.keys(b).diff(here, v.keys(t))
		} else {
			here.add(Added, "", "")
		}
	}
}

func (v texts) diff(s scope, next value) {
	s.set(*v.to, *next.(texts).to, v.none)
}

func (v inTurn) diff(s scope, next value) {
	s.change(listed(*v.to, v.none), listed(*next.(inTurn).to, v.none))
}

func (v prefixes) diff(s scope, next value) {
	words := func(ps []netip.Prefix) []string {
		list := make([]string, len(ps))
		for i, p := range ps {
			list[i] = p.String()
		}
		return list
	}
	s.set(words(*v.to), words(*next.(prefixes).to), "none")
}

// set tells what left a set and what came. An empty one may mean everything,
// so to and from there it is told as a whole.
func (s scope) set(old, next []string, none string) {
	if len(old) == 0 || len(next) == 0 {
		s.change(listed(old, none), listed(next, none))
		return
	}
	for _, name := range old {
		if !slices.Contains(next, name) {
			s.item(name).add(Removed, "", "")
		}
	}
	for _, name := range next {
		if !slices.Contains(old, name) {
			s.item(name).add(Added, "", "")
		}
	}
}

// listed is a list for people, the first few of a long one.
func listed(names []string, none string) string {
	const most = 5
	text := none
	for i, name := range names {
		switch {
		case i == 0:
			text = printable(name)
		case i == most:
			return text + fmt.Sprintf(" and %d more", len(names)-most)
		default:
			text += ", " + printable(name)
		}
	}
	return text
}

func (v text) diff(s scope, next value) {
	if now := *next.(text).to; now != *v.to {
		s.add(Changed, orNone(*v.to), orNone(now))
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return quote(s)
}

func (v choice) diff(s scope, next value) { s.change(*v.to, *next.(choice).to) }

func (v boolean) diff(s scope, next value) {
	s.change(strconv.FormatBool(*v.to), strconv.FormatBool(*next.(boolean).to))
}

func (v date) diff(s scope, next value) {
	shown := func(t time.Time) string {
		if t.IsZero() {
			return v.none
		}
		return t.UTC().Format(time.RFC3339)
	}
	if now := *next.(date).to; !now.Equal(*v.to) {
		s.add(Changed, shown(*v.to), shown(now))
	}
}

func (v since) diff(s scope, next value) {
	shown := func(t time.Time) string {
		switch {
		case t.IsZero():
			return "no"
		case t.Equal(Always):
			return "yes"
		default:
			return t.UTC().Format(time.RFC3339)
		}
	}
	if now := *next.(since).to; !now.Equal(*v.to) {
		s.add(Changed, shown(*v.to), shown(now))
	}
}

func (v count) diff(s scope, next value) {
	s.change(strconv.Itoa(*v.to), strconv.Itoa(*next.(count).to))
}

func (v size) diff(s scope, next value) {
	s.change(formatSize(*v.to), formatSize(*next.(size).to))
}

func (v duration) diff(s scope, next value) {
	s.change(formatDuration(*v.to), formatDuration(*next.(duration).to))
}

func (v share) diff(s scope, next value) {
	s.change(v.to.String(), next.(share).to.String())
}

func (v secretText) diff(s scope, next value) {
	s.secret(v.to.Reveal(), next.(secretText).to.Reveal())
}

func (v secretTexts) diff(s scope, next value) {
	old, now := *v.to, *next.(secretTexts).to
	same := func(a, b secret.Text) bool { return a.Reveal() == b.Reveal() }
	switch {
	case slices.EqualFunc(old, now, same):
	case len(old) != len(now):
		s.add(Changed, strconv.Itoa(len(old)), strconv.Itoa(len(now)))
	default:
		s.add(Changed, "", "")
	}
}

func (v secretMap) diff(s scope, next value) {
	diffNamed(s, *v.to, *next.(secretMap).to, scope.secret)
}

func (v paramDefaults) diff(s scope, next value) {
	values := func(ds []ParamDefault) map[string]string {
		m := make(map[string]string, len(ds))
		for _, d := range ds {
			m[d.Name] = string(d.Value)
		}
		return m
	}
	diffNamed(s, values(*v.to), values(*next.(paramDefaults).to), scope.json)
}

func (v paramCaps) diff(s scope, next value) {
	values := func(cs []ParamCap) map[string]string {
		m := make(map[string]string, len(cs))
		for _, c := range cs {
			m[c.Name] = string(c.Value)
		}
		return m
	}
	diffNamed(s, values(*v.to), values(*next.(paramCaps).to), scope.json)
}

// json tells of a JSON value.
func (s scope) json(old, next string) {
	if old != next {
		s.add(Changed, printable(cut(old)), printable(cut(next)))
	}
}

// diffNamed compares what has the same name, in the order of the names.
func diffNamed(s scope, old, next map[string]string, compare func(s scope, old, next string)) {
	all := maps.Clone(next)
	if all == nil {
		all = make(map[string]string, len(old))
	}
	maps.Copy(all, old)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, before := old[name]
		is, after := next[name]
		switch {
		case !before:
			s.item(name).add(Added, "", "")
		case !after:
			s.item(name).add(Removed, "", "")
		default:
			compare(s.item(name), was, is)
		}
	}
}
