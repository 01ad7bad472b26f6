package configs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// From bytes to nodes. The YAML library parses; this file keeps away from it
// what would make it slow, deep or big, and turns its tree into a plain one
// with aliases and merge keys resolved.

const (
	maxFile      = 4 << 20   // bytes
	maxMarks     = 1_000_000 // characters that may start something; bounds the library's memory
	maxDepth     = 32        // levels; the library recurses once per level
	maxKeys      = 1000      // of one block mapping; the library recurses once per key
	maxExpansion = 100_000   // nodes that aliases and merge keys may add
)

type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	textNode
	listNode
	mapNode
)

var nodeKindNames = [...]string{"nothing", "true or false", "a number", "text", "a list", "a mapping"}

// node is a value of the file. An alias shares its anchor's. Once read only
// masked changes.
type node struct {
	kind  nodeKind
	text  string // of a scalar, as it means, ${…} not yet replaced
	at    place
	end   place // where the next thing starts
	items []*node
	keys  []entry
	size  int // nodes in it, itself included, aliases expanded

	masked bool // it is a secret, or may be one
}

type entry struct {
	key   *node // a scalar
	value *node
}

func (n *node) child(name string) *entry {
	for i := range n.keys {
		if n.keys[i].key.text == name {
			return &n.keys[i]
		}
	}
	return nil
}

// shown is the scalar for a message: as the file says it, before ${…} is
// replaced.
func (n *node) shown() string {
	if n.masked || looksLikeKey(n.text) {
		return "the value"
	}
	return quote(n.text)
}

// looksLikeKey reports whether text may be an API key in a wrong place, ours or a
// vendor's: then no message repeats it.
func looksLikeKey(text string) bool {
	return strings.HasPrefix(text, "sk-") || strings.Contains(text, "hfx_")
}

// suggest is the nearest candidate, when n may be shown.
func (n *node) suggest(candidates []string) string {
	if n.masked || hasVariable(n.text) {
		return ""
	}
	return suggest(n.text, candidates)
}

// problemAt is a problem without file and excerpt.
func problemAt(at place, format string, args ...any) *Problem {
	return &Problem{Line: at.line, Column: at.col, Message: fmt.Sprintf(format, args...)}
}

// checkBytes refuses what no YAML file holds.
func checkBytes(data string) *Problem {
	marks := 0
	line, start := 1, 0
	for i, r := range data {
		at := func() place { return place{line, utf8.RuneCountInString(data[start:i]) + 1} }
		switch {
		case r == '\n':
			line, start = line+1, i+1
			marks++
		case r == utf8.RuneError && !strings.HasPrefix(data[i:], "\uFFFD"):
			return problemAt(at(), "is not UTF-8: byte 0x%02x", data[i])
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return problemAt(at(), "holds a control character, 0x%02x; is this a text file?", r)
		case r == ',', r == ':', r == '-', r == '[', r == ']', r == '{', r == '}':
			marks++
		}
	}
	if marks > maxMarks {
		return problemAt(place{}, "holds more than %d entries", maxMarks)
	}
	return nil
}

// checkTokens refuses what the library's parser would answer with deep
// recursion or quadratic time, and what a configuration has no use for.
func checkTokens(tokens token.Tokens) *Problem {
	g := guard{}
	for i, t := range tokens {
		if t.Position == nil {
			continue
		}
		if p := g.see(tokens, i); p != nil {
			return p
		}
	}
	return nil
}

// guard follows the columns and brackets of a token stream.
type guard struct {
	levels   []level // open block mappings and sequences, by column
	brackets int
	colons   int // inside brackets, without a comma or bracket between them
	run      int // anchors and tags without a value between them
}

type level struct{ col, keys int }

func (g *guard) see(tokens token.Tokens, i int) *Problem {
	t := tokens[i]
	at := place{t.Position.Line, t.Position.Column}
	switch t.Type {
	case token.MappingKeyType:
		return problemAt(at, "a key that starts with ? is not supported")
	case token.DirectiveType:
		return problemAt(at, "a line that starts with %% is not supported")
	case token.AnchorType, token.TagType:
		if g.run++; g.run > 2 {
			return problemAt(at, "too many anchors or tags for one value")
		}
		return nil
	case token.MappingStartType, token.SequenceStartType:
		g.brackets++
		g.colons = 0
	case token.CollectEntryType:
		g.colons = 0
	case token.MappingEndType, token.SequenceEndType:
		g.brackets = max(0, g.brackets-1)
	case token.SequenceEntryType, token.MappingValueType:
		if g.brackets > 0 { // columns say nothing here
			g.colons++
		} else if t.Type == token.SequenceEntryType {
			g.open(at.col)
		} else if i > 0 && tokens[i-1].Position != nil {
			g.open(tokens[i-1].Position.Column).keys++
		}
	case token.CommentType:
		return nil
	}
	if i == 0 || tokens[i-1].Type != token.AnchorType { // the anchor's name is no value
		g.run = 0
	}
	if len(g.levels)+g.brackets > maxDepth || g.colons > maxDepth {
		return problemAt(at, "is nested more than %d levels deep", maxDepth)
	}
	if n := len(g.levels); n > 0 && g.brackets == 0 && g.levels[n-1].keys > maxKeys {
		return problemAt(at, "has more than %d keys in one mapping", maxKeys)
	}
	return nil
}

// open is the level of a column; those right of it have ended.
func (g *guard) open(col int) *level {
	n := len(g.levels)
	for n > 0 && g.levels[n-1].col > col {
		n--
	}
	g.levels = g.levels[:n]
	if n == 0 || g.levels[n-1].col < col {
		g.levels = append(g.levels, level{col: col})
		n++
	}
	return &g.levels[n-1]
}

// parseYAML returns the one document's tree, nil for an empty one.
func parseYAML(data string) (body ast.Node, problem *Problem) {
	// The library is fuzzed, ours and theirs; should a file still panic it, that
	// file is refused and the router lives on.
	defer func() {
		if recover() != nil {
			body, problem = nil, problemAt(place{}, "cannot be read as YAML")
		}
	}()
	tokens := lexer.Tokenize(data)
	if p := checkTokens(tokens); p != nil {
		return nil, p
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, syntaxProblem(data, err)
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			at := doc.Body.GetToken().Position
			return nil, problemAt(place{at.Line, at.Column}, "a second YAML document starts here; one file is one document")
		}
		body = doc.Body
	}
	return body, nil
}

// syntaxHints says in other words what the library says in its own.
var syntaxHints = map[string]string{
	"value is not allowed in this context. map key-value is pre-defined": "is indented further than the key above it, which already has a value",
	"value is not allowed in this context":                               "does not belong here; check the indentation",
	"mapping value is not allowed in this context":                       "a second \": \" on the line; put the value in quotes",
	"non-map value is specified":                                         "must be \"key: value\" like the lines above it",
	"unexpected key name":                                                "must be \"key: value\"; is a colon missing?",
	"could not find end character of double-quoted text":                 "the closing \" is missing",
	"could not find end character of single-quoted text":                 "the closing ' is missing",
}

// quoted is what the library repeats from the file: perhaps a secret.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

func syntaxProblem(data string, err error) *Problem {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) || syntax.Token == nil || syntax.Token.Position == nil {
		return problemAt(place{}, "cannot be read as YAML")
	}
	at := startOf(syntax.Token)
	if q := syntax.Token.Prev; q != nil && q.Position != nil && q.Position.Line < at.line &&
		(q.Type == token.DoubleQuoteType || q.Type == token.SingleQuoteType) {
		return problemAt(startOf(q), "is not YAML: the quote opened here ends on line %d; is one missing?", at.line)
	}
	message := quoted.ReplaceAllString(printable(syntax.Message), `"…"`)
	if hint, ok := syntaxHints[syntax.Message]; ok {
		message = hint
	}
	if lines := strings.Split(data, "\n"); at.line <= len(lines) {
		line := lines[at.line-1]
		if indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; strings.Contains(indent, "\t") {
			message = "is indented with a tab; YAML wants spaces"
			at.col = strings.IndexByte(indent, '\t') + 1
		}
	}
	return problemAt(at, "is not YAML: %s", message)
}
