// What the backend says: bodies and events for each endpoint, before framing.

package fakellm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Created is the time in every answer, so that answers are equal byte for byte.
const Created = 1700000000

// asked is what the content depends on.
type asked struct {
	path         string
	Model        string `json:"model"`
	Stream       bool   `json:"stream"`
	IncludeUsage bool   `json:"-"`
	Options      struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

func readAsked(path string, body []byte) asked {
	var a asked
	_ = json.Unmarshal(body, &a) // a body that is no JSON gets the same answer
	a.path, _, _ = strings.Cut(path, "?")
	a.IncludeUsage = a.Options.IncludeUsage
	if a.Model == "" {
		a.Model = "fake-model"
	}
	return a
}

func (a asked) isResponses() bool { return strings.HasSuffix(a.path, "/responses") }

// events returns the SSE events of a stream, each without its blank line.
func (s *Script) events(a asked) []string {
	n := s.Events
	if n <= 0 {
		n = 3
	}
	var list []string
	for i := range n {
		list = append(list, s.event(a, i))
	}
	if a.isResponses() {
		return append([]string{responsesEvent("response.created", 0, `"response":`+responsesObject(a, "in_progress"))},
			append(list, responsesEvent("response.completed", n+1, `"response":`+responsesObject(a, "completed")))...)
	}
	if !s.NoFinish {
		list = append(list, "data: "+s.chunk(a, `{}`, `"stop"`, ""))
	}
	if (a.IncludeUsage || s.Usage) && !s.NoUsage {
		list = append(list, fmt.Sprintf(`data: {"id":%q,"object":%q,"created":%d,"model":%s,"choices":[],"usage":%s}`,
			idFor(a), objectFor(a, true), Created, quote(a.Model), usageObject))
	}
	if !s.NoDone {
		list = append(list, "data: [DONE]")
	}
	if s.After {
		list = append(list, "data: "+s.chunk(a, `{"content":"behind the end"}`, "null", ""))
	}
	return list
}

// event is the i-th content event.
func (s *Script) event(a asked, i int) string {
	text := fmt.Sprintf("w%d ", i+1)
	if s.Big > 0 && i == 1 {
		text = strings.Repeat("x", s.Big)
	}
	if a.isResponses() {
		return responsesEvent("response.output_text.delta", i+1, `"item_id":"msg_fake","output_index":0,"content_index":0,"delta":`+quote(text))
	}
	role := ""
	if i == 0 {
		role = `"role":"assistant",`
	}
	prefix := ""
	if s.ErrorNull {
		prefix = `"error":null,`
	}
	return "data: " + s.chunk(a, `{`+role+`"content":`+quote(text)+`}`, "null", prefix)
}

func (s *Script) chunk(a asked, delta, finish, prefix string) string {
	choice := `"delta":` + delta
	if strings.HasSuffix(a.path, "/completions") && !isChat(a) {
		choice = `"text":` + textOf(delta)
	}
	return fmt.Sprintf(`{%s"id":%q,"object":%q,"created":%d,"model":%s,"choices":[{"index":0,%s,"logprobs":null,"finish_reason":%s}]}`,
		prefix, idFor(a), objectFor(a, true), Created, quote(a.Model), choice, finish)
}

func textOf(delta string) string {
	var d struct {
		Content string `json:"content"`
	}
	_ = json.Unmarshal([]byte(delta), &d) // written above, always valid
	return quote(d.Content)
}

func responsesEvent(kind string, sequence int, rest string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\":%q,\"sequence_number\":%d,%s}", kind, kind, sequence, rest)
}

const usageObject = `{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":2}}`

func isChat(a asked) bool { return strings.HasSuffix(a.path, "/chat/completions") }

func idFor(a asked) string {
	switch {
	case isChat(a):
		return "chatcmpl-fake"
	case a.isResponses():
		return "resp_fake"
	default:
		return "cmpl-fake"
	}
}

func objectFor(a asked, stream bool) string {
	switch {
	case isChat(a) && stream:
		return "chat.completion.chunk"
	case isChat(a):
		return "chat.completion"
	default:
		return "text_completion"
	}
}

// unary returns the JSON body of a good answer.
func unary(a asked) string {
	model := quote(a.Model)
	switch {
	case isChat(a):
		return fmt.Sprintf(`{"id":"chatcmpl-fake","object":"chat.completion","created":%d,"model":%s,"choices":[{"index":0,"message":{"role":"assistant","content":"w1 w2 w3 ","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":%s}`,
			Created, model, usageObject)
	case a.isResponses():
		return responsesObject(a, "completed")
	case strings.HasSuffix(a.path, "/completions"):
		return fmt.Sprintf(`{"id":"cmpl-fake","object":"text_completion","created":%d,"model":%s,"choices":[{"index":0,"text":"w1 w2 w3 ","logprobs":null,"finish_reason":"stop"}],"usage":%s}`,
			Created, model, usageObject)
	case strings.HasSuffix(a.path, "/embeddings"):
		return fmt.Sprintf(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.25,-0.5,1]}],"model":%s,"usage":{"prompt_tokens":7,"total_tokens":7}}`, model)
	case strings.HasSuffix(a.path, "/moderations"):
		return fmt.Sprintf(`{"id":"modr-fake","model":%s,"results":[{"flagged":false,"categories":{},"category_scores":{}}]}`, model)
	case strings.HasSuffix(a.path, "/audio/transcriptions"), strings.HasSuffix(a.path, "/audio/translations"):
		return `{"text":"w1 w2 w3 ","usage":{"type":"duration","seconds":3}}`
	case strings.HasSuffix(a.path, "/models"):
		return fmt.Sprintf(`{"object":"list","data":[{"id":"fake-model","object":"model","created":%d,"owned_by":"fake"}]}`, Created)
	default:
		return `{"object":"fake"}`
	}
}

func responsesObject(a asked, status string) string {
	return fmt.Sprintf(`{"id":"resp_fake","object":"response","created_at":%d,"status":%q,"model":%s,"error":null,"incomplete_details":null,"instructions":null,"metadata":{},"parallel_tool_calls":true,"temperature":1,"tool_choice":"auto","tools":[],"top_p":1,"output":[{"type":"message","id":"msg_fake","status":"completed","role":"assistant","content":[{"type":"output_text","text":"w1 w2 w3 ","annotations":[]}]}],"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":2},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":10}}`,
		Created, status, quote(a.Model))
}

// failure is the body of an answer with an error status.
func failure(status int) string {
	return fmt.Sprintf(`{"error":{"message":"scripted: %s","type":"fake_error","param":null,"code":"fake_%d"}}`,
		http.StatusText(status), status)
}

func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic("BUG: a string always marshals: " + err.Error())
	}
	return string(b)
}
