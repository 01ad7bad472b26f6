package admin

// /-/config: the effective configuration, with nothing in it that is a secret.

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/helixflow/helixflow/internal/secret"
)

const (
	redacted = "[redacted]"
	maxDepth = 32 // of values in values; a configuration has six
)

func (s *Server) config(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, shown(reflect.ValueOf(s.deps.Config()), "", maxDepth))
}

// shown is v as JSON may show it: structs in the order of their fields, names
// in snake_case as an operator writes them, and everything that is a secret by
// type, by name or by place masked. What is of a kind not foreseen here is
// masked too. The name is that of the field or key which holds v.
func shown(v reflect.Value, name string, depth int) any {
	if !v.IsValid() || depth == 0 {
		return nil
	}
	if special, ok := showSpecial(v, name); ok {
		return special
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return shown(v.Elem(), name, depth-1)
	case reflect.Struct:
		return showStruct(v, depth)
	case reflect.Map:
		return showMap(v, name, depth)
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = shown(v.Index(i), name, depth-1)
		}
		return list
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	case reflect.Float32, reflect.Float64:
		if text := fmt.Sprint(v.Float()); !json.Valid([]byte(text)) {
			return text // NaN and the infinities
		}
		return v.Float()
	case reflect.String:
		return showText(v.String(), name)
	}
	return redacted
}

// showSpecial shows the types whose kind says too little about them.
func showSpecial(v reflect.Value, name string) (any, bool) {
	if !v.CanInterface() {
		return redacted, true
	}
	switch t := v.Interface().(type) {
	case secret.Text:
		return t.String(), true
	case time.Duration:
		return t.String(), true
	case time.Time:
		if t.IsZero() {
			return "", true
		}
		return t.Format(time.RFC3339), true
	case json.RawMessage:
		var inside any
		if json.Unmarshal(t, &inside) != nil {
			return mask(string(t)), true
		}
		return shown(reflect.ValueOf(inside), name, maxDepth), true
	case []byte:
		return mask(string(t)), true
	case map[string]string: // a header's value, and who knows what else
		return maskValues(v), true
	case encoding.TextMarshaler:
		if v.Kind() == reflect.Pointer {
			return nil, false // its element, if it has one, is asked
		}
		text, err := t.MarshalText()
		if err != nil {
			return redacted, true
		}
		return showText(string(text), name), true
	}
	if v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.String {
		return maskValues(v), true
	}
	return nil, false
}

func showStruct(v reflect.Value, depth int) any {
	var o object
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			o = append(o, member{snakeCase(f.Name), shown(v.Field(i), f.Name, depth-1)})
		}
	}
	return o
}

func showMap(v reflect.Value, name string, depth int) any {
	o := make(object, 0, v.Len())
	for _, k := range sortedKeys(v) {
		key := fmt.Sprint(k)
		o = append(o, member{key, shown(v.MapIndex(k), name+"_"+key, depth-1)})
	}
	return o
}

func maskValues(v reflect.Value) any {
	o := make(object, 0, v.Len())
	for _, k := range sortedKeys(v) {
		o = append(o, member{fmt.Sprint(k), mask(v.MapIndex(k).String())})
	}
	return o
}

func sortedKeys(v reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
}

// secretNames are parts of names whose text is masked although its type says
// nothing: a hash can be guessed against, and somebody may forget secret.Text.
var secretNames = []string{"hash", "secret", "token", "password", "credential", "apikey", "api_key", "authorization", "pepper", "cookie"}

func showText(text, name string) any {
	lower := strings.ToLower(name)
	if slices.ContainsFunc(secretNames, func(part string) bool { return strings.Contains(lower, part) }) {
		return mask(text)
	}
	return maskURL(text)
}

func mask(text string) string {
	if text == "" {
		return ""
	}
	return redacted
}

// maskURL hides what stands before the @ and behind the ? of a URL.
func maskURL(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	rest, query, found := strings.Cut(rest, "?")
	if found && query != "" {
		rest += "?" + redacted
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = redacted + rest[i:]
	}
	return scheme + "://" + rest
}

// object is a JSON object that keeps its order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// snakeCase is a Go name as the file has it: MaxBody is max_body, APIKey is
// api_key.
func snakeCase(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
