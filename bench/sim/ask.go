package sim

// What a request asks for: its JSON body, checked and brought to one form for all
// endpoints.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/helixflow/helixflow"
)

// body is the union of the fields read from all endpoints' requests. Unknown ones
// are ignored, as engines do.
type body struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`

	Messages     []message       `json:"messages"`
	Prompt       json.RawMessage `json:"prompt"`
	Input        json.RawMessage `json:"input"`
	Instructions json.RawMessage `json:"instructions"`
	CacheSalt    string          `json:"cache_salt"`

	MaxTokens           *int `json:"max_tokens"`
	MaxCompletionTokens *int `json:"max_completion_tokens"`
	MaxOutputTokens     *int `json:"max_output_tokens"`
	N                   *int `json:"n"`
	IgnoreEOS           bool `json:"ignore_eos"`

	Tools          []tool          `json:"tools"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	ResponseFormat format          `json:"response_format"`
	Text           struct {
		Format format `json:"format"`
	} `json:"text"`

	EncodingFormat string `json:"encoding_format"`
	Dimensions     *int   `json:"dimensions"`
}

// ask is one request in its common form. It is not changed after readAsk.
type ask struct {
	op      helixflow.Op
	model   string
	prompts []prompt // more than one for completions, embeddings and moderations only
	orders  orders
	n       int // choices per prompt
	limit   int // the request's own bound on output tokens, 0 without

	stream, includeUsage bool
	ignoreEOS            bool
	tool                 *tool // the one to call, nil for none
	jsonText             string
	data                 []byte // the body as it came, for Responses to echo
	dimensions           int
	base64               bool
}

const (
	maxChoices    = 128
	maxPrompts    = 2048
	maxDimensions = 8192
	dimensions    = 384 // of an embedding, unless the request says otherwise
)

// readAsk decodes a body for op. The fault says which field is wrong.
func readAsk(op helixflow.Op, defaultModel string, data []byte) (*ask, *fault) {
	var b body
	if f := decode(data, &b); f != nil {
		return nil, f
	}
	if b.Model == "" {
		if op != helixflow.OpModerations {
			return nil, badRequest("model", "you must provide a model parameter")
		}
		b.Model = defaultModel
	}
	a := &ask{
		op: op, model: b.Model, n: 1, stream: b.Stream && op.CanStream(),
		includeUsage: b.StreamOptions.IncludeUsage, ignoreEOS: b.IgnoreEOS, data: data,
	}
	answered, f := a.readPrompts(&b)
	if f != nil {
		return nil, f
	}
	orders, err := parseOrders(a.prompts[len(a.prompts)-1].text)
	if err != nil {
		return nil, badRequest("", err.Error())
	}
	a.orders = orders
	if f := a.readLimits(&b); f != nil {
		return nil, f
	}
	if f := a.readTool(&b, answered); f != nil {
		return nil, f
	}
	a.readFormat(&b)
	return a, nil
}

func decode(data []byte, b *body) *fault {
	err := json.Unmarshal(data, b)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return badRequest(wrong.Field, fmt.Sprintf("invalid type for %q: a %s, at byte %d", wrong.Field, wrong.Value, wrong.Offset))
	}
	if err != nil {
		f := badRequest("", "cannot parse the body as JSON: "+err.Error())
		f.code = "invalid_json"
		return f
	}
	return nil
}

// readPrompts reports too whether the prompt ends in a tool's result.
func (a *ask) readPrompts(b *body) (answered bool, f *fault) {
	root := chain(chain(1, b.Model), b.CacheSalt)
	var err error
	field := "input"
	switch a.op {
	case helixflow.OpChatCompletions:
		field = "messages"
		if len(b.Messages) == 0 {
			return false, badRequest(field, "messages must be a non-empty list")
		}
		a.prompts = make([]prompt, 1)
		a.prompts[0], answered, err = chatPrompt(root, toolText(b.Tools), b.Messages)
	case helixflow.OpResponses:
		a.prompts = make([]prompt, 1)
		a.prompts[0], answered, err = responsesPrompt(root, b)
	case helixflow.OpCompletions:
		field = "prompt"
		a.prompts, err = plainPrompts(root, b.Prompt)
	default:
		a.prompts, err = plainPrompts(root, b.Input)
	}
	if err == nil && len(a.prompts) > maxPrompts {
		err = fmt.Errorf("%d items are more than %d", len(a.prompts), maxPrompts)
	}
	if err != nil {
		return false, badRequest(field, "invalid "+field+": "+err.Error())
	}
	return answered, nil
}

func responsesPrompt(root uint64, b *body) (prompt, bool, error) {
	instructions, err := contentText(b.Instructions)
	if err != nil {
		return prompt{}, false, fmt.Errorf("instructions: %w", err)
	}
	if len(b.Input) == 0 || b.Input[0] == 'n' {
		return prompt{}, false, fmt.Errorf("it is missing")
	}
	var one string
	messages := []message{{Role: "user", Content: b.Input}}
	if json.Unmarshal(b.Input, &one) != nil {
		if err := json.Unmarshal(b.Input, &messages); err != nil || len(messages) == 0 {
			return prompt{}, false, fmt.Errorf("it must be a string or a non-empty list of items")
		}
	}
	return chatPrompt(root, toolText(b.Tools)+instructions, messages)
}

func toolText(tools []tool) string {
	if len(tools) == 0 {
		return ""
	}
	return string(marshal(tools))
}

func (a *ask) readLimits(b *body) *fault {
	for _, l := range []struct {
		name  string
		value *int
		into  *int
		most  int
	}{
		{"max_tokens", b.MaxTokens, &a.limit, 1 << 24},
		{"max_completion_tokens", b.MaxCompletionTokens, &a.limit, 1 << 24},
		{"max_output_tokens", b.MaxOutputTokens, &a.limit, 1 << 24},
		{"n", b.N, &a.n, maxChoices},
		{"dimensions", b.Dimensions, &a.dimensions, maxDimensions},
	} {
		if l.value == nil {
			continue
		}
		if *l.value < 1 || *l.value > l.most {
			return badRequest(l.name, fmt.Sprintf("%s must be from 1 to %d, not %d", l.name, l.most, *l.value))
		}
		*l.into = *l.value
	}
	if a.dimensions == 0 {
		a.dimensions = dimensions
	}
	switch b.EncodingFormat {
	case "", "float":
	case "base64":
		a.base64 = true
	default:
		return badRequest("encoding_format", "encoding_format must be float or base64")
	}
	return nil
}

// orderedFault is the error the prompt ordered, nil if none.
func (a *ask) orderedFault() *fault {
	o := &a.orders
	if o.status == 0 {
		return nil
	}
	f := &fault{status: o.status, kind: "server_error", code: "simulated_error", retryAfter: o.retryAfter}
	switch {
	case o.status == http.StatusTooManyRequests:
		f.kind, f.code = "requests", "rate_limit_exceeded"
	case o.status < http.StatusInternalServerError:
		f.kind = "invalid_request_error"
	}
	f.message = fmt.Sprintf("The prompt ordered status %d.", o.status)
	return f
}
