package main

// What openai-go makes of answers that the router may know: ../known_test.go.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
)

// seen is one answer.
type seen struct {
	Cache   string `json:"cache"`
	Age     string `json:"age"`
	Items   []any  `json:"items"`
	Meaning any    `json:"meaning"`
}

// meaning is what an answer says, however it came.
type meaning struct {
	ID     string     `json:"id"`
	Model  string     `json:"model"`
	Text   string     `json:"text"`
	Calls  [][]string `json:"calls"`
	Finish string     `json:"finish"`
	Usage  any        `json:"usage"`
}

// officialKnown asks the same, so many times at once.
func officialKnown(ctx context.Context, o *order, a *answer) error {
	c := o.official()
	body, err := json.Marshal(o.Body)
	if err != nil {
		return err
	}
	a.Seen = make([]seen, o.Times)
	problems := make([]error, o.Times)
	var all sync.WaitGroup
	for i := range a.Seen {
		all.Go(func() { problems[i] = a.Seen[i].see(ctx, &c, o.Endpoint, o.Body["stream"] == true, body) })
	}
	all.Wait()
	return errors.Join(problems...)
}

func (s *seen) see(ctx context.Context, c *openai.Client, endpoint string, stream bool, body json.RawMessage) (err error) {
	var head *http.Response
	into := option.WithResponseInto(&head)
	switch {
	case endpoint == "chat/completions" && stream:
		err = s.seeChatStream(c.Chat.Completions.NewStreaming(ctx, param.Override[openai.ChatCompletionNewParams](body), into))
	case endpoint == "chat/completions":
		r, problem := c.Chat.Completions.New(ctx, param.Override[openai.ChatCompletionNewParams](body), into)
		if err = problem; err == nil {
			s.Items, s.Meaning = []any{r}, ofChat(r)
		}
	case endpoint == "completions" && stream:
		err = s.seeCompletionStream(c.Completions.NewStreaming(ctx, param.Override[openai.CompletionNewParams](body), into))
	case endpoint == "completions":
		r, problem := c.Completions.New(ctx, param.Override[openai.CompletionNewParams](body), into)
		if err = problem; err == nil {
			s.Items, s.Meaning = []any{r}, meaning{r.ID, r.Model, r.Choices[0].Text, nil, string(r.Choices[0].FinishReason), r.Usage}
		}
	case endpoint == "responses" && stream:
		err = s.seeResponseStream(c.Responses.NewStreaming(ctx, param.Override[responses.ResponseNewParams](body), into))
	case endpoint == "responses":
		r, problem := c.Responses.New(ctx, param.Override[responses.ResponseNewParams](body), into)
		if err = problem; err == nil {
			s.Items, s.Meaning = []any{r}, r
		}
	case endpoint == "embeddings":
		r, problem := c.Embeddings.New(ctx, param.Override[openai.EmbeddingNewParams](body), into)
		if err = problem; err == nil {
			s.Items, s.Meaning = []any{r}, r
		}
	}
	if err == nil {
		s.Cache, s.Age = head.Header.Get("X-Helixflow-Cache"), head.Header.Get("Age")
	}
	return err
}

func ofChat(r *openai.ChatCompletion) meaning {
	message := &r.Choices[0].Message
	m := meaning{ID: r.ID, Model: r.Model, Text: message.Content, Finish: r.Choices[0].FinishReason, Usage: r.Usage}
	for _, c := range message.ToolCalls {
		m.Calls = append(m.Calls, []string{c.ID, c.Function.Name, c.Function.Arguments})
	}
	return m
}

func (s *seen) seeChatStream(stream *ssestream.Stream[openai.ChatCompletionChunk]) error {
	defer func() { _ = stream.Close() }()
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		chunk := stream.Current()
		if !whole.AddChunk(chunk) {
			return fmt.Errorf("the accumulator does not take %s", chunk.RawJSON())
		}
		s.Items = append(s.Items, chunk)
	}
	if err := stream.Err(); err != nil {
		return err
	}
	s.Meaning = ofChat(&whole.ChatCompletion)
	return nil
}

func (s *seen) seeCompletionStream(stream *ssestream.Stream[openai.Completion]) error {
	defer func() { _ = stream.Close() }()
	var m meaning
	for stream.Next() {
		chunk := stream.Current()
		m.ID, m.Model, m.Usage = chunk.ID, chunk.Model, chunk.Usage
		for _, c := range chunk.Choices {
			m.Text += c.Text
			m.Finish = string(c.FinishReason)
		}
		s.Items = append(s.Items, chunk)
	}
	s.Meaning = m
	return stream.Err()
}

func (s *seen) seeResponseStream(stream *ssestream.Stream[responses.ResponseStreamEventUnion]) error {
	defer func() { _ = stream.Close() }()
	text := ""
	for stream.Next() {
		e := stream.Current()
		if e.SequenceNumber != int64(len(s.Items)) {
			return fmt.Errorf("event %d says that it is %d", len(s.Items), e.SequenceNumber)
		}
		switch e.Type {
		case "response.output_text.delta":
			text += e.Delta
		case "response.completed":
			if text != e.Response.OutputText() {
				return fmt.Errorf("%q was read, and then %q is said", text, e.Response.OutputText())
			}
			s.Meaning = e.Response
		}
		s.Items = append(s.Items, e)
	}
	return stream.Err()
}
