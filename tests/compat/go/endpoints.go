package main

// The endpoints beside chat: embeddings, models, moderations, completions, responses.

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

var endpointChecks = []check{
	{"embeddings-base64", embeddingsBase64},
	{"embeddings-float", embeddingsFloat},
	{"models-list", modelsList},
	{"models-retrieve", modelsRetrieve},
	{"moderations", moderations},
	{"completions", completions},
	{"completions-stream", completionsStream},
	{"responses", respond},
	{"responses-stream", respondStream},
	{"request-id", requestID},
}

func embedding() openai.EmbeddingNewParams {
	return openai.EmbeddingNewParams{
		Model: openai.EmbeddingModelTextEmbedding3Small,
		Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}},
	}
}

// embeddingsBase64 decodes by itself what the client has no type for.
func embeddingsBase64(ctx context.Context, w *world) string {
	plain := must(w.Embeddings.New(ctx, embedding())).Data[0].Embedding
	q := embedding()
	q.EncodingFormat = openai.EmbeddingNewParamsEncodingFormatBase64
	var r struct{ Data []struct{ Embedding string } }
	_, _ = w.Embeddings.New(ctx, q, option.WithResponseBodyInto(&r))
	equal("embeddings", len(r.Data), 2)
	packed := must(base64.StdEncoding.DecodeString(r.Data[0].Embedding))
	equal("bytes", len(packed), 4*len(plain))
	for i, x := range plain {
		y := math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
		want(math.Abs(x-float64(y)) < 1e-6, "dimension %d is %v in both forms, not %v", i, x, y)
	}
	return ""
}

func embeddingsFloat(ctx context.Context, w *world) string {
	r := must(w.Embeddings.New(ctx, embedding()))
	equal("embeddings", len(r.Data), 2)
	equal("index", r.Data[1].Index, 1)
	equal("dimensions", len(r.Data[0].Embedding), 384)
	want(!slices.Equal(r.Data[0].Embedding, r.Data[1].Embedding), "two texts have two embeddings")
	want(r.Usage.PromptTokens > 0, "there are prompt tokens")
	q := embedding()
	q.Dimensions = openai.Int(64)
	equal("dimensions", len(must(w.Embeddings.New(ctx, q)).Data[0].Embedding), 64)
	return ""
}

func ids(models []openai.Model) string {
	var list []string
	for _, m := range models {
		want(m.Object == "model" && m.OwnedBy != "" && m.Created > 0, "%s is whole", m.RawJSON())
		list = append(list, m.ID)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func modelsList(ctx context.Context, w *world) string {
	equal("models", ids(must(w.Models.List(ctx)).Data),
		"fake gpt-4o-mini llama-3.1-8b omni-moderation-latest org/model:7b text-embedding-3-small")
	equal("models of the small key", ids(must(w.Models.List(ctx, option.WithAPIKey(w.keySmall))).Data), "fake")
	return ""
}

func modelsRetrieve(ctx context.Context, w *world) string {
	for _, id := range []string{"llama-3.1-8b", "org/model:7b"} {
		equal("id", must(w.Models.Get(ctx, id)).ID, id)
	}
	// People leave out /v1.
	bare := option.WithBaseURL(strings.TrimSuffix(w.baseURL, "/v1"))
	equal("id", must(w.Models.Get(ctx, "org/model:7b", bare)).ID, "org/model:7b")
	return ""
}

func moderations(ctx context.Context, w *world) string {
	r := must(w.Moderations.New(ctx, openai.ModerationNewParams{
		Model: openai.ModerationModelOmniModerationLatest,
		Input: openai.ModerationNewParamsInputUnion{OfStringArray: []string{"fine", "good"}},
	}))
	equal("results", len(r.Results), 2)
	want(!r.Results[0].Flagged && !r.Results[0].Categories.Violence, "nothing is flagged")
	return ""
}

func completion() openai.CompletionNewParams {
	return openai.CompletionNewParams{
		Model:  model,
		Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("sim:tokens=7; once")},
	}
}

func completions(ctx context.Context, w *world) string {
	r := must(w.Completions.New(ctx, completion()))
	equal("object", string(r.Object), "text_completion")
	want(r.Choices[0].Text != "", "there is text")
	equal("finish_reason", string(r.Choices[0].FinishReason), "stop")
	equal("completion tokens", r.Usage.CompletionTokens, 7)
	q := completion()
	q.MaxTokens = openai.Int(3)
	equal("finish_reason", string(must(w.Completions.New(ctx, q)).Choices[0].FinishReason), "length")
	return ""
}

func completionsStream(ctx context.Context, w *world) string {
	whole := must(w.Completions.New(ctx, completion()))
	chunks := must(collect(w.Completions.NewStreaming(ctx, completion())))
	var text strings.Builder
	for _, c := range chunks {
		want(!c.JSON.Usage.Valid(), "no usage, which nobody asked for: %s", c.RawJSON())
		text.WriteString(c.Choices[0].Text)
	}
	want(text.Len() > 0, "there is text")
	equal("text", text.String(), whole.Choices[0].Text)
	equal("finish_reason", string(chunks[len(chunks)-1].Choices[0].FinishReason), "stop")
	return ""
}

func response(model, input string) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(input)},
	}
}

func respond(ctx context.Context, w *world) string {
	q := response(model, "sim:tokens=9; say")
	q.Instructions = openai.String("be brief")
	r := must(w.Responses.New(ctx, q))
	equal("status", string(r.Status), "completed")
	want(r.OutputText() != "", "there is text")
	equal("output tokens", r.Usage.OutputTokens, 9)
	equal("total tokens", r.Usage.TotalTokens, r.Usage.InputTokens+9)
	return ""
}

func respondStream(ctx context.Context, w *world) string {
	events := must(collect(w.Responses.NewStreaming(ctx, response(model, "sim:tokens=9; say"))))
	var text strings.Builder
	order := []string{
		"response.created", "response.output_item.added", "response.output_text.delta",
		"response.output_text.done", "response.output_item.done", "response.completed",
	}
	reached := 0
	for i, e := range events {
		equal("sequence number", e.SequenceNumber, int64(i))
		if reached < len(order) && e.Type == order[reached] {
			reached++
		}
		if e.Type == "response.output_text.delta" {
			text.WriteString(e.Delta)
		}
	}
	equal("events that came in order", strings.Join(order[:reached], " "), strings.Join(order, " "))
	last := events[len(events)-1]
	equal("last event", last.Type, "response.completed")
	want(text.Len() > 0, "there is text")
	equal("text", text.String(), last.Response.OutputText())
	equal("output tokens", last.Response.Usage.OutputTokens, 9)
	return ""
}

func requestID(ctx context.Context, w *world) string {
	var first, second *http.Response
	must(w.ask(ctx, "one", option.WithResponseInto(&first)))
	must(w.ask(ctx, "two", option.WithResponseInto(&second)))
	id := first.Header.Get("X-Request-Id")
	want(id != "" && id != second.Header.Get("X-Request-Id"), "each answer has a request id of its own")
	want(first.Header.Get("Openai-Processing-Ms") != "", "there is openai-processing-ms")
	return id
}
