package authn

// JSON objects read strictly: what two parsers could read differently is
// refused, in tokens and in key sets alike.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

var (
	errNotObject = errors.New("it is not one JSON object")
	errTwice     = errors.New("a member stands twice in one JSON object")
	errNotUTF8   = errors.New("its JSON is not UTF-8")
)

// members returns the members of the JSON object that raw is, by their exact
// names. A name that stands twice is an error, as is anything behind the
// object; objects inside are looked into when they are asked for.
func members(raw []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, errNotUTF8 // the decoder would replace it
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errNotObject
	}
	found := make(map[string]json.RawMessage)
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errNotObject
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errNotObject
		}
		text := name.(string) // an object's names are strings, or Token fails
		if _, twice := found[text]; twice {
			return nil, errTwice
		}
		found[text] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, errNotObject
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errNotObject
	}
	return found, nil
}

// stringOf reads a JSON string; false for any other value.
func stringOf(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// stringsOf reads a JSON array of strings; false for any other value.
func stringsOf(raw json.RawMessage) ([]string, bool) {
	var items []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return nil, false
	}
	list := make([]string, len(items))
	for i, item := range items {
		var ok bool
		if list[i], ok = stringOf(item); !ok {
			return nil, false
		}
	}
	return list, true
}
