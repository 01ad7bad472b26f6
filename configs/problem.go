package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What is wrong with a configuration file, and where.

// maxProblems bounds how many problems are told at once.
const maxProblems = 100

// Problem is one mistake. Line and Column count from 1, Column in characters;
// both are 0 when the mistake is not at one place, as with a missing file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"` // such as pools[0].backends[1].url; empty for the file as a whole
	Message string `json:"message"`
	Excerpt string `json:"excerpt,omitempty"` // the source line and a caret below the column, secrets masked
}

// String is the problem as a compiler would print it.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(printable(p.File))
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Excerpt != "" {
		b.WriteString("\n" + p.Excerpt)
	}
	return b.String()
}

// Problems is everything wrong with one file, in the order of the file. It is
// the error of Load and Parse, never empty there; after maxProblems the last
// one says how many more there are.
type Problems []Problem

// Error is all problems, one after the other.
func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.String()
	}
	return strings.Join(texts, "\n")
}

// finish sorts the problems by place, keeps the first maxProblems and adds
// their excerpts.
func (ps Problems) finish(src *source) Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(ps) - maxProblems; more > 0 {
		ps = ps[:maxProblems+1]
		last := &ps[maxProblems]
		last.Path, last.Message = "", fmt.Sprintf("and %d more problems from here on", more)
	}
	for i := range ps {
		ps[i].Excerpt = src.excerpt(ps[i].Line, ps[i].Column)
	}
	return ps
}

// quoteMax bounds how much of a value a message repeats, in characters.
const quoteMax = 80

// quote is s in quotes, cut when long, with nothing that would disturb a
// terminal or a log.
func quote(s string) string { return strconv.Quote(cut(s)) }

// cut is s, cut when long.
func cut(s string) string {
	if runes := []rune(s); len(runes) > quoteMax {
		s = string(runes[:quoteMax]) + "…"
	}
	return s
}

// printable is s with a · for every character a terminal might obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}
