package configs

import (
	"fmt"
	"strings"
	"unicode"
)

// The lines of the file, and how much of them may be shown.

// place is a line and a column, both from 1.
type place struct{ line, col int }

func (p place) before(q place) bool {
	return p.line < q.line || p.line == q.line && p.col < q.col
}

// span is a stretch of the file, end excluded.
type span struct{ start, end place }

// source is the text of the file for excerpts.
type source struct {
	lines []string
	masks []span // what holds a secret

	// unread is set while there is no tree that would tell which values are
	// secret: then only words of the table of keys are shown.
	unread bool
}

func newSource(data string) *source {
	data = strings.ReplaceAll(data, "\r\n", "\n")
	data = strings.ReplaceAll(data, "\r", "\n")
	return &source{lines: strings.Split(data, "\n"), unread: true}
}

// excerptWidth bounds how many characters of a line are shown.
const excerptWidth = 100

// excerpt is the line with its number and a caret under the column.
func (s *source) excerpt(line, col int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	text, col := window(s.show(line), col)
	return fmt.Sprintf("%5d | %s\n      | %*s", line, text, col, "^")
}

// show is a line with its secrets masked.
func (s *source) show(line int) []rune {
	text := []rune(printable(strings.ReplaceAll(s.lines[line-1], "\t", " ")))
	if s.unread {
		return onlyKnownWords(text)
	}
	maskComment(text)
	for _, m := range s.masks {
		if m.start.line > line || m.end.line < line || m.end.line == line && m.end.col <= 1 {
			continue
		}
		from, to := 0, len(text)
		if m.start.line == line {
			from = min(max(m.start.col-1, 0), len(text))
		}
		if m.end.line == line {
			to = min(max(m.end.col-1, from), len(text))
		}
		for i := from; i < to; i++ {
			if text[i] != ' ' {
				text[i] = '*'
			}
		}
	}
	return text
}

// maskComment masks what follows a #: perhaps a value that was commented out.
func maskComment(text []rune) {
	comment := false
	for i, r := range text {
		if comment && r != ' ' {
			text[i] = '*'
		}
		comment = comment || r == '#' && (i == 0 || text[i-1] == ' ')
	}
}

// onlyKnownWords masks the letters and digits of every word that is not a key
// of the table: punctuation and indentation are what a syntax error is about.
func onlyKnownWords(text []rune) []rune {
	known := knownWords()
	isWord := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	for i := 0; i < len(text); i++ {
		end := i
		for end < len(text) && isWord(text[end]) {
			end++
		}
		if end > i && !known[string(text[i:end])] {
			for j := i; j < end; j++ {
				text[j] = '*'
			}
		}
		i = max(i, end)
	}
	return text
}

// knownWords is every key the file may hold.
func knownWords() map[string]bool {
	words := map[string]bool{}
	var walk func(v value)
	walk = func(v value) {
		switch v := v.(type) {
		case object:
			for _, k := range v {
				words[k.name] = true
				walk(k.value)
			}
		case container:
			walk(v.element())
		}
	}
	walk(rootKeys(Default()))
	return words
}

// window cuts a long line to the part around the column.
func window(text []rune, col int) (string, int) {
	col = min(max(col, 1), len(text)+1)
	if len(text) <= excerptWidth {
		return string(text), col
	}
	from := max(0, min(col-1-excerptWidth/2, len(text)-excerptWidth))
	return string(text[from:min(from+excerptWidth, len(text))]), col - from
}
