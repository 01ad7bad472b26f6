package main

// openai-go.

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/realtime"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

var official = driver{
	module:  "github.com/openai/openai-go/v3",
	failure: officialFailure,
	verbs: map[string]func(context.Context, *order, *answer) error{
		"chat": officialChat, "stream": officialStream, "parallel": officialParallel,
		"tools": officialTools, "tools-stream": officialToolsStream,
		"structured": officialStructured, "structured-responses": officialStructuredResponses,
		"image": officialImage, "embed": officialEmbed,
		"speak": officialSpeak, "transcribe": officialTranscribe,
		"transcribe-stream": officialTranscribeStream, "translate": officialTranslate,
		"respond": officialRespond, "respond-stream": officialRespondStream,
		"respond-socket": officialRespondSocket, "realtime": officialRealtime,
		"complete": officialComplete, "complete-stream": officialCompleteStream,
		"models": officialModels, "model": officialModel, "moderate": officialModerate, "post": officialPost,
		"known": officialKnown,
	},
}

func officialFailure(err error) *failure {
	var e *openai.Error
	var s *ssestream.StreamError
	switch {
	case errors.As(err, &e):
		return &failure{
			Class: "openai.Error", Status: e.StatusCode, Code: e.Code, Type: e.Type, Param: e.Param, Message: e.Message,
			RequestID: e.Response.Header.Get("X-Request-Id"), RetryAfter: e.Response.Header.Get("Retry-After"),
		}
	case errors.As(err, &s):
		var event struct{ Error struct{ Code string } }
		_ = json.Unmarshal(s.Event.Data, &event) // one without a code has none
		return &failure{Class: "ssestream.StreamError", Code: event.Error.Code, Message: s.Message}
	}
	return nil
}

func (o *order) official() openai.Client {
	options := []option.RequestOption{option.WithBaseURL(o.BaseURL), option.WithAPIKey(o.Key), option.WithMaxRetries(o.Retries)}
	for name, value := range o.Extra {
		options = append(options, option.WithJSONSet(name, value))
	}
	return openai.NewClient(options...)
}

func (o *order) question(messages ...openai.ChatCompletionMessageParamUnion) openai.ChatCompletionNewParams {
	if len(messages) == 0 {
		messages = append(messages, openai.UserMessage(o.Prompt))
	}
	return openai.ChatCompletionNewParams{Model: o.Model, Messages: messages}
}

func officialChat(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	var head *http.Response
	r, err := c.Chat.Completions.New(ctx, o.question(), option.WithResponseInto(&head))
	if err != nil {
		return err
	}
	a.Text, a.Finish = r.Choices[0].Message.Content, r.Choices[0].FinishReason
	a.Input, a.Output = r.Usage.PromptTokens, r.Usage.CompletionTokens
	a.RequestID = head.Header.Get("X-Request-Id")
	return nil
}

func officialStream(ctx context.Context, o *order, a *answer) error {
	c, q := o.official(), o.question()
	if o.Usage {
		q.StreamOptions.IncludeUsage = openai.Bool(true)
	}
	stream := c.Chat.Completions.NewStreaming(ctx, q)
	defer func() { _ = stream.Close() }()
	for stream.Next() {
		chunk := stream.Current()
		if chunk.JSON.Usage.Valid() {
			a.UsageAt = append(a.UsageAt, a.Items)
			a.Input, a.Output = chunk.Usage.PromptTokens, chunk.Usage.CompletionTokens
		}
		a.Items++
		if len(chunk.Choices) > 0 {
			a.Text += chunk.Choices[0].Delta.Content
			a.Finish = chunk.Choices[0].FinishReason
		}
		if a.Items == o.LeaveAfter {
			return nil
		}
	}
	return stream.Err()
}

func officialParallel(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	return parallel(o, a, func(prompt string) (string, error) {
		r, err := c.Chat.Completions.New(ctx, o.question(openai.UserMessage(prompt)))
		if err != nil {
			return "", err
		}
		return r.Choices[0].Message.Content, nil
	})
}

func (o *order) questionWithTool() openai.ChatCompletionNewParams {
	q := o.question()
	q.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
		Name: "get_weather", Description: openai.String("The weather of a city"), Parameters: parameters,
	})}
	return q
}

func officialCalls(m *openai.ChatCompletionMessage) (calls []call) {
	for _, c := range m.ToolCalls {
		calls = append(calls, call{c.ID, c.Function.Name, c.Function.Arguments})
	}
	return calls
}

func officialTools(ctx context.Context, o *order, a *answer) error {
	c, q := o.official(), o.questionWithTool()
	r, err := c.Chat.Completions.New(ctx, q)
	if err != nil {
		return err
	}
	message := &r.Choices[0].Message
	a.Calls = officialCalls(message)
	q.Messages = append(q.Messages, message.ToParam(), openai.ToolMessage("sunny", a.Calls[0].ID))
	if r, err = c.Chat.Completions.New(ctx, q); err != nil {
		return err
	}
	a.Text = r.Choices[0].Message.Content
	return nil
}

func officialToolsStream(ctx context.Context, o *order, a *answer) error {
	c, q := o.official(), o.questionWithTool()
	q.ToolChoice.OfAuto = openai.String("required")
	stream := c.Chat.Completions.NewStreaming(ctx, q)
	defer func() { _ = stream.Close() }()
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		if !whole.AddChunk(stream.Current()) {
			return errors.New("the chunks are not of one answer")
		}
	}
	if stream.Err() != nil {
		return stream.Err()
	}
	a.Calls, a.Finish = officialCalls(&whole.Choices[0].Message), whole.Choices[0].FinishReason
	return nil
}

func officialStructured(ctx context.Context, o *order, a *answer) error {
	c, q := o.official(), o.question()
	q.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "person", Strict: openai.Bool(true), Schema: personSchema},
	}
	r, err := c.Chat.Completions.New(ctx, q)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(r.Choices[0].Message.Content), &a.Parsed)
}

func officialStructuredResponses(ctx context.Context, o *order, a *answer) error {
	c, q := o.official(), o.response()
	q.Text.Format = responses.ResponseFormatTextConfigParamOfJSONSchema("person", personSchema)
	r, err := c.Responses.New(ctx, q)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(r.OutputText()), &a.Parsed)
}

func officialImage(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Chat.Completions.New(ctx, o.question(openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
		openai.TextContentPart(o.Prompt),
		openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: o.Image}),
	})))
	if err != nil {
		return err
	}
	a.Text = r.Choices[0].Message.Content
	return nil
}

func officialEmbed(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	q := openai.EmbeddingNewParams{
		Model: o.Model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: o.Prompts},
		EncodingFormat: openai.EmbeddingNewParamsEncodingFormat(o.Encoding),
	}
	if o.Dimensions > 0 {
		q.Dimensions = openai.Int(int64(o.Dimensions))
	}
	if o.Encoding == "base64" {
		// The client has no type for it: the caller decodes.
		var packed struct{ Data []struct{ Embedding string } }
		if _, err := c.Embeddings.New(ctx, q, option.WithResponseBodyInto(&packed)); err != nil {
			return err
		}
		for _, d := range packed.Data {
			a.Vectors = append(a.Vectors, unpack(d.Embedding))
		}
		return nil
	}
	r, err := c.Embeddings.New(ctx, q)
	if err != nil {
		return err
	}
	for _, d := range r.Data {
		a.Vectors = append(a.Vectors, d.Embedding)
	}
	a.Input = r.Usage.PromptTokens
	return nil
}

func unpack(packed string) (vector []float64) {
	data, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return nil
	}
	for len(data) >= 4 {
		vector = append(vector, float64(math.Float32frombits(binary.LittleEndian.Uint32(data))))
		data = data[4:]
	}
	return vector
}

func officialSpeak(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Audio.Speech.New(ctx, openai.AudioSpeechNewParams{
		Model: o.Model, Input: o.Prompt,
		Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")},
	})
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	a.Audio, err = io.ReadAll(r.Body)
	return err
}

func (o *order) file() io.Reader {
	return openai.File(bytes.NewReader(o.Audio), "sound.mp3", "audio/mpeg")
}

func officialTranscribe(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Audio.Transcriptions.New(ctx, openai.AudioTranscriptionNewParams{Model: o.Model, File: o.file()})
	if err != nil {
		return err
	}
	a.Text = r.Text
	return nil
}

func officialTranscribeStream(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	stream := c.Audio.Transcriptions.NewStreaming(ctx, openai.AudioTranscriptionNewParams{Model: o.Model, File: o.file()})
	defer func() { _ = stream.Close() }()
	for stream.Next() {
		e := stream.Current()
		a.Events = append(a.Events, e.Type)
		if e.Type == "transcript.text.delta" {
			a.Text += e.Delta
		}
	}
	return stream.Err()
}

func officialTranslate(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Audio.Translations.New(ctx, openai.AudioTranslationNewParams{Model: o.Model, File: o.file()})
	if err != nil {
		return err
	}
	a.Text = r.Text
	return nil
}

func (o *order) response() responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: o.Model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(o.Prompt)},
	}
}

func (a *answer) takeResponse(r *responses.Response) {
	a.Text, a.Finish = r.OutputText(), string(r.Status)
	a.Input, a.Output = r.Usage.InputTokens, r.Usage.OutputTokens
}

func officialRespond(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Responses.New(ctx, o.response())
	if err != nil {
		return err
	}
	a.takeResponse(r)
	return nil
}

func officialRespondStream(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	stream := c.Responses.NewStreaming(ctx, o.response())
	defer func() { _ = stream.Close() }()
	for stream.Next() {
		e := stream.Current()
		a.Events = append(a.Events, e.Type)
		switch e.Type {
		case "response.output_text.delta":
			a.Text += e.Delta
		case "response.completed":
			a.takeResponse(&e.Response)
		}
	}
	return stream.Err()
}

func officialRespondSocket(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	connection, err := c.Responses.Connect(ctx, responses.ResponseConnectionOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	var event responses.ResponsesClientEventResponseCreateParam
	event.Model = o.Model
	event.Input.OfString = openai.String(o.Prompt)
	if err := connection.Create(ctx, event); err != nil {
		return err
	}
	r, err := connection.FinalResponse(ctx)
	if err != nil {
		return err
	}
	a.takeResponse(r)
	return nil
}

func officialRealtime(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	connection, err := c.Realtime.Connect(ctx, realtime.RealtimeConnectionOptions{}, option.WithQuery("model", o.Model))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	ask := realtime.ResponseCreateEventParam{Response: realtime.RealtimeResponseCreateParams{Instructions: openai.String(o.Prompt)}}
	if err := connection.Send(ctx, realtime.RealtimeClientEventUnionParam{OfResponseCreate: &ask}); err != nil {
		return err
	}
	for {
		e, err := connection.Recv(ctx)
		if err != nil {
			return err
		}
		a.Events = append(a.Events, e.Type)
		switch e.Type {
		case "response.output_text.delta":
			a.Text += e.AsResponseTextDeltaEvent().Delta
		case "response.done":
			return nil
		}
	}
}

func (o *order) completion() openai.CompletionNewParams {
	q := openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(o.Model), Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String(o.Prompt)},
	}
	if o.MaxTokens > 0 {
		q.MaxTokens = openai.Int(int64(o.MaxTokens))
	}
	return q
}

func officialComplete(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Completions.New(ctx, o.completion())
	if err != nil {
		return err
	}
	a.Text, a.Finish, a.Output = r.Choices[0].Text, string(r.Choices[0].FinishReason), r.Usage.CompletionTokens
	return nil
}

func officialCompleteStream(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	stream := c.Completions.NewStreaming(ctx, o.completion())
	defer func() { _ = stream.Close() }()
	for stream.Next() {
		chunk := stream.Current()
		if chunk.JSON.Usage.Valid() {
			a.UsageAt = append(a.UsageAt, a.Items)
		}
		a.Items++
		a.Text += chunk.Choices[0].Text
		a.Finish = string(chunk.Choices[0].FinishReason)
	}
	return stream.Err()
}

func officialModels(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Models.List(ctx)
	if err != nil {
		return err
	}
	for _, m := range r.Data {
		a.IDs = append(a.IDs, m.ID)
	}
	return nil
}

func officialModel(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	m, err := c.Models.Get(ctx, o.Model)
	if err != nil {
		return err
	}
	a.IDs = []string{m.ID}
	return nil
}

func officialModerate(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	r, err := c.Moderations.New(ctx, openai.ModerationNewParams{
		Model: o.Model, Input: openai.ModerationNewParamsInputUnion{OfStringArray: o.Prompts},
	})
	if err != nil {
		return err
	}
	for _, result := range r.Results {
		a.Flagged = append(a.Flagged, result.Flagged)
	}
	return nil
}

func officialPost(ctx context.Context, o *order, _ *answer) error {
	c := o.official()
	return c.Post(ctx, o.Prompt, map[string]string{}, nil)
}
