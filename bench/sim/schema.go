package sim

// Small JSON values that satisfy a JSON schema, for structured output and for
// the arguments of tool calls.

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// schema is the part of JSON Schema that is honoured. Anything else is allowed
// and ignored.
type schema struct {
	Type       json.RawMessage    `json:"type"` // a string, or a list of them
	Const      json.RawMessage    `json:"const"`
	Enum       []json.RawMessage  `json:"enum"`
	Ref        string             `json:"$ref"`
	Defs       map[string]*schema `json:"$defs"`
	OldDefs    map[string]*schema `json:"definitions"`
	AnyOf      []*schema          `json:"anyOf"`
	OneOf      []*schema          `json:"oneOf"`
	AllOf      []*schema          `json:"allOf"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Items      *schema            `json:"items"`
	MinItems   int                `json:"minItems"`
	MinLength  int                `json:"minLength"`
	Minimum    json.RawMessage    `json:"minimum"`
}

// maxSchemaDepth bounds schemas that refer to themselves; maxSchemaRepeat what
// minItems and minLength may ask for.
const (
	maxSchemaDepth  = 12
	maxSchemaRepeat = 64
	maxSchemaBytes  = 64 << 10
)

// sample returns a JSON value for the schema in raw, "{}" if that is none.
func sample(raw json.RawMessage) string {
	var root schema
	if len(raw) == 0 || json.Unmarshal(raw, &root) != nil {
		return "{}"
	}
	return string(root.append(nil, &root, 0))
}

func (s *schema) append(dst []byte, root *schema, depth int) []byte {
	if s == nil || depth > maxSchemaDepth || len(dst) > maxSchemaBytes {
		return append(dst, "null"...)
	}
	alternatives := slices.Concat(s.AnyOf, s.OneOf, s.AllOf)
	switch {
	case len(s.Const) > 0:
		return append(dst, s.Const...)
	case len(s.Enum) > 0:
		return append(dst, s.Enum[0]...)
	case s.Ref != "":
		return root.find(s.Ref).append(dst, root, depth+1)
	case len(alternatives) > 0 && len(s.Properties) == 0:
		return alternatives[0].append(dst, root, depth+1)
	}
	switch s.kind() {
	case "object":
		return s.appendObject(dst, root, depth)
	case "array":
		dst = append(dst, '[')
		for i := range min(s.MinItems, maxSchemaRepeat) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = s.Items.append(dst, root, depth+1)
		}
		return append(dst, ']')
	case "string":
		const text = "example"
		return appendString(dst, text+strings.Repeat("x", min(max(0, s.MinLength-len(text)), maxSchemaRepeat)))
	case "integer", "number":
		if len(s.Minimum) > 0 {
			return append(dst, s.Minimum...)
		}
		return append(dst, '1')
	case "boolean":
		return append(dst, "true"...)
	}
	return append(dst, "null"...)
}

// appendObject writes the required properties, or all if none is required.
func (s *schema) appendObject(dst []byte, root *schema, depth int) []byte {
	names := s.Required
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(s.Properties))
	}
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		if property := s.Properties[name]; property != nil {
			dst = property.append(dst, root, depth+1)
		} else {
			dst = append(dst, `"example"`...)
		}
	}
	return append(dst, '}')
}

// kind is the schema's type, guessed where it does not say.
func (s *schema) kind() string {
	var one string
	var list []string
	switch {
	case json.Unmarshal(s.Type, &one) == nil:
		return one
	case json.Unmarshal(s.Type, &list) == nil && len(list) > 0:
		return list[0]
	case s.Items != nil:
		return "array"
	default:
		return "object"
	}
}

// find follows a reference of the form #/$defs/NAME or to the root itself.
func (s *schema) find(ref string) *schema {
	if ref == "#" {
		return s
	}
	if name, ok := strings.CutPrefix(ref, "#/$defs/"); ok {
		return s.Defs[name]
	}
	if name, ok := strings.CutPrefix(ref, "#/definitions/"); ok {
		return s.OldDefs[name]
	}
	return nil
}
