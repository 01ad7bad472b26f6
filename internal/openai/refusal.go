// What a caller reads about a body that Scan refuses: what is wrong and where,
// with little of the body itself.

package openai

import (
	"fmt"

	"github.com/helixflow/helixflow"
)

var errTooLong = &helixflow.Error{
	Kind:   helixflow.KindBodyTooLarge,
	Public: "The request body must be smaller than 2 GiB.",
}

var faultTexts = [...]string{
	faultEnd:     "it ends too early",
	faultByte:    "unexpected character",
	faultControl: "a control character inside a string must be escaped",
	faultEscape:  "unknown escape sequence in a string",
	faultNumber:  "malformed number",
	faultDepth:   "nested deeper than 512 levels",
}

func syntaxError(at int, why fault) error {
	return invalidJSON("The request body is not valid JSON: %s (byte %d).", faultTexts[why], at)
}

func invalidJSON(format string, args ...any) error {
	return &helixflow.Error{Kind: helixflow.KindInvalidJSON, Public: fmt.Sprintf(format, args...)}
}

// notAnObject says why a body whose first byte other than space is at i cannot be
// a request.
func notAnObject(body []byte, i int) error {
	const must = "The request body must be a JSON object"
	switch {
	case len(body) == 0:
		return invalidJSON(must + ", but it is empty.")
	case i == len(body):
		return invalidJSON(must + ", but it holds white space only.")
	case len(body)-i >= 3 && string(body[i:i+3]) == "\xef\xbb\xbf":
		return invalidJSON(must+", but a byte order mark stands before it (byte %d).", i)
	}
	kind := "something else"
	switch c := body[i]; {
	case c == '[':
		kind = "an array"
	case c == '"':
		kind = "a string"
	case c == '-' || '0' <= c && c <= '9':
		kind = "a number"
	}
	return invalidJSON(must+", but it begins as %s (byte %d).", kind, i)
}

func trailing(at int) error {
	return invalidJSON("The request body goes on behind the end of its JSON object (byte %d).", at)
}

// escapedKey refuses a key written with a backslash; in names the object, if it is
// not the root.
func escapedKey(at int, in string) error {
	where := "at the top level"
	if in != "" {
		where = "in '" + in + "'"
	}
	return &helixflow.Error{
		Kind:   helixflow.KindDuplicateKey,
		Public: fmt.Sprintf("Keys %s must be written without escape sequences (byte %d).", where, at),
		Param:  in,
	}
}

func duplicateKey(key []byte, at int) error {
	return &helixflow.Error{
		Kind:   helixflow.KindDuplicateKey,
		Public: fmt.Sprintf("The key '%s' is given twice (byte %d).", key, at),
		Param:  string(key),
	}
}

func otherSpelling(key string, at int) error {
	return &helixflow.Error{
		Kind:   helixflow.KindDuplicateKey,
		Public: fmt.Sprintf("The key at byte %d is another spelling of '%s'; write it exactly so.", at, key),
		Param:  key,
	}
}

// want returns nil when ok, else the refusal of a value that is not what it must
// be.
func want(ok bool, param, kind string, v Span) error {
	if ok {
		return nil
	}
	return &helixflow.Error{
		Kind:   helixflow.KindInvalidRequest,
		Public: fmt.Sprintf("'%s' must be %s (byte %d).", param, kind, v.Start),
		Param:  param,
	}
}

func badModel(v Span) error {
	return want(false, "model", fmt.Sprintf("a string of 1 to %d bytes of UTF-8 without control characters", maxModelBytes), v)
}
