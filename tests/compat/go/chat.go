package main

// Chat completions: unary and streamed, usage, tools, structured output, sizes.

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

var chatChecks = []check{
	{"chat", chat},
	{"chat-unicode", chatUnicode},
	{"chat-large", chatLarge},
	{"chat-stream", chatStream},
	{"stream-usage", streamUsage},
	{"stream-without-usage", streamWithoutUsage},
	{"tools", tools},
	{"tools-stream", toolsStream},
	{"structured", structured},
	{"parallel", parallel},
}

func chat(ctx context.Context, w *world) string {
	r := must(w.ask(ctx, "sim:tokens=12; hello"))
	equal("object", string(r.Object), "chat.completion")
	equal("role", string(r.Choices[0].Message.Role), "assistant")
	want(r.Choices[0].Message.Content != "", "there is content")
	equal("finish_reason", r.Choices[0].FinishReason, "stop")
	equal("completion tokens", r.Usage.CompletionTokens, 12)
	equal("total tokens", r.Usage.TotalTokens, r.Usage.PromptTokens+12)
	return ""
}

func chatUnicode(ctx context.Context, w *world) string {
	content := "\"quotes\" \\ \n\t日本語 🦊👩‍👩‍👧 \u2028 ñ \x7f <&>"
	r := must(w.ask(ctx, content, fakeModel()))
	equal("content", r.Choices[0].Message.Content, "w1 w2 w3 ")
	requests := w.fakeRequests()
	var got struct{ Messages []struct{ Content string } }
	want(json.Unmarshal([]byte(requests[len(requests)-1].Body), &got) == nil, "the backend got JSON")
	equal("what the backend got", got.Messages[0].Content, content)
	return ""
}

func chatLarge(ctx context.Context, w *world) string {
	r := must(w.ask(ctx, "sim:tokens=3; "+strings.Repeat("lorem ipsum ", 200*1024/12)))
	want(r.Usage.PromptTokens > 10_000, "%d prompt tokens are more than 10000", r.Usage.PromptTokens)
	equal("completion tokens", r.Usage.CompletionTokens, 3)
	return ""
}

func text(chunks []openai.ChatCompletionChunk) string {
	var b strings.Builder
	for _, c := range chunks {
		if len(c.Choices) > 0 {
			b.WriteString(c.Choices[0].Delta.Content)
		}
	}
	return b.String()
}

func chatStream(ctx context.Context, w *world) string {
	q := question("sim:tokens=20; stream")
	whole := must(w.Chat.Completions.New(ctx, q))
	chunks := must(collect(w.Chat.Completions.NewStreaming(ctx, q)))
	want(text(chunks) != "", "there is content")
	equal("content", text(chunks), whole.Choices[0].Message.Content)
	equal("role", chunks[0].Choices[0].Delta.Role, "assistant")
	equal("finish_reason", chunks[len(chunks)-1].Choices[0].FinishReason, "stop")
	want(len(chunks) >= 20, "%d chunks are 20 or more", len(chunks))
	var acc openai.ChatCompletionAccumulator
	for _, c := range chunks {
		want(acc.AddChunk(c), "the chunks are of one answer")
	}
	equal("assembled content", acc.Choices[0].Message.Content, whole.Choices[0].Message.Content)
	return ""
}

func streamUsage(ctx context.Context, w *world) string {
	q := question("sim:tokens=5; hi")
	q.StreamOptions.IncludeUsage = openai.Bool(true)
	chunks := must(collect(w.Chat.Completions.NewStreaming(ctx, q)))
	last := chunks[len(chunks)-1]
	equal("choices of the last chunk", len(last.Choices), 0)
	equal("completion tokens", last.Usage.CompletionTokens, 5)
	for _, c := range chunks[:len(chunks)-1] {
		want(!c.JSON.Usage.Valid(), "no usage before the last chunk: %s", c.RawJSON())
	}
	return ""
}

func streamWithoutUsage(ctx context.Context, w *world) string {
	chunks := must(collect(w.Chat.Completions.NewStreaming(ctx, question("sim:tokens=5; hi"))))
	for _, c := range chunks {
		want(len(c.Choices) == 1 && !c.JSON.Usage.Valid(), "no usage, which nobody asked for: %s", c.RawJSON())
	}
	equal("finish_reason", chunks[len(chunks)-1].Choices[0].FinishReason, "stop")
	return ""
}

var weather = openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
	Name: "get_weather", Description: openai.String("The weather of a city"),
	Parameters: shared.FunctionParameters{
		"type":       "object",
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer"}},
		"required":   []string{"city", "days"},
	},
})

func checkCall(name, arguments string) {
	equal("tool", name, "get_weather")
	var a struct {
		City *string
		Days *int
	}
	err := json.Unmarshal([]byte(arguments), &a)
	want(err == nil && a.City != nil && a.Days != nil, "arguments %q fit the schema", arguments)
}

func tools(ctx context.Context, w *world) string {
	q := question("sim:tool=get_weather; Paris?")
	q.Tools = []openai.ChatCompletionToolUnionParam{weather}
	r := must(w.Chat.Completions.New(ctx, q))
	equal("finish_reason", r.Choices[0].FinishReason, "tool_calls")
	call := r.Choices[0].Message.ToolCalls[0]
	checkCall(call.Function.Name, call.Function.Arguments)
	q.Messages = append(q.Messages, r.Choices[0].Message.ToParam(), openai.ToolMessage("sunny", call.ID))
	again := must(w.Chat.Completions.New(ctx, q))
	want(again.Choices[0].Message.Content != "", "there is content after the tool's result")
	return ""
}

func toolsStream(ctx context.Context, w *world) string {
	q := question("hi")
	q.Tools = []openai.ChatCompletionToolUnionParam{weather}
	q.ToolChoice.OfAuto = openai.String("required")
	var acc openai.ChatCompletionAccumulator
	for _, c := range must(collect(w.Chat.Completions.NewStreaming(ctx, q))) {
		want(acc.AddChunk(c), "the chunks are of one answer")
	}
	equal("finish_reason", acc.Choices[0].FinishReason, "tool_calls")
	call := acc.Choices[0].Message.ToolCalls[0]
	checkCall(call.Function.Name, call.Function.Arguments)
	return ""
}

func structured(ctx context.Context, w *world) string {
	q := question("who?")
	schema := map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"name", "age", "tags"},
		"properties": map[string]any{
			"name": map[string]any{"type": "string"}, "age": map[string]any{"type": "integer"},
			"tags": map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
		},
	}
	q.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "person", Strict: openai.Bool(true), Schema: schema},
	}
	r := must(w.Chat.Completions.New(ctx, q))
	var p struct {
		Name *string
		Age  *int
		Tags *[]string
	}
	err := json.Unmarshal([]byte(r.Choices[0].Message.Content), &p)
	want(err == nil && p.Name != nil && p.Age != nil && p.Tags != nil, "%q fits the schema", r.Choices[0].Message.Content)
	return ""
}

func parallel(ctx context.Context, w *world) string {
	var all sync.WaitGroup
	var problems [20]string
	for i := range problems {
		all.Go(func() {
			r, err := w.ask(ctx, fmt.Sprintf("sim:tokens=%d,ttft=50ms; number %d", i+1, i), option.WithMaxRetries(0))
			if err != nil {
				problems[i] = err.Error()
			} else if r.Usage.CompletionTokens != int64(i+1) {
				problems[i] = fmt.Sprintf("%d tokens in answer %d", r.Usage.CompletionTokens, i)
			}
		})
	}
	all.Wait()
	equal("problems", strings.Join(problems[:], ""), "")
	return ""
}
