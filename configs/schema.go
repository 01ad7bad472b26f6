package configs

import (
	"bytes"
	"encoding/json"

	"github.com/google/jsonschema-go/jsonschema"
)

// The JSON schema of the file, made from the table of keys. schema.json beside
// this file is its output.

type schema = jsonschema.Schema

// variablePattern lets ${NAME} stand where a value of another form is expected.
const variablePattern = `\$\{`

// Schema returns the JSON schema (draft 2020-12) of a configuration file, for
// editors: every key with its meaning, default and form. What needs more than
// one key to judge is left to Parse. The caller owns the bytes.
func Schema() []byte {
	s := rootKeys(Default()).schema()
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "HelixFlow configuration"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		panic("BUG: cannot write the schema: " + err.Error())
	}
	return b.Bytes()
}

func (v object) schema() *schema {
	s := &schema{Type: "object", Properties: map[string]*schema{}, AdditionalProperties: &schema{Not: &schema{}}}
	for _, k := range v {
		property := k.value.schema()
		property.Description = k.doc
		if k.restart {
			property.Description += " A change needs a restart."
		}
		s.Properties[k.name] = property
		s.PropertyOrder = append(s.PropertyOrder, k.name)
		if k.required {
			s.Required = append(s.Required, k.name)
		}
	}
	return s
}

func (v list[T]) schema() *schema {
	s := &schema{Type: "array", Items: v.element().schema(), MinItems: positive(v.min)}
	s.MaxItems = positive(v.max)
	return s
}

func (v texts) schema() *schema {
	return &schema{Type: "array", Items: &schema{Type: "string"}, MinItems: positive(v.min)}
}

func (v secretTexts) schema() *schema {
	return &schema{Type: "array", Items: &schema{Type: "string"}, MinItems: positive(1)}
}

func (v prefixes) schema() *schema {
	return &schema{Type: "array", Items: &schema{Type: "string"}, MinItems: positive(v.min)}
}

func (v orOff) schema() *schema {
	return &schema{AnyOf: []*schema{v.keys.schema(), {Type: "string", Pattern: "^off$|" + variablePattern}}}
}

// paramNames is the form of a parameter's name. That some are reserved is left
// to Parse.
const paramNames = `^[A-Za-z_][A-Za-z0-9_]{0,63}$`

func (v paramDefaults) schema() *schema {
	return &schema{Type: "object", PropertyNames: &schema{Pattern: paramNames}, MaxProperties: positive(maxParams)}
}

func (v paramCaps) schema() *schema {
	s := &schema{Type: "object", PropertyNames: &schema{Pattern: paramNames}, MaxProperties: positive(maxParams)}
	s.AdditionalProperties = &schema{AnyOf: []*schema{
		{Type: "number"},
		{Type: "string", Pattern: `^-?\d+(\.\d+)?([eE][+-]?\d+)?$|` + variablePattern},
	}}
	return s
}

func (v secretMap) schema() *schema {
	return &schema{Type: "object", AdditionalProperties: &schema{Type: "string"}}
}

func (v text) schema() *schema {
	return &schema{Type: "string", Default: defaultOf(*v.to, *v.to != "")}
}

func (v secretText) schema() *schema { return &schema{Type: "string"} }

func (v choice) schema() *schema {
	s := &schema{Default: defaultOf(*v.to, true)}
	names := make([]any, len(v.names))
	for i, name := range v.names {
		names[i] = name
	}
	s.AnyOf = []*schema{{Type: "string", Enum: names}, {Type: "string", Pattern: variablePattern}}
	return s
}

func (v boolean) schema() *schema {
	return &schema{
		Default: defaultOf(*v.to, true),
		AnyOf:   []*schema{{Type: "boolean"}, {Type: "string", Pattern: variablePattern}},
	}
}

func (v date) schema() *schema {
	return &schema{Type: "string", Pattern: `^\d{4}-\d\d-\d\d([Tt].+)?$|` + variablePattern}
}

func (v since) schema() *schema {
	return &schema{AnyOf: []*schema{{Type: "boolean"}, {Type: "string", Pattern: `^\d{4}-\d\d-\d\d([Tt].+)?$|` + variablePattern}}}
}

func (v count) schema() *schema {
	return &schema{
		Default: defaultOf(*v.to, *v.to >= v.min),
		AnyOf: []*schema{
			{Type: "integer", Minimum: new(float64(v.min)), Maximum: new(float64(v.max))},
			{Type: "string", Pattern: `^\d+[kM]?$|` + variablePattern},
		},
	}
}

func (v size) schema() *schema {
	return &schema{
		Default: defaultOf(formatSize(*v.to), true),
		AnyOf: []*schema{
			{Type: "integer", Minimum: new(float64(v.min)), Maximum: new(float64(v.max))},
			{Type: "string", Pattern: `^\d+ ?([kKMG]B|[KMG]iB|B)?$|` + variablePattern},
		},
	}
}

func (v duration) schema() *schema {
	return &schema{
		Default: defaultOf(formatDuration(*v.to), true),
		AnyOf: []*schema{
			{Const: new(any(0))},
			{Type: "string", Pattern: `^(0|(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+)$|` + variablePattern},
		},
	}
}

func (v share) schema() *schema {
	s := &schema{
		Default: defaultOf(v.to.String(), *v.to >= v.min),
		AnyOf:   []*schema{{Type: "string", Pattern: `^(0|\d+(\.\d{1,4})? ?%)$|` + variablePattern}},
	}
	if v.min == 0 {
		s.AnyOf = append(s.AnyOf, &schema{Const: new(any(0))})
	}
	return s
}

// defaultOf is v as JSON, or nothing when there is no default to tell.
func defaultOf(v any, told bool) json.RawMessage {
	if !told {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: cannot write a default: " + err.Error())
	}
	return b
}

func positive(n int) *int {
	if n <= 0 {
		return nil
	}
	return &n
}
