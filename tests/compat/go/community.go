package main

// go-openai, of the community.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sashabaranov/go-openai"
	"github.com/sashabaranov/go-openai/jsonschema"
)

const (
	neverRetries = "it never tries again"
	noSockets    = "it has no websockets"
)

var community = driver{
	module:  "github.com/sashabaranov/go-openai",
	failure: communityFailure,
	lacks: map[string]string{
		"retry": neverRetries, "retry-after": neverRetries, "x-should-retry": neverRetries, "retry-count": neverRetries,
		"post":     "it has no requests of any kind but its own",
		"realtime": noSockets, "respond-socket": noSockets,
		"transcribe-stream": "it reads transcriptions whole",
		"extra":             "its chat requests take no fields but those it knows",
	},
	blind: map[string]string{
		"error.request_id":  "its errors have no headers",
		"error.retry_after": "its errors have no headers",
	},
	verbs: map[string]func(context.Context, *order, *answer) error{
		"chat": communityChat, "stream": communityStream, "parallel": communityParallel,
		"tools": communityTools, "tools-stream": communityToolsStream,
		"structured": communityStructured, "structured-responses": communityStructuredResponses,
		"image": communityImage, "embed": communityEmbed,
		"speak": communitySpeak, "transcribe": communityTranscribe, "translate": communityTranslate,
		"respond": communityRespond, "respond-stream": communityRespondStream,
		"complete": communityComplete, "complete-stream": communityCompleteStream,
		"models": communityModels, "model": communityModel, "moderate": communityModerate,
	},
}

func communityFailure(err error) *failure {
	var e *openai.APIError
	if !errors.As(err, &e) {
		return nil
	}
	f := &failure{Class: "openai.APIError", Status: e.HTTPStatusCode, Type: e.Type, Message: e.Message}
	if e.Code != nil {
		f.Code = fmt.Sprint(e.Code)
	}
	if e.Param != nil {
		f.Param = *e.Param
	}
	return f
}

func (o *order) community() *openai.Client {
	config := openai.DefaultConfig(o.Key)
	config.BaseURL = o.BaseURL
	return openai.NewClientWithConfig(config)
}

func (o *order) request(messages ...openai.ChatCompletionMessage) openai.ChatCompletionRequest {
	if len(messages) == 0 {
		messages = append(messages, openai.ChatCompletionMessage{Role: "user", Content: o.Prompt})
	}
	return openai.ChatCompletionRequest{Model: o.Model, Messages: messages}
}

func communityChat(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateChatCompletion(ctx, o.request())
	if err != nil {
		return err
	}
	a.Text, a.Finish = r.Choices[0].Message.Content, string(r.Choices[0].FinishReason)
	a.Input, a.Output = int64(r.Usage.PromptTokens), int64(r.Usage.CompletionTokens)
	a.RequestID = r.Header().Get("X-Request-Id")
	return nil
}

// receive reads a stream to its end, or until item says that it is enough.
func receive[T any](recv func() (T, error), item func(T) (enough bool)) error {
	for {
		v, err := recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if item(v) {
			return nil
		}
	}
}

func communityStream(ctx context.Context, o *order, a *answer) error {
	q := o.request()
	if o.Usage {
		q.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
	}
	stream, err := o.community().CreateChatCompletionStream(ctx, q)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return receive(stream.Recv, func(chunk openai.ChatCompletionStreamResponse) bool {
		if chunk.Usage != nil {
			a.UsageAt = append(a.UsageAt, a.Items)
			a.Input, a.Output = int64(chunk.Usage.PromptTokens), int64(chunk.Usage.CompletionTokens)
		}
		a.Items++
		if len(chunk.Choices) > 0 {
			a.Text += chunk.Choices[0].Delta.Content
			a.Finish = string(chunk.Choices[0].FinishReason)
		}
		return a.Items == o.LeaveAfter
	})
}

func communityParallel(ctx context.Context, o *order, a *answer) error {
	c := o.community()
	return parallel(o, a, func(prompt string) (string, error) {
		r, err := c.CreateChatCompletion(ctx, o.request(openai.ChatCompletionMessage{Role: "user", Content: prompt}))
		if err != nil {
			return "", err
		}
		return r.Choices[0].Message.Content, nil
	})
}

func (o *order) requestWithTool() openai.ChatCompletionRequest {
	q := o.request()
	q.Tools = []openai.Tool{{Type: openai.ToolTypeFunction, Function: &openai.FunctionDefinition{
		Name: "get_weather", Description: "The weather of a city", Parameters: parameters,
	}}}
	return q
}

func communityTools(ctx context.Context, o *order, a *answer) error {
	c, q := o.community(), o.requestWithTool()
	r, err := c.CreateChatCompletion(ctx, q)
	if err != nil {
		return err
	}
	message := r.Choices[0].Message
	for _, c := range message.ToolCalls {
		a.Calls = append(a.Calls, call{c.ID, c.Function.Name, c.Function.Arguments})
	}
	q.Messages = append(q.Messages, message,
		openai.ChatCompletionMessage{Role: "tool", Content: "sunny", ToolCallID: a.Calls[0].ID})
	if r, err = c.CreateChatCompletion(ctx, q); err != nil {
		return err
	}
	a.Text = r.Choices[0].Message.Content
	return nil
}

func communityToolsStream(ctx context.Context, o *order, a *answer) error {
	q := o.requestWithTool()
	q.ToolChoice = "required"
	stream, err := o.community().CreateChatCompletionStream(ctx, q)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return receive(stream.Recv, func(chunk openai.ChatCompletionStreamResponse) bool {
		for _, piece := range chunk.Choices[0].Delta.ToolCalls {
			for len(a.Calls) <= *piece.Index {
				a.Calls = append(a.Calls, call{})
			}
			c := &a.Calls[*piece.Index]
			c.ID, c.Name, c.Arguments = c.ID+piece.ID, c.Name+piece.Function.Name, c.Arguments+piece.Function.Arguments
		}
		a.Finish = string(chunk.Choices[0].FinishReason)
		return false
	})
}

// person is what the client makes a schema of.
type person struct {
	Name string   `json:"name"`
	Age  int      `json:"age"`
	Tags []string `json:"tags"`
}

// takePerson checks the text against the schema, as the client's helper does.
func (a *answer) takePerson(schema *jsonschema.Definition, text string) error {
	var p person
	if err := schema.Unmarshal(text, &p); err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &a.Parsed)
}

func communityStructured(ctx context.Context, o *order, a *answer) error {
	schema, err := jsonschema.GenerateSchemaForType(person{})
	if err != nil {
		return err
	}
	q := o.request()
	q.ResponseFormat = &openai.ChatCompletionResponseFormat{
		Type:       openai.ChatCompletionResponseFormatTypeJSONSchema,
		JSONSchema: &openai.ChatCompletionResponseFormatJSONSchema{Name: "person", Strict: true, Schema: schema},
	}
	r, err := o.community().CreateChatCompletion(ctx, q)
	if err != nil {
		return err
	}
	return a.takePerson(schema, r.Choices[0].Message.Content)
}

func communityStructuredResponses(ctx context.Context, o *order, a *answer) error {
	schema, err := jsonschema.GenerateSchemaForType(person{})
	if err != nil {
		return err
	}
	r, err := o.community().CreateResponse(ctx, openai.CreateResponseRequest{
		Model: o.Model, Input: o.Prompt,
		Text: &openai.ResponseTextConfig{Format: &openai.ResponseTextFormat{
			Type: "json_schema", Name: "person", Strict: true, Schema: schema,
		}},
	})
	if err != nil {
		return err
	}
	return a.takePerson(schema, r.GetOutputText())
}

func communityImage(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateChatCompletion(ctx, o.request(openai.ChatCompletionMessage{
		Role: "user", MultiContent: []openai.ChatMessagePart{
			{Type: openai.ChatMessagePartTypeText, Text: o.Prompt},
			{Type: openai.ChatMessagePartTypeImageURL, ImageURL: &openai.ChatMessageImageURL{URL: o.Image}},
		},
	}))
	if err != nil {
		return err
	}
	a.Text = r.Choices[0].Message.Content
	return nil
}

func communityEmbed(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateEmbeddings(ctx, openai.EmbeddingRequest{
		Model: openai.EmbeddingModel(o.Model), Input: o.Prompts, Dimensions: o.Dimensions,
		EncodingFormat: openai.EmbeddingEncodingFormat(o.Encoding),
	})
	if err != nil {
		return err
	}
	for _, d := range r.Data {
		vector := make([]float64, len(d.Embedding))
		for i, x := range d.Embedding {
			vector[i] = float64(x)
		}
		a.Vectors = append(a.Vectors, vector)
	}
	a.Input = int64(r.Usage.PromptTokens)
	return nil
}

func communitySpeak(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateSpeech(ctx, openai.CreateSpeechRequest{
		Model: openai.SpeechModel(o.Model), Input: o.Prompt, Voice: openai.VoiceAlloy,
	})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	a.Audio, err = io.ReadAll(r)
	return err
}

func (o *order) audioRequest() openai.AudioRequest {
	return openai.AudioRequest{Model: o.Model, FilePath: "sound.mp3", Reader: bytes.NewReader(o.Audio)}
}

func communityTranscribe(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateTranscription(ctx, o.audioRequest())
	a.Text = r.Text
	return err
}

func communityTranslate(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateTranslation(ctx, o.audioRequest())
	a.Text = r.Text
	return err
}

func (a *answer) takeCommunityResponse(r *openai.CreateResponseResponse) {
	a.Text, a.Finish = r.GetOutputText(), string(r.Status)
	a.Input, a.Output = int64(r.Usage.InputTokens), int64(r.Usage.OutputTokens)
}

func communityRespond(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateResponse(ctx, openai.CreateResponseRequest{Model: o.Model, Input: o.Prompt})
	if err != nil {
		return err
	}
	a.takeCommunityResponse(&r)
	return nil
}

func communityRespondStream(ctx context.Context, o *order, a *answer) error {
	stream, err := o.community().CreateResponseStream(ctx, openai.CreateResponseRequest{Model: o.Model, Input: o.Prompt})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return receive(stream.Recv, func(e openai.ResponseStreamEvent) bool {
		a.Events = append(a.Events, string(e.Type))
		switch e.Type {
		case openai.ResponseStreamEventOutputTextDelta:
			a.Text += e.Delta
		case openai.ResponseStreamEventCompleted:
			a.takeCommunityResponse(e.Response)
		}
		return false
	})
}

func communityComplete(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().CreateCompletion(ctx, openai.CompletionRequest{Model: o.Model, Prompt: o.Prompt, MaxTokens: o.MaxTokens})
	if err != nil {
		return err
	}
	a.Text, a.Finish, a.Output = r.Choices[0].Text, r.Choices[0].FinishReason, int64(r.Usage.CompletionTokens)
	return nil
}

func communityCompleteStream(ctx context.Context, o *order, a *answer) error {
	stream, err := o.community().CreateCompletionStream(ctx, openai.CompletionRequest{Model: o.Model, Prompt: o.Prompt})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return receive(stream.Recv, func(chunk openai.CompletionResponse) bool {
		if chunk.Usage != nil {
			a.UsageAt = append(a.UsageAt, a.Items)
		}
		a.Items++
		a.Text += chunk.Choices[0].Text
		a.Finish = chunk.Choices[0].FinishReason
		return false
	})
}

func communityModels(ctx context.Context, o *order, a *answer) error {
	r, err := o.community().ListModels(ctx)
	if err != nil {
		return err
	}
	for _, m := range r.Models {
		a.IDs = append(a.IDs, m.ID)
	}
	return nil
}

func communityModel(ctx context.Context, o *order, a *answer) error {
	m, err := o.community().GetModel(ctx, o.Model)
	if err != nil {
		return err
	}
	a.IDs = []string{m.ID}
	return nil
}

// communityModerate asks once for each input: a request takes one.
func communityModerate(ctx context.Context, o *order, a *answer) error {
	for _, prompt := range o.Prompts {
		r, err := o.community().Moderations(ctx, openai.ModerationRequest{Model: o.Model, Input: prompt})
		if err != nil {
			return err
		}
		a.Flagged = append(a.Flagged, r.Results[0].Flagged)
	}
	return nil
}
