// Call and Span: what one scan found in a request body, as places in it.

package openai

import "github.com/helixflow/helixflow"

// Span is a half-open range of bytes in a body. The zero Span is absent; no value
// of a JSON object can lie there.
type Span struct{ Start, End int32 }

// Present reports whether the Span stands for something, which may be empty: the
// content of "" is present and has length 0.
func (s Span) Present() bool { return s.End > 0 }

// Len returns the number of bytes.
func (s Span) Len() int { return int(s.End - s.Start) }

// In returns the Span's bytes in body, nil when it is absent. The result is a part
// of body, clipped so that appending to it cannot write into body.
func (s Span) In(body []byte) []byte {
	if !s.Present() {
		return nil
	}
	return body[s.Start:s.End:s.End]
}

// maxModelBytes is the longest model name, decoded.
const maxModelBytes = 256

// Call is what one Scan found in a request body: values, and places in that body,
// so it means nothing without it and dies with it. The zero value is ready for
// Scan; one Call may be used again and again. A key whose value is null counts as
// absent, but where a Span says otherwise.
type Call struct {
	Op    helixflow.Op
	Model Span // the string's content without quotes, as sent; see ModelName

	Stream            bool // "stream": true
	NoStore           bool // "store": false
	Stores            bool // "store" is there, and neither false nor null
	IncludeUsage      bool // stream_options.include_usage is true
	StreamValue       Span // the value of "stream", null included
	StreamOptions     Span // the value of "stream_options", null included
	IncludeUsageValue Span // the value of stream_options.include_usage, null included

	// MaxTokens is the smallest of max_tokens, max_completion_tokens and
	// max_output_tokens, -1 when none is given; MaxTokensValue is its place.
	// LimitValues are the places of all three, null included, by LimitKey.
	MaxTokens      int64
	MaxTokensValue Span
	LimitValues    [NumLimitKeys]Span
	N              int64 // "n"; 1 when absent

	// The contents of strings, without quotes, as sent.
	User, SafetyIdentifier, PromptCacheKey, PreviousResponseID, ServiceTier Span

	Type Span // the content of "type", of a websocket's event only

	// Whole values, as raw JSON.
	Conversation                                 Span // a string or an object
	Messages, Input, Prompt, Instructions, Tools Span

	// What else models read, as raw JSON of any type: no policy keys, so of several
	// the last one counts, as it does for parsers.
	System, Functions, CacheSalt Span

	Close   int32 // offset of the root object's closing brace
	Members int32 // number of members of the root object

	isEvent      bool // scanned by ScanEvent
	optionsNull  bool // stream_options is null
	optionsEmpty bool // stream_options is an object without members
	decodedLen   int  // length of the model's name in decoded; 0: it has no escapes
	decoded      [maxModelBytes]byte
}

// PromptParts are the places of all that the model reads, absent ones included, in
// the order in which chat templates lay it out: what a prefix cache is about.
func (c *Call) PromptParts() [7]Span {
	return [...]Span{c.Tools, c.Functions, c.System, c.Instructions, c.Messages, c.Input, c.Prompt}
}

// LimitKey names one of the three keys that limit the tokens to generate.
type LimitKey uint8

// The limit keys.
const (
	LimitMaxTokens LimitKey = iota
	LimitMaxCompletionTokens
	LimitMaxOutputTokens
	NumLimitKeys // how many there are, for tables indexed by LimitKey
)

// ModelName returns the model's name with its escapes decoded, nil when no model
// is named. It is borrowed from body or c: valid until either changes.
func (c *Call) ModelName(body []byte) []byte {
	if c.decodedLen > 0 {
		return c.decoded[:c.decodedLen:c.decodedLen]
	}
	return c.Model.In(body)
}
