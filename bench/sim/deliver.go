package sim

// The way of an answer out: as a stream or in one piece, and wrong where the
// prompt ordered it so.

import (
	"context"
	"net/http"
	"strconv"

	"github.com/helixflow/helixflow"
)

// outcome is how an answer ended.
type outcome uint8

const (
	left      outcome = iota // the client went away, or an error ended the answer
	delivered                // whole
	cut                      // the connection is to be closed now
)

func (s *Server) answer(ctx context.Context, w http.ResponseWriter, ans *answer) outcome {
	w.Header().Set("X-Request-Id", "req_"+ans.id)
	if ans.ask.stream {
		return s.stream(ctx, w, ans)
	}
	return s.unary(ctx, w, ans)
}

// frames writes one endpoint's events into the stream's buffer.
type frames interface {
	open()                        // before there is any token
	token(c *choice, text string) // c.sent tokens went before
	finish(c *choice)
	close(u usage) // after all choices are finished
	fail(f *fault) // instead of what is still to come
}

func (a *answer) frames(e *events) frames {
	switch a.ask.op {
	case helixflow.OpChatCompletions:
		return newChatFrames(e, a)
	case helixflow.OpResponses:
		return newResponseFrames(e, a)
	default:
		return newCompletionFrames(e, a)
	}
}

func (s *Server) stream(ctx context.Context, w http.ResponseWriter, ans *answer) outcome {
	e, err := openEvents(w)
	if err != nil {
		return left
	}
	out := ans.frames(e)
	out.open()
	sent := 0
	for open := len(ans.choices); ; {
		if ans.ask.orders.troubleAt(sent) {
			return s.trouble(ctx, e, out, &ans.ask.orders, sent)
		}
		for i := range ans.choices {
			c := &ans.choices[i]
			done := c.job.done.Load() // before tokens: the clock stores it after them
			for ready := int(c.job.tokens.Load()); c.sent < ready; {
				out.token(c, c.script.next())
				c.sent++
				if sent++; ans.ask.orders.troubleAt(sent) {
					return s.trouble(ctx, e, out, &ans.ask.orders, sent)
				}
				if len(e.buf) > maxBurst && e.flush() != nil {
					return left
				}
			}
			if done && !c.closed {
				out.finish(c)
				c.closed = true
				open--
			}
		}
		if open == 0 {
			out.close(ans.usage())
		}
		if err := e.flush(); err != nil {
			return left
		}
		if open == 0 {
			return delivered
		}
		if how := s.wait(ctx, ans); how != delivered {
			return how
		}
	}
}

// maxBurst is how much is collected before it is written even so.
const maxBurst = 64 << 10

// wait returns delivered when something changed, or how the answer ended.
func (s *Server) wait(ctx context.Context, ans *answer) outcome {
	select {
	case <-ans.ready:
		return delivered
	case <-ctx.Done():
		return left
	case <-s.quit:
		return cut
	}
}

// troubleAt reports whether the stream goes wrong after so many content chunks.
func (o *orders) troubleAt(sent int) bool {
	return o.cutAfter == sent || o.stallAfter == sent || o.errorAfter == sent
}

// trouble ends a stream as ordered after so many content chunks.
func (s *Server) trouble(ctx context.Context, e *events, out frames, o *orders, sent int) outcome {
	if sent == o.errorAfter {
		out.fail(midway())
	}
	switch err := e.flush(); {
	case err != nil || sent == o.errorAfter:
		return left
	case sent == o.cutAfter:
		return cut
	default:
		return s.stall(ctx)
	}
}

func midway() *fault {
	return &fault{
		status: http.StatusInternalServerError, kind: "server_error", code: "simulated_error",
		message: "The prompt ordered an error in the middle of the answer.",
	}
}

// stall keeps the connection open and silent until its client leaves.
func (s *Server) stall(ctx context.Context) outcome {
	select {
	case <-ctx.Done():
		return left
	case <-s.quit:
		return cut
	}
}

// unary waits for all of the answer and sends it in one piece, or half of it
// where the prompt ordered so.
func (s *Server) unary(ctx context.Context, w http.ResponseWriter, ans *answer) outcome {
	for !ans.complete() {
		if how := s.wait(ctx, ans); how != delivered {
			return how
		}
	}
	o := &ans.ask.orders
	if o.errorAfter >= 0 {
		midway().write(w)
		return left
	}
	body := ans.body()
	if o.cutAfter < 0 && o.stallAfter < 0 {
		writeJSON(w, http.StatusOK, body)
		return delivered
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body[:len(body)/2]); err != nil {
		return left
	}
	if http.NewResponseController(w).Flush() != nil {
		return left
	}
	if o.cutAfter >= 0 {
		return cut
	}
	return s.stall(ctx)
}

// complete reports whether every sequence has come to its end, or to where it
// stalls.
func (a *answer) complete() bool {
	for i := range a.choices {
		j := a.choices[i].job
		if !j.done.Load() && int(j.tokens.Load()) != a.ask.orders.stallAfter {
			return false
		}
	}
	return true
}
