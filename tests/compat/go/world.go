package main

// What the checks share: the client, and what the backends have counted.

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

const model = "gpt-4o-mini"

// world is the router and its backends, as the environment names them.
type world struct {
	openai.Client

	baseURL, key, keySmall, sim, fake string
}

func newWorld() *world {
	w := &world{
		baseURL: os.Getenv("COMPAT_BASE_URL"), key: os.Getenv("COMPAT_KEY"), keySmall: os.Getenv("COMPAT_KEY_SMALL"),
		sim: os.Getenv("COMPAT_SIM"), fake: os.Getenv("COMPAT_FAKE"),
	}
	w.Client = w.client()
	return w
}

func (w *world) client(options ...option.RequestOption) openai.Client {
	defaults := []option.RequestOption{option.WithBaseURL(w.baseURL), option.WithAPIKey(w.key), option.WithMaxRetries(0)}
	return openai.NewClient(append(defaults, options...)...)
}

// question is a chat of one message.
func question(content string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(content)},
	}
}

// ask is one chat completion.
func (w *world) ask(ctx context.Context, content string, options ...option.RequestOption) (*openai.ChatCompletion, error) {
	return w.Chat.Completions.New(ctx, question(content), options...)
}

// fakeModel sends a request to the fake backend.
func fakeModel() option.RequestOption { return option.WithJSONSet("model", "fake") }

// collect returns a stream's items and what ended it.
func collect[T any](stream *ssestream.Stream[T]) (items []T, err error) {
	defer func() { _ = stream.Close() }()
	for stream.Next() {
		items = append(items, stream.Current())
	}
	return items, stream.Err()
}

// stats is what the simulated engine has counted.
type stats struct {
	Received int
	Aborted  int
	Running  int
}

func (w *world) stats() (s stats) {
	fetch(w.sim+"/sim/stats", "", &s)
	return s
}

// fakeRequest is a request that the fake backend got.
type fakeRequest struct {
	Header http.Header
	Body   string
}

func (w *world) fakeRequests() (list []fakeRequest) {
	fetch(w.fake+"/requests", "", &list)
	return list
}

// fetch gets, or posts a body, and decodes the answer unless into is nil.
func fetch(url, body string, into any) {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req := must(http.NewRequest(method, url, bytes.NewReader([]byte(body))))
	resp := must(http.DefaultClient.Do(req))
	defer func() { _ = resp.Body.Close() }()
	data := must(io.ReadAll(resp.Body))
	equal(url, resp.StatusCode, http.StatusOK)
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			fail("cannot decode what %s says: %v", url, err)
		}
	}
}

// until polls for so long, and returns how long it took.
func until(what string, limit time.Duration, ok func() bool) time.Duration {
	start := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		want(time.Since(start) < limit, "within %v: %s", limit, what)
		<-tick.C
	}
	return time.Since(start)
}
