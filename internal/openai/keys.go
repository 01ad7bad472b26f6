// The keys of a request body that decide something: policy keys. Each may stand
// once, in one spelling, because parsers disagree about the rest.

package openai

import "unicode/utf8"

type keyID uint8

const (
	keyOther keyID = iota
	keyModel
	keyStream
	keyStreamOptions
	keyMaxTokens // in the order of LimitKey
	keyMaxCompletionTokens
	keyMaxOutputTokens
	keyN
	keyUser
	keySafetyIdentifier
	keyPromptCacheKey
	keyPreviousResponseID
	keyServiceTier
	keyStore
	keyConversation
	keyMessages
	keyInput
	keyPrompt
	keyInstructions
	keyTools
	keyType
)

// policyKey returns the key's id when it is a policy key, byte for byte.
func policyKey(key []byte) keyID {
	switch string(key) {
	case "model":
		return keyModel
	case "stream":
		return keyStream
	case "stream_options":
		return keyStreamOptions
	case "max_tokens":
		return keyMaxTokens
	case "max_completion_tokens":
		return keyMaxCompletionTokens
	case "max_output_tokens":
		return keyMaxOutputTokens
	case "n":
		return keyN
	case "user":
		return keyUser
	case "safety_identifier":
		return keySafetyIdentifier
	case "prompt_cache_key":
		return keyPromptCacheKey
	case "previous_response_id":
		return keyPreviousResponseID
	case "service_tier":
		return keyServiceTier
	case "store":
		return keyStore
	case "conversation":
		return keyConversation
	case "messages":
		return keyMessages
	case "input":
		return keyInput
	case "prompt":
		return keyPrompt
	case "instructions":
		return keyInstructions
	case "tools":
		return keyTools
	case "type":
		return keyType
	}
	return keyOther
}

// policyKey is policyKey for what c is: only an event has a type that matters.
func (c *Call) policyKey(key []byte) keyID {
	id := policyKey(key)
	if id == keyType && !c.isEvent {
		return keyOther
	}
	return id
}

// maxKeyBytes is the length of the longest policy key.
const maxKeyBytes = len("max_completion_tokens")

// fold writes key to buf as a parser sees it that ignores case the way
// encoding/json does: ASCII letters, and the two characters beyond ASCII whose
// simple fold is an ASCII letter. It returns nil when no policy key can come of
// it: because key is in lower case throughout, or by its length or characters.
func fold(buf *[maxKeyBytes]byte, key []byte) []byte {
	n, changed := 0, false
	for i := 0; i < len(key); n++ {
		if n == len(buf) {
			return nil
		}
		r, size := rune(key[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(key[i:])
		}
		i += size
		lower := r
		switch {
		case 'A' <= r && r <= 'Z':
			lower += 'a' - 'A'
		case r == '\u017f': // long s
			lower = 's'
		case r == '\u212a': // Kelvin sign
			lower = 'k'
		case r >= utf8.RuneSelf:
			return nil
		}
		changed = changed || lower != r
		buf[n] = byte(lower)
	}
	if !changed {
		return nil
	}
	return buf[:n]
}
