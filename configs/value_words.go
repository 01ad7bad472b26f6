package configs

// Lists of words: one word may stand alone, or each must be one of a set.

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

type (
	// oneOrMore is one text, or a list of them.
	oneOrMore struct{ to *[]string }
	// choiceList is a list of different names out of a set. The order counts.
	choiceList struct {
		to    *[]string
		names []string
	}
)

func (v oneOrMore) decode(r *reader, n *node) {
	if n.kind == listNode {
		texts{v.to, 1, ""}.decode(r, n)
		return
	}
	var one string
	text{&one}.decode(r, n)
	*v.to = []string{one}
}

func (v oneOrMore) schema() *schema {
	return &schema{AnyOf: []*schema{{Type: "string"}, texts{v.to, 1, ""}.schema()}}
}

func (v oneOrMore) diff(s scope, next value) { s.set(*v.to, *next.(oneOrMore).to, "none") }

func (v choiceList) decode(r *reader, n *node) {
	if !r.elements(n, 1, math.MaxInt) {
		return
	}
	list := make([]string, len(n.items))
	for i, item := range n.items {
		r.push(step{index: i})
		choice{&list[i], v.names}.decode(r, item)
		if list[i] != "" && slices.Contains(list[:i], list[i]) {
			r.report(item.at, "%s is given twice", item.shown())
		}
		r.pop()
	}
	*v.to = list
}

func (v choiceList) schema() *schema {
	var one string
	item := choice{&one, v.names}.schema()
	item.Default = nil
	return &schema{Type: "array", Items: item, MinItems: positive(1), Default: defaultOf(*v.to, true)}
}

func (v choiceList) diff(s scope, next value) {
	s.change(strings.Join(*v.to, ", "), strings.Join(*next.(choiceList).to, ", "))
}

// choiceSet is choiceList for a set that may be empty, whose order says nothing.
type choiceSet struct {
	to    *[]string
	names []string
}

func (v choiceSet) decode(r *reader, n *node) {
	if n.kind == listNode && len(n.items) == 0 {
		*v.to = []string{}
		return
	}
	choiceList(v).decode(r, n)
}

func (v choiceSet) schema() *schema {
	s := choiceList(v).schema()
	s.MinItems = nil
	return s
}

func (v choiceSet) diff(s scope, next value) {
	sorted := func(list []string) string {
		list = slices.Clone(list)
		slices.Sort(list)
		return namesOrNone(list)
	}
	s.change(sorted(*v.to), sorted(*next.(choiceSet).to))
}

func namesOrNone(list []string) string { return cmp.Or(strings.Join(list, ", "), "none") }
