package hook

// Which replies make sense, and what they say.

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/helixflow/helixflow/internal/openai"
)

// Action is what a hook wants done.
type Action uint8

// The actions.
const (
	Allow   Action = iota // go on
	Deny                  // the caller gets an error instead
	Replace               // go on with another body
)

const (
	maxMessage = 1000 // bytes; a longer one is cut
	maxCode    = 64
)

// Reply is what a hook said.
type Reply struct {
	Action  Action
	Message string // of Deny: for the caller; empty for none
	Code    string // of Deny: for the caller's program; empty for none
	Body    []byte // of Replace: a JSON object
}

// Replies that make no sense. None of them repeats what was said.
var (
	errNotUTF8    = errors.New("its reply is not UTF-8")
	errNotObject  = errors.New("its reply is not a JSON object")
	errTwice      = errors.New("its reply has a key twice")
	errAction     = errors.New(`its reply's "action" is none of allow, deny and replace`)
	errNoBody     = errors.New(`its reply is to replace the body, and has no JSON object as "body"`)
	errSpareBody  = errors.New(`its reply has a "body", and its action is not replace`)
	errWrongTypes = errors.New(`its reply has a "message" or a "code" that is no text`)
)

// fields are the raw values of the keys that mean something; nil for none.
type fields struct{ action, message, code, body []byte }

// ReadReply reads a reply; the Reply shares no memory with b. Keys that it does
// not know mean nothing. Who denies is believed: an odd message or code does not
// let anything pass, and is left out.
func ReadReply(b []byte) (Reply, error) {
	if !utf8.Valid(b) {
		return Reply{}, errNotUTF8
	}
	var f fields
	twice := false
	whole := openai.Members(b, func(key, value []byte) bool {
		to := f.of(key)
		switch {
		case to == nil:
		case *to != nil:
			twice = true
			return false
		default:
			*to = value
		}
		return true
	})
	switch {
	case twice:
		return Reply{}, errTwice
	case !whole:
		return Reply{}, errNotObject
	}
	return f.reply()
}

// of is where the value of a key goes; nil for one that means nothing.
func (f *fields) of(key []byte) *[]byte {
	switch string(key) {
	case "action":
		return &f.action
	case "message":
		return &f.message
	case "code":
		return &f.code
	case "body":
		return &f.body
	}
	return nil
}

func (f *fields) reply() (Reply, error) {
	message, messageOK := text(f.message)
	code, codeOK := text(f.code)
	body := f.body
	if string(body) == NoBody {
		body = nil
	}
	switch string(f.action) {
	case `"deny"`:
		if !isCode(code) {
			code = ""
		}
		return Reply{Action: Deny, Message: shortened(message), Code: code}, nil
	case `"allow"`, `"replace"`:
	default:
		return Reply{}, errAction
	}
	replaces := string(f.action) == `"replace"`
	switch {
	case !messageOK || !codeOK:
		return Reply{}, errWrongTypes
	case !replaces && body != nil:
		return Reply{}, errSpareBody // perhaps it was to be masked
	case !replaces:
		return Reply{Action: Allow}, nil
	case !openai.IsObject(body):
		return Reply{}, errNoBody
	}
	return Reply{Action: Replace, Body: bytes.Clone(body)}, nil
}

// text decodes a raw value that should be a string, null or absent.
func text(raw []byte) (s string, ok bool) {
	if raw == nil || string(raw) == "null" {
		return "", true
	}
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

func shortened(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	end := maxMessage
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// isCode reports whether s is a word that programs can compare.
func isCode(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.') {
			return false
		}
	}
	return s != "" && len(s) <= maxCode
}
