package configs

// The edits to a request's parameters: values of any form, kept as the JSON
// that will stand in the request.

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	maxParams     = 20      // of one model: the router changes so many in a request
	maxParamValue = 4 << 10 // bytes of JSON
	maxNumber     = 32      // characters of a cap
)

// reservedParams say where a request goes, what is asked, or what keeps
// tenants apart: no configuration changes them.
var reservedParams = []string{
	"model", "messages", "input", "prompt", "stream", "stream_options", "previous_response_id", "conversation", "cache_salt",
}

// paramForms are the forms of the parameters that the router reads in requests:
// a default of another form would be refused there.
var paramForms = map[string]form{
	"max_tokens": tokens, "max_completion_tokens": tokens, "max_output_tokens": tokens,
	"n":    choices,
	"user": words, "safety_identifier": words, "prompt_cache_key": words, "service_tier": words,
	"instructions": {"text, a list or a mapping", func(json string) bool { return strings.ContainsRune(`"[{`, rune(json[0])) }},
	"tools":        {"a list", func(json string) bool { return json[0] == '[' }},
}

// form is what a value must be.
type form struct {
	want string
	fits func(json string) bool
}

var (
	tokens  = form{"a whole number, 0 or more", func(json string) bool { return whole(json, 0, 1<<53) }}
	choices = form{"a whole number from 1 to 1024", func(json string) bool { return whole(json, 1, 1024) }}
	words   = form{"text", func(json string) bool { return json[0] == '"' }}
)

func whole(json string, least, most uint64) bool {
	n, err := strconv.ParseUint(json, 10, 64)
	return err == nil && n >= least && n <= most
}

// badParam says what is wrong with a parameter's name, or nothing.
func badParam(name string) string {
	good := name != "" && len(name) <= 64 && (name[0] < '0' || name[0] > '9')
	for i := range len(name) {
		good = good && (isAlnum(name[i]) || name[i] == '_')
	}
	lower := strings.ToLower(name)
	_, read := paramForms[lower]
	switch {
	case !good:
		return "is not the name of a parameter: letters, digits and underscores, at most 64"
	case slices.Contains(reservedParams, lower):
		return "cannot be changed here: routing depends on it"
	case read && lower != name:
		return "is written " + lower
	}
	return ""
}

// params calls decode for each parameter of a mapping that has a good name.
func (r *reader) params(n *node, want string, decode func(name string, value *node)) {
	if !r.is(n, mapNode, want) {
		return
	}
	for _, e := range n.keys {
		r.push(r.doubtful(e))
		if why := badParam(e.key.text); why != "" {
			r.report(e.key.at, "%s", why)
		} else {
			decode(e.key.text, e.value)
		}
		r.pop()
	}
}

func (v paramDefaults) decode(r *reader, n *node) {
	*v.to = nil
	r.params(n, "a mapping of parameters to values", func(name string, value *node) {
		if value.kind == nullNode {
			r.report(value.at, "has no value")
			return
		}
		b, ok := r.appendJSON(nil, value)
		form, read := paramForms[name]
		switch {
		case !ok:
		case len(b) > maxParamValue:
			r.report(value.at, "is bigger than %s of JSON", formatSize(maxParamValue))
		case read && !form.fits(string(b)):
			r.report(value.at, "must be %s", form.want)
		default:
			*v.to = append(*v.to, ParamDefault{name, b})
		}
	})
}

func (v paramCaps) decode(r *reader, n *node) {
	*v.to = nil
	r.params(n, "a mapping of parameters to numbers", func(name string, value *node) {
		s, ok := r.textOr(numberNode, value, "a number such as 4096")
		if !ok {
			return
		}
		most, ok := parseNumber(s)
		if !ok || len(s) > maxNumber {
			r.report(value.at, "%s is not a number such as 4096 or 0.9", value.shown())
			return
		}
		*v.to = append(*v.to, ParamCap{name, most, json.RawMessage(s)})
	})
}

// parseNumber reads a number as JSON writes it, and no other.
func parseNumber(s string) (float64, bool) {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') || !json.Valid([]byte(s)) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// appendJSON appends n as compact JSON. Lists and objects stop soon after
// maxParamValue: aliases can make a small file mean a huge value.
func (r *reader) appendJSON(dst []byte, n *node) (b []byte, ok bool) {
	switch n.kind {
	case nullNode:
		return append(dst, "null"...), true
	case boolNode:
		return append(dst, n.text...), true
	case numberNode:
		if _, ok := parseNumber(n.text); !ok {
			r.report(n.at, "%s is not a number as JSON writes it, such as 7 or 0.5", n.shown())
			return dst, false
		}
		return append(dst, n.text...), true
	case listNode:
		return r.appendJSONList(dst, n)
	case mapNode:
		return r.appendJSONObject(dst, n)
	}
	s, ok := r.expand(n)
	return appendJSONText(dst, s), ok
}

func (r *reader) appendJSONList(dst []byte, n *node) (b []byte, ok bool) {
	dst, ok = append(dst, '['), true
	for i, item := range n.items {
		if len(dst) > maxParamValue {
			break
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		r.push(step{index: i})
		var good bool
		dst, good = r.appendJSON(dst, item)
		ok = ok && good
		r.pop()
	}
	return append(dst, ']'), ok
}

func (r *reader) appendJSONObject(dst []byte, n *node) (b []byte, ok bool) {
	dst, ok = append(dst, '{'), true
	for i, e := range n.keys {
		if len(dst) > maxParamValue {
			break
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		r.push(r.doubtful(e))
		dst = append(appendJSONText(dst, e.key.text), ':')
		var good bool
		dst, good = r.appendJSON(dst, e.value)
		ok = ok && good
		r.pop()
	}
	return append(dst, '}'), ok
}

// appendJSONText appends s as a JSON string, cut when it is far too long
// anyway.
func appendJSONText(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s[:min(len(s), 2*maxParamValue)]); err != nil {
		panic("BUG: cannot write a string as JSON: " + err.Error())
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// checkParams checks the edits of model i against each other.
func checkParams(r *reader, i int, p *Params) {
	path := func(parts ...any) []step { return append(at("models", i, "params"), at(parts...)...) }
	spelled := make(map[string]string) // by the name in lower case
	spell := func(name string, here []step) {
		if first, seen := spelled[strings.ToLower(name)]; seen && first != name {
			r.wrong(here, "differs from %s in case only", quote(first))
		}
		spelled[strings.ToLower(name)] = name
	}
	dropped := names{}
	for j, name := range p.Drop {
		here := path("drop", j)
		if why := badParam(name); why != "" {
			r.wrong(here, "%s %s", r.shown(here), why)
			continue
		}
		dropped.claim(r, name, here)
		spell(name, here)
	}
	for _, c := range p.Cap {
		here := path("cap", c.Name)
		if _, both := dropped[c.Name]; both {
			r.wrong(here, "is dropped as well; a parameter is either taken out or bounded")
		}
		spell(c.Name, here)
	}
	for _, d := range p.Default {
		here := path("default", d.Name)
		if _, both := dropped[d.Name]; both {
			r.wrong(here, "is dropped as well; a parameter is either taken out or filled in")
		}
		spell(d.Name, here)
		checkCapped(r, here, path("cap", d.Name), &d, p.Cap)
	}
	if len(spelled) > maxParams {
		r.wrong(path(), "names %d parameters, more than %d", len(spelled), maxParams)
	}
}

// checkCapped checks a default against its cap, if it has one.
func checkCapped(r *reader, here, limit []step, d *ParamDefault, caps []ParamCap) {
	j := slices.IndexFunc(caps, func(c ParamCap) bool { return c.Name == d.Name })
	if j < 0 {
		return
	}
	switch f, ok := parseNumber(string(d.Value)); {
	case !ok || len(d.Value) > maxNumber:
		r.wrong(here, "must be a number, as it has a cap")
	case f > caps[j].Max:
		r.wrong(here, "%s is above its cap, %s", r.shown(here), r.shown(limit))
	}
}
