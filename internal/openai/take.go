// The values of policy keys: what they may be, and what Call keeps of them.

package openai

import (
	"unicode"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
)

// take checks the value v of the policy key id and keeps what Call holds of it.
func (c *Call) take(id keyID, body []byte, v Span) error {
	first := body[v.Start]
	null := first == 'n'
	switch id {
	case keyModel:
		return c.takeModel(body, v)
	case keyStream:
		c.StreamValue = v
		c.Stream = first == 't'
		return want(null || first == 't' || first == 'f', "stream", "true or false", v)
	case keyStreamOptions:
		return c.takeStreamOptions(body, v)
	case keyMaxTokens, keyMaxCompletionTokens, keyMaxOutputTokens:
		return c.takeLimit(LimitKey(id-keyMaxTokens), body, v)
	case keyN:
		if null {
			return nil
		}
		n, ok := integer(v.In(body))
		c.N = n
		return want(ok && 1 <= n && n <= maxChoices, "n", "an integer from 1 to 1024", v)
	case keyUser:
		return takeString(&c.User, "user", first, v)
	case keySafetyIdentifier:
		return takeString(&c.SafetyIdentifier, "safety_identifier", first, v)
	case keyPromptCacheKey:
		return takeString(&c.PromptCacheKey, "prompt_cache_key", first, v)
	case keyPreviousResponseID:
		return takeString(&c.PreviousResponseID, "previous_response_id", first, v)
	case keyType:
		return takeString(&c.Type, "type", first, v)
	case keyStore:
		c.NoStore, c.Stores = first == 'f', first != 'f' && first != 'n'
		return nil // whatever else it is, a backend that reads it stores
	case keyServiceTier:
		return takeString(&c.ServiceTier, "service_tier", first, v)
	}
	return c.takeRaw(id, first, v)
}

// maxChoices is the largest n.
const maxChoices = 1024

// takeRaw keeps a value whole, after a look at its first byte.
func (c *Call) takeRaw(id keyID, first byte, v Span) error {
	str, arr, obj := first == '"', first == '[', first == '{'
	ok, to, name, kind := false, (*Span)(nil), "", ""
	switch id {
	case keyConversation:
		ok, to, name, kind = str || obj, &c.Conversation, "conversation", "a string or an object"
	case keyMessages:
		ok, to, name, kind = arr, &c.Messages, "messages", "an array"
	case keyInput:
		ok, to, name, kind = str || arr, &c.Input, "input", "a string or an array"
	case keyPrompt:
		ok, to, name, kind = str || arr, &c.Prompt, "prompt", "a string or an array"
		if c.Op == helixflow.OpResponses { // a reference to a stored prompt
			ok, kind = str || obj, "an object"
		}
	case keyInstructions:
		ok, to, name, kind = str || arr || obj, &c.Instructions, "instructions", "a string, an array or an object"
	case keyTools:
		ok, to, name, kind = arr, &c.Tools, "tools", "an array"
	}
	if first == 'n' {
		return nil
	}
	*to = v
	return want(ok, name, kind, v)
}

// note keeps the value of a key that is no policy key and yet part of the prompt.
func (c *Call) note(key, body []byte, v Span) {
	var to *Span
	switch string(key) {
	case "system":
		to = &c.System
	case "functions":
		to = &c.Functions
	case "cache_salt":
		to = &c.CacheSalt
	default:
		return
	}
	*to = v
	if body[v.Start] == 'n' {
		*to = Span{}
	}
}

// takeString keeps the content of a string.
func takeString(to *Span, name string, first byte, v Span) error {
	if first == '"' {
		*to = Span{v.Start + 1, v.End - 1}
	}
	return want(first == '"' || first == 'n', name, "a string", v)
}

// takeLimit keeps a token limit, and MaxTokens when it is the smallest so far.
func (c *Call) takeLimit(key LimitKey, body []byte, v Span) error {
	c.LimitValues[key] = v
	if body[v.Start] == 'n' {
		return nil
	}
	n, ok := integer(v.In(body))
	if ok && (c.MaxTokens < 0 || n < c.MaxTokens) {
		c.MaxTokens, c.MaxTokensValue = n, v
	}
	return want(ok, limitNames[key], "an integer, 0 or more", v)
}

var limitNames = [NumLimitKeys]string{"max_tokens", "max_completion_tokens", "max_output_tokens"}

// integer reads a number that is written in digits only, up to 2^53, above which
// parsers disagree.
func integer(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' || n > (1<<53)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, n <= 1<<53
}

// takeStreamOptions looks for include_usage in an object already known to be
// sound.
func (c *Call) takeStreamOptions(body []byte, v Span) error {
	c.StreamOptions = v
	c.optionsNull = body[v.Start] == 'n'
	if c.optionsNull {
		return nil
	}
	if body[v.Start] != '{' {
		return want(false, "stream_options", "an object", v)
	}
	i := skipSpace(body, int(v.Start)+1)
	c.optionsEmpty = body[i] == '}'
	for body[i] != '}' {
		keyAt := skipSpace(body, i) + 1
		end := skipText(body, keyAt)
		if body[end] != '"' {
			return escapedKey(keyAt, "stream_options")
		}
		at, _ := skipKey(body, i)
		start := skipSpace(body, at)
		i, _ = skipValue(body, start)
		if err := c.takeOption(body, keyAt, end, Span{int32(start), int32(i)}); err != nil {
			return err
		}
		if i = skipSpace(body, i); body[i] == ',' {
			i++
		}
	}
	return nil
}

// takeOption checks the member of stream_options whose key lies from keyAt to
// keyEnd and whose value is v.
func (c *Call) takeOption(body []byte, keyAt, keyEnd int, v Span) error {
	const name, path = "include_usage", "stream_options.include_usage"
	if key := body[keyAt:keyEnd]; string(key) != name {
		var buf [maxKeyBytes]byte
		if string(fold(&buf, key)) == name {
			return otherSpelling(path, keyAt)
		}
		return nil
	}
	if c.IncludeUsageValue.Present() {
		return duplicateKey([]byte(path), keyAt)
	}
	c.IncludeUsageValue = v
	first := body[v.Start]
	c.IncludeUsage = first == 't'
	return want(first == 't' || first == 'f' || first == 'n', path, "true or false", v)
}

// takeModel keeps the model's name and decodes it if it has escapes.
func (c *Call) takeModel(body []byte, v Span) error {
	if body[v.Start] != '"' {
		return want(false, "model", "a string", v)
	}
	c.Model = Span{v.Start + 1, v.End - 1}
	name := c.Model.In(body)
	if skipText(body, int(c.Model.Start)) < int(c.Model.End) {
		decoded, ok := unescape(c.decoded[:0:maxModelBytes], name)
		c.decodedLen = len(decoded)
		if !ok {
			return badModel(v)
		}
		name = decoded
	}
	if !ValidModel(name) {
		return badModel(v)
	}
	return nil
}

// ValidModel reports whether a name can be a model's: 1 to 256 bytes of UTF-8
// without control characters.
func ValidModel(name []byte) bool {
	return 0 < len(name) && len(name) <= maxModelBytes && printable(name)
}

// printable reports whether b is UTF-8 without control characters.
func printable(b []byte) bool {
	for i := 0; i < len(b); {
		r, size := rune(b[i]), 1
		if r >= utf8.RuneSelf {
			if r, size = utf8.DecodeRune(b[i:]); size == 1 {
				return false
			}
		}
		if unicode.IsControl(r) {
			return false
		}
		i += size
	}
	return true
}
