// Params: what a route changes in the parameters of a request, compiled once.

package openai

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
)

// MaxParams is how many parameters one Params may name: so many edits fit into an
// Edits beside those that every request may need.
const MaxParams = maxEdits - otherEdits

// otherEdits are the model's name, the usage splice, and two to spare.
const otherEdits = 4

// Member is a key of a JSON object and its value, as JSON.
type Member struct {
	Name  string
	Value []byte
}

// Params are the rules for the top-level parameters of the requests of one route:
// defaults, caps and drops. Immutable, safe for concurrent use; nil has no rules.
type Params struct {
	rules   []rule
	figures bool // a rule is about a number that Call holds
}

// rule is what happens to one parameter: drop alone, or cap and default together.
type rule struct {
	name   []byte
	figure figure
	drop   bool

	most []byte // the cap as JSON; nil: none
	max  float64

	insert []byte // ,"name":value where the parameter is missing; nil: no default
	amount int64  // of a default that is a figure, -1 for null
}

// figure is a number of a request that Call holds: a LimitKey, or one of these.
type figure = LimitKey

const (
	figureN    = NumLimitKeys
	noFigure   = NumLimitKeys + 1
	numFigures = NumLimitKeys + 1
)

// CompileParams checks rules and compiles them. Each value is one JSON value,
// spliced in as it is and so borrowed for good; that of a cap is a number.
// Defaults are inserted in the order given.
//
// It refuses names that are not letters, digits and underscores; those that say
// where a request goes, what is asked or what keeps tenants apart; more than
// MaxParams names; a name given twice, or in two spellings; one that is dropped
// and has another rule; a default above its cap; and values that Scan refuses
// under that name.
func CompileParams(defaults, caps []Member, drops []string) (*Params, error) {
	p := new(Params)
	for _, m := range defaults {
		r, err := p.add(m.Name, m.Value, func(r *rule) bool { return r.insert == nil })
		if err != nil {
			return nil, fmt.Errorf("cannot use the default of %q: %w", m.Name, err)
		}
		r.insert = slices.Concat([]byte(`,"`+m.Name+`":`), m.Value)
		if n, ok := integer(m.Value); ok {
			r.amount = n
		}
	}
	for _, m := range caps {
		r, err := p.add(m.Name, m.Value, func(r *rule) bool { return r.most == nil })
		if err == nil {
			err = r.limitTo(m.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot use the cap of %q: %w", m.Name, err)
		}
	}
	for _, name := range drops {
		r, err := p.add(name, rawNull, func(*rule) bool { return false })
		if err != nil {
			return nil, fmt.Errorf("cannot drop %q: %w", name, err)
		}
		r.drop = true
	}
	if len(p.rules) == 0 {
		return nil, nil
	}
	if len(p.rules) > MaxParams {
		return nil, fmt.Errorf("cannot use rules for %d parameters: at most %d", len(p.rules), MaxParams)
	}
	return p, nil
}

var rawNull = []byte("null")

// add returns the rule of name, a new one if there is none yet. One that exists
// must have room for what comes.
func (p *Params) add(name string, value []byte, room func(*rule) bool) (*rule, error) {
	if err := checkParam(name, value); err != nil {
		return nil, err
	}
	for i := range p.rules {
		switch r := &p.rules[i]; {
		case string(r.name) == name && room(r):
			return r, nil
		case string(r.name) == name:
			return nil, errors.New("it has another rule already")
		case strings.EqualFold(string(r.name), name):
			return nil, fmt.Errorf("it differs from %q in case only", r.name)
		}
	}
	f := noFigure
	if i := slices.Index(limitNames[:], name); i >= 0 {
		f = LimitKey(i)
	} else if name == "n" {
		f = figureN
	}
	p.figures = p.figures || f != noFigure
	p.rules = append(p.rules, rule{name: []byte(name), figure: f, amount: -1})
	return &p.rules[len(p.rules)-1], nil
}

// maxParamName is the longest name of a parameter, in bytes.
const maxParamName = 64

// checkParam says why value cannot stand under name in a request that no client
// wrote.
func checkParam(name string, value []byte) error {
	other := func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}
	if name == "" || len(name) > maxParamName || strings.ContainsFunc(name, other) {
		return fmt.Errorf("a name is 1 to %d letters, digits and underscores", maxParamName)
	}
	switch name {
	case "model", "messages", "input", "prompt", "stream", "stream_options", "previous_response_id", "conversation", "cache_salt":
		return errors.New("it says where a request goes, what is asked, or what keeps tenants apart")
	}
	var c Call
	err := Scan(slices.Concat([]byte(`{"`+name+`":`), value, []byte("}")), helixflow.OpChatCompletions, &c)
	var e *helixflow.Error
	switch {
	case errors.As(err, &e) && e.Kind == helixflow.KindInvalidRequest:
		text, _, _ := strings.Cut(e.Public, " (byte") // of a body that nobody sees
		return errors.New(text)
	case err != nil || c.Members != 1 || !utf8.Valid(value) || len(bytes.TrimSpace(value)) < len(value):
		return errors.New("its value must be one JSON value, without space around it")
	}
	return nil
}

// limitTo makes most the rule's cap.
func (r *rule) limitTo(most []byte) error {
	v, ok := number(most)
	if !ok || math.IsInf(v, 0) {
		return fmt.Errorf("it must be a number of at most %d characters", maxNumber)
	}
	r.most, r.max = most, v
	if r.insert == nil {
		return nil
	}
	def := r.insert[len(r.name)+len(`,"":`):]
	if v, ok := number(def); !ok || v > r.max {
		return fmt.Errorf("the default is %s, which must be a number and not above it", def)
	}
	return nil
}

// maxNumber is the longest number that is compared with a cap: of 32 bytes the
// compiler makes a string without the heap.
const maxNumber = 32

// number returns the value of a JSON number; one too large for a float64 is
// infinite.
func number(b []byte) (v float64, ok bool) {
	if len(b) == 0 || len(b) > maxNumber || b[0] != '-' && (b[0] < '0' || b[0] > '9') {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(b), 64)
	return v, err == nil || math.IsInf(v, 0)
}

// find returns the index of key's rule, -1 if there is none. Another spelling of
// a ruled key is refused: some backends would take it for the key itself.
func (p *Params) find(key []byte, at int) (int, error) {
	if len(key) == 0 {
		return -1, nil
	}
	for i := range p.rules {
		name := p.rules[i].name
		if string(key) == string(name) {
			return i, nil
		}
		// Of an ASCII name no folding is shorter.
		if (key[0]|0x20 == name[0]|0x20 || key[0] >= utf8.RuneSelf) && len(key) >= len(name) && bytes.EqualFold(key, name) {
			return 0, otherSpelling(string(name), at)
		}
	}
	return -1, nil
}
