package main

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// order is how a prompt says what stream it wants: "bench:EVENTS,GAP;".
const order = "bench:"

const answer = `{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1763856000,"model":"bench","choices":[{"index":0,"message":` +
	`{"role":"assistant","content":"%s","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":100,"total_tokens":350}}`

const event = `data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1763856000,"model":"bench","choices":[{"index":0,"delta":` +
	`{"content":" word"},"logprobs":null,"finish_reason":null}]}` + "\n\n"

const lastEvents = `data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1763856000,"model":"bench","choices":[{"index":0,"delta":` +
	`{},"logprobs":null,"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"

// serveEngine is an engine that answers at once, or streams as the prompt orders.
func serveEngine(address string) error {
	whole := fmt.Appendf(nil, answer, strings.Repeat("word ", 100))
	return listen(address, func(ctx *fasthttp.RequestCtx) {
		body := ctx.PostBody()
		if !bytes.Contains(body, []byte(`"stream":true`)) {
			ctx.SetContentType("application/json")
			ctx.Response.SetBodyRaw(whole)
			return
		}
		events, gap := 10, time.Duration(0)
		if _, rest, ok := bytes.Cut(body, []byte(order)); ok {
			if text, _, ok := bytes.Cut(rest, []byte(";")); ok {
				n, pause, _ := strings.Cut(string(text), ",")
				events, _ = strconv.Atoi(n)
				gap, _ = time.ParseDuration(pause)
			}
		}
		ctx.SetContentType("text/event-stream")
		ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
			for next := time.Now(); events > 0; events-- {
				if _, err := w.WriteString(event); err != nil || w.Flush() != nil {
					return
				}
				next = next.Add(gap)
				time.Sleep(time.Until(next))
			}
			_, _ = w.WriteString(lastEvents)
		})
	})
}

func listen(address string, handler fasthttp.RequestHandler) error {
	s := &fasthttp.Server{Handler: handler, MaxRequestBodySize: 64 << 20, ReadBufferSize: 8 << 10}
	if err := s.ListenAndServe(address); err != nil {
		return fmt.Errorf("cannot serve %s: %w", address, err)
	}
	return nil
}
