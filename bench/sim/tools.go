package sim

// Tools and response formats of a request: which tool is called, and what JSON
// the answer must be.

import (
	"encoding/json"
	"fmt"

	"github.com/helixflow/helixflow"
)

// tool is a function tool: chat nests it, Responses does not.
type tool struct {
	Type       string          `json:"type"`
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	Function   struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

func (t *tool) name() string {
	if t.Function.Name != "" {
		return t.Function.Name
	}
	return t.Name
}

func (t *tool) parameters() json.RawMessage {
	if t.Function.Name != "" {
		return t.Function.Parameters
	}
	return t.Parameters
}

// format is a response format: chat nests the schema, Responses does not.
type format struct {
	Type       string          `json:"type"`
	Schema     json.RawMessage `json:"schema"`
	JSONSchema struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

// readTool finds the tool to call: one that tool_choice forces, or else the one
// ordered, as long as its result is not there yet.
func (a *ask) readTool(b *body, answered bool) *fault {
	var mode string
	var named tool
	if len(b.ToolChoice) > 0 && json.Unmarshal(b.ToolChoice, &mode) != nil && json.Unmarshal(b.ToolChoice, &named) != nil {
		return badRequest("tool_choice", "tool_choice must be a string or an object")
	}
	want, param := named.name(), "tool_choice"
	switch {
	case mode == "none":
		return nil
	case mode == "required" && len(b.Tools) == 0:
		return badRequest("tool_choice", "tool_choice is required, but there are no tools")
	case a.orders.tool != "" && want == "" && !answered:
		want, param = a.orders.tool, "tools"
	case mode == "required" && want == "":
		want = b.Tools[0].name()
	}
	if want == "" {
		return nil
	}
	for i := range b.Tools {
		if b.Tools[i].name() == want {
			a.tool = &b.Tools[i]
			return nil
		}
	}
	return badRequest(param, fmt.Sprintf("cannot call tool %q: the request has no tool of that name", want))
}

func (a *ask) readFormat(b *body) {
	f := b.ResponseFormat
	if a.op == helixflow.OpResponses {
		f = b.Text.Format
		f.JSONSchema.Schema = f.Schema
	}
	switch f.Type {
	case "json_object":
		a.jsonText = `{"answer":"example"}`
	case "json_schema":
		a.jsonText = sample(f.JSONSchema.Schema)
	}
}
