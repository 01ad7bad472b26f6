package main

// Ends before the end: the client leaves, the backend breaks off, falls silent,
// or fails midway.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openai/openai-go/v3/packages/ssestream"
)

var faultChecks = []check{
	{"cancel-prefill", cancelPrefill},
	{"cancel-stream", cancelStream},
	{"cut-unary", cutUnary},
	{"cut-stream-clean", func(ctx context.Context, w *world) string {
		return cutStream(ctx, w, "close@chunk:2", "upstream_interrupted")
	}},
	{"cut-stream-reset", func(ctx context.Context, w *world) string {
		return cutStream(ctx, w, "reset@chunk:2+9", "upstream_interrupted")
	}},
	{"cut-responses-stream", cutResponses},
	{"error-in-stream", errorInStream},
	{"stall-before-answer", stallBefore},
	{"stall-in-stream", stallIn},
}

func aborted(w *world, before stats) string {
	took := until("the engine sees that the client left", time.Second, func() bool {
		return w.stats().Aborted == before.Aborted+1
	})
	equal("running sequences", w.stats().Running, 0)
	return fmt.Sprintf("the engine knew after %v", took)
}

func cancelPrefill(ctx context.Context, w *world) string {
	before := w.stats()
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	done := make(chan error, 1)
	go func() {
		_, err := w.ask(ctx, "sim:ttft=20s; slow")
		done <- err
	}()
	until("the request reaches the engine", 5*time.Second, func() bool { return w.stats().Running == 1 })
	leave()
	err := <-done
	want(errors.Is(err, context.Canceled), "%v is a cancellation", err)
	return aborted(w, before)
}

func cancelStream(ctx context.Context, w *world) string {
	before := w.stats()
	stream := w.Chat.Completions.NewStreaming(ctx, question("sim:ttft=10ms,gap=20ms,tokens=1000; slow"))
	for range 3 {
		want(stream.Next(), "there is a chunk: %v", stream.Err())
	}
	_ = stream.Close() // it was not read to its end
	return aborted(w, before)
}

func cutUnary(ctx context.Context, w *world) string {
	refused(w, 502, "upstream_error", 0, asking(ctx, w, "fake:close@body+40; hi", fakeModel()))
	return ""
}

func cutStream(ctx context.Context, w *world, script, code string) string {
	chunks, err := collect(w.Chat.Completions.NewStreaming(ctx, question("fake:"+script+"; hi"), fakeModel()))
	equal("text before the error", text(chunks), "w1 w2 ")
	return streamError(err, code)
}

// streamError holds that the client was told in so many words.
func streamError(err error, code string) string {
	var e *ssestream.StreamError
	if !errors.As(err, &e) {
		fail("%T is no StreamError: %v", err, err)
	}
	want(strings.Contains(e.Message, `"`+code+`"`), "%q has the code %s", e.Message, code)
	return e.Message
}

func cutResponses(ctx context.Context, w *world) string {
	events, err := collect(w.Responses.NewStreaming(ctx, response("fake", "fake:close@chunk:3; hi")))
	want(err != nil, "there is an error after %d events", len(events))
	for _, e := range events {
		want(e.Type != "response.completed", "the response is not completed")
	}
	return fmt.Sprintf("%s, then %v", events[len(events)-1].Type, err)
}

func errorInStream(ctx context.Context, w *world) string {
	chunks, err := collect(w.Chat.Completions.NewStreaming(ctx, question("sim:error_after=3,tokens=9; hi")))
	want(len(chunks) >= 3, "%d chunks are 3 or more", len(chunks))
	return streamError(err, "simulated_error")
}

func stallBefore(ctx context.Context, w *world) string {
	refused(w, 504, "upstream_timeout", 0, asking(ctx, w, "fake:stall@head; hi", fakeModel()))
	return ""
}

func stallIn(ctx context.Context, w *world) string {
	start := time.Now()
	detail := cutStream(ctx, w, "stall@chunk:2", "upstream_timeout")
	took := time.Since(start)
	want(took >= 900*time.Millisecond && took < 5*time.Second, "%v is about the idle timeout of 1s", took)
	return detail
}
