package configs

import (
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// From the library's tree to ours: anchors, aliases, merge keys and tags are
// resolved here, duplicate keys found.

// resolver makes nodes, and reports what it finds on the way to r.
type resolver struct {
	r        *reader
	anchors  map[string]*node // nil while the anchor's own value is being read
	expanded int
	broken   bool // an alias is wrong: what follows would only repeat it
}

func (s *resolver) fail(at place, format string, args ...any) *node {
	s.broken = true
	s.r.report(at, format, args...)
	return &node{at: at, end: at, size: 1}
}

// node returns n's plain form, never nil.
func (s *resolver) node(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.MappingNode:
		return s.mapping(n, n.Values)
	case *ast.MappingValueNode:
		return s.mapping(n, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		return s.sequence(n)
	case *ast.AnchorNode:
		name := n.Name.GetToken().Value
		s.anchors[name] = nil
		value := s.node(n.Value)
		s.anchors[name] = value
		return value
	case *ast.AliasNode:
		return s.alias(n)
	case *ast.TagNode:
		return s.tagged(n)
	case *ast.LiteralNode:
		literal := scalar(textNode, n.Value.Value, n.Start)
		literal.end = endOf(n.Value.GetToken())
		s.r.mask(literal)
		return literal
	case *ast.NullNode:
		return scalar(nullNode, "", n.GetToken())
	case *ast.BoolNode:
		return scalar(boolNode, strconv.FormatBool(n.Value), n.GetToken())
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar(numberNode, n.GetToken().Value, n.GetToken())
	case *ast.StringNode:
		value := scalar(textNode, n.Value, n.GetToken())
		// No value of ours has several lines: a lost quote made it swallow others.
		if strings.Contains(strings.TrimSpace(n.GetToken().Origin), "\n") || looksLikeKey(n.Value) {
			s.r.mask(value)
		}
		return value
	}
	return s.fail(placeOf(n), "this kind of YAML is not supported here")
}

func placeOf(n ast.Node) place {
	if n == nil || n.GetToken() == nil {
		return place{}
	}
	return startOf(n.GetToken())
}

func startOf(t *token.Token) place {
	return place{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// endOf is where the token after t starts, or the end of t's line when that is
// a comment or another line: a mask may cover too much, never too little.
func endOf(t *token.Token) place {
	next := t.Next
	if next == nil || next.Position == nil {
		return place{1 << 30, 1}
	}
	switch next.Type {
	case token.CollectEntryType, token.MappingEndType, token.SequenceEndType:
		return startOf(next)
	}
	return place{max(next.Position.Line, t.Position.Line+1), 1}
}

func scalar(kind nodeKind, text string, t *token.Token) *node {
	return &node{kind: kind, text: text, at: startOf(t), end: endOf(t), size: 1}
}

func (s *resolver) sequence(n *ast.SequenceNode) *node {
	list := &node{kind: listNode, at: placeOf(n), end: endOf(n.GetToken()), size: 1}
	list.items = make([]*node, 0, len(n.Values))
	for i, v := range n.Values {
		s.r.push(step{index: i})
		item := s.node(v)
		s.r.pop()
		list.items = append(list.items, item)
		list.size += item.size
	}
	return list
}

func (s *resolver) mapping(n ast.Node, values []*ast.MappingValueNode) *node {
	m := &node{kind: mapNode, at: placeOf(n), end: endOf(n.GetToken()), size: 1}
	m.keys = make([]entry, 0, len(values))
	seen := make(map[string]place, len(values))
	var merges []*node
	for i, v := range values {
		if i == 0 {
			if flow, ok := n.(*ast.MappingNode); !ok || !flow.IsFlowStyle {
				m.at = placeOf(v.Key)
			}
		}
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			merges = append(merges, s.node(v.Value))
			continue
		}
		key, ok := s.key(v.Key)
		if !ok {
			continue
		}
		s.r.push(keyStep(key.text))
		value := s.node(v.Value)
		s.r.pop()
		first, twice := seen[key.text]
		if !twice {
			seen[key.text] = key.at
			m.keys = append(m.keys, entry{key, value})
			m.size += value.size
			continue
		}
		s.r.mask(value)
		s.r.push(s.r.doubtful(entry{key, value}))
		s.r.report(key.at, "is given twice; first on line %d", first.line)
		s.r.pop()
	}
	s.merge(m, seen, merges)
	return m
}

func (s *resolver) key(k ast.MapKeyNode) (*node, bool) {
	if k, ok := k.(ast.Node); ok {
		switch k.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
			return scalar(textNode, k.GetToken().Value, k.GetToken()), true
		}
	}
	s.fail(placeOf(k), "a key must be plain text")
	return nil, false
}

// merge adds to m what its << keys bring: m's own keys win, then the earlier
// source (yaml.org/type/merge.html).
func (s *resolver) merge(m *node, seen map[string]place, merges []*node) {
	for len(merges) > 0 {
		from := merges[0]
		merges = merges[1:]
		switch from.kind {
		case listNode:
			for _, item := range from.items {
				if item.kind != mapNode {
					s.fail(item.at, "<< takes mappings")
					return
				}
			}
			merges = append(append([]*node(nil), from.items...), merges...)
		case mapNode:
			for _, e := range from.keys {
				if _, own := seen[e.key.text]; own {
					continue
				}
				seen[e.key.text] = e.key.at
				m.keys = append(m.keys, e)
				m.size += e.value.size
			}
		default:
			if !s.broken {
				s.fail(from.at, "<< takes a mapping or a list of mappings")
			}
			return
		}
	}
}

func (s *resolver) alias(n *ast.AliasNode) *node {
	name := n.Value.GetToken().Value
	target, known := s.anchors[name]
	switch {
	case !known:
		return s.fail(placeOf(n), "this alias has no anchor above it")
	case target == nil:
		return s.fail(placeOf(n), "this alias stands inside its own anchor")
	}
	s.expanded += target.size
	if s.expanded > maxExpansion {
		if !s.broken {
			s.fail(placeOf(n), "aliases make more than %d values", maxExpansion)
		}
		return scalar(nullNode, "", n.GetToken())
	}
	return target
}

// tagged reads the tags of YAML's core schema; no tag makes anything happen.
func (s *resolver) tagged(n *ast.TagNode) *node {
	tag := n.GetToken().Value
	value := s.node(n.Value)
	kind, known := map[string]nodeKind{
		"!!str": textNode, "!!int": numberNode, "!!float": numberNode, "!!bool": boolNode,
		"!!null": nullNode, "!!seq": listNode, "!!map": mapNode,
	}[tag]
	if !known || value.kind > textNode && value.kind != kind || kind > textNode && value.kind != kind {
		return s.fail(placeOf(n), "this tag is not supported here")
	}
	if value.kind == kind {
		return value
	}
	retyped := *value
	retyped.kind = kind
	return &retyped
}
