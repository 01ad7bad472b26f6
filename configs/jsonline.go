package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// One line of JSON, turned into the nodes that YAML is turned into, so that the
// same table reads both. A file may have millions of lines: nodes are used again
// for the next one.

const (
	maxLine      = 16 << 10 // bytes of a line
	maxLineDepth = 8
	maxLineKeys  = 100 // of one object
)

// lineParser turns lines into nodes, which are good until the next one.
type lineParser struct {
	text  string
	line  int
	pos   int
	ascii bool // then a column is a byte
	nodes []node
	used  int
	keys  []entry // of the line's own object
}

// jsonError is what is wrong with a line, and where.
type jsonError struct {
	at      place
	message string
}

func (e *jsonError) Error() string { return e.message }

// parse returns the object on a line. It borrows text.
func (p *lineParser) parse(text string, line int) (*node, error) {
	p.text, p.line, p.pos, p.used = text, line, 0, 0
	if p.nodes == nil {
		p.nodes = make([]node, 64)
	}
	p.ascii = true
	for i := range len(text) {
		p.ascii = p.ascii && text[i] < utf8.RuneSelf
	}
	if !p.ascii && !utf8.ValidString(text) {
		return nil, p.wrong("is not UTF-8")
	}
	p.space()
	if p.next() != '{' {
		return nil, p.wrong("must be a JSON object on one line: {\"tenant\": …}")
	}
	n, err := p.object(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(text) {
		return nil, p.wrong("has something behind its object")
	}
	return n, nil
}

func (p *lineParser) wrong(format string, args ...any) error {
	return &jsonError{at: p.here(), message: fmt.Sprintf(format, args...)}
}

func (p *lineParser) here() place {
	col := p.pos
	if !p.ascii {
		col = utf8.RuneCountInString(p.text[:p.pos])
	}
	return place{p.line, col + 1}
}

// next is the byte at the position; 0 at the end, which no JSON has in it.
func (p *lineParser) next() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *lineParser) space() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// node is a fresh one, at the position.
func (p *lineParser) node(kind nodeKind) *node {
	if p.used == len(p.nodes) {
		return &node{kind: kind, at: p.here()}
	}
	n := &p.nodes[p.used]
	p.used++
	*n = node{kind: kind, at: p.here()}
	return n
}

func (p *lineParser) value(depth int) (*node, error) {
	if depth > maxLineDepth {
		return nil, p.wrong("is nested more than %d levels deep", maxLineDepth)
	}
	switch c := p.next(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.quoted()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	default:
		return p.literal()
	}
}

func (p *lineParser) object(depth int) (*node, error) {
	n := p.node(mapNode)
	keys := n.keys
	if depth == 0 {
		keys = p.keys[:0]
	}
	p.pos++
	for first := true; ; first = false {
		p.space()
		if p.next() == '}' && first {
			break
		}
		if p.next() != '"' {
			return nil, p.wrong(`is not JSON: a key in "quotes" must stand here`)
		}
		begin := p.pos
		key, err := p.quoted()
		if err != nil {
			return nil, err
		}
		switch {
		case slices.ContainsFunc(keys, func(e entry) bool { return e.key.text == key.text }):
			p.pos = begin
			return nil, p.wrong("has a key twice")
		case len(keys) == maxLineKeys:
			return nil, p.wrong("has more than %d keys in one object", maxLineKeys)
		}
		if p.space(); p.next() != ':' {
			return nil, p.wrong("is not JSON: a : must stand here")
		}
		p.pos++
		p.space()
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		keys = append(keys, entry{key, value})
		p.space()
		if c := p.next(); c == '}' {
			break
		} else if c != ',' {
			return nil, p.wrong("is not JSON: a , or } must stand here")
		}
		p.pos++
	}
	p.pos++
	if n.keys = keys; depth == 0 {
		p.keys = keys
	}
	return n, nil
}

func (p *lineParser) array(depth int) (*node, error) {
	n := p.node(listNode)
	p.pos++
	for first := true; ; first = false {
		p.space()
		if p.next() == ']' && first {
			break
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
		p.space()
		if c := p.next(); c == ']' {
			break
		} else if c != ',' {
			return nil, p.wrong("is not JSON: a , or ] must stand here")
		}
		p.pos++
	}
	p.pos++
	return n, nil
}

// quoted reads a string; without escapes it is a piece of the line.
func (p *lineParser) quoted() (*node, error) {
	n := p.node(textNode)
	p.pos++
	begin := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			n.text = p.text[begin:p.pos]
			p.pos++
			return n, nil
		case c == '\\':
			return p.escaped(n, begin)
		case c < ' ':
			return nil, p.wrong("is not JSON: a control character, 0x%02x, in a string", c)
		}
		p.pos++
	}
	return nil, p.wrong(`is not JSON: the closing " is missing`)
}

// escapes are what stands behind a backslash, but for u.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped reads the rest of a string that has escapes.
func (p *lineParser) escaped(n *node, begin int) (*node, error) {
	b := []byte(p.text[begin:p.pos])
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case c == '"':
			n.text = string(b)
			p.pos++
			return n, nil
		case c < ' ':
			return nil, p.wrong("is not JSON: a control character, 0x%02x, in a string", c)
		case c != '\\':
			b = append(b, c)
			p.pos++
			continue
		}
		p.pos++
		plain, known := escapes[p.next()]
		switch {
		case known:
			b = append(b, plain)
			p.pos++
		case p.next() == 'u':
			r, ok := p.unicode()
			if !ok {
				return nil, p.wrong(`is not JSON: \u and four hex digits that make a character must stand here`)
			}
			b = utf8.AppendRune(b, r)
		default:
			return nil, p.wrong("is not JSON: an escape that there is not")
		}
	}
	return nil, p.wrong(`is not JSON: the closing " is missing`)
}

// unicode reads uXXXX, or two of them that are one character.
func (p *lineParser) unicode() (rune, bool) {
	unit := func() (rune, bool) {
		if p.pos+5 > len(p.text) || p.text[p.pos] != 'u' {
			return 0, false
		}
		v, err := strconv.ParseUint(p.text[p.pos+1:p.pos+5], 16, 16)
		p.pos += 5
		return rune(v), err == nil
	}
	r, ok := unit()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if p.next() != '\\' {
		return 0, false
	}
	p.pos++
	low, ok := unit()
	r = utf16.DecodeRune(r, low)
	return r, ok && r != utf8.RuneError
}

func (p *lineParser) number() (*node, error) {
	n := p.node(numberNode)
	begin := p.pos
	digits := func() bool {
		from := p.pos
		for c := p.next(); c >= '0' && c <= '9'; c = p.next() {
			p.pos++
		}
		return p.pos > from
	}
	if p.next() == '-' {
		p.pos++
	}
	whole := p.pos
	good := digits() && (p.text[whole] != '0' || p.pos == whole+1)
	if p.next() == '.' {
		p.pos++
		good = digits() && good
	}
	if c := p.next(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.next(); c == '+' || c == '-' {
			p.pos++
		}
		good = digits() && good
	}
	if !good {
		return nil, p.wrong("is not JSON: a number that there is not")
	}
	n.text = p.text[begin:p.pos]
	return n, nil
}

func (p *lineParser) literal() (*node, error) {
	for word, kind := range map[string]nodeKind{"true": boolNode, "false": boolNode, "null": nullNode} {
		if strings.HasPrefix(p.text[p.pos:], word) {
			n := p.node(kind)
			n.text = word
			p.pos += len(word)
			return n, nil
		}
	}
	return nil, p.wrong("is not JSON: a value must stand here")
}
