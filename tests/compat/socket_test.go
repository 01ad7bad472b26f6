//go:build integration

// A backend of websockets: two pieces of text for whatever is asked.

package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socketBackend is safe for concurrent use.
type socketBackend struct {
	*httptest.Server

	open sync.WaitGroup

	mu   sync.Mutex // guards said
	said []string   // what the clients sent, and the heads of their requests
}

func startSockets(t *testing.T) *socketBackend {
	b := new(socketBackend)
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(func() {
		b.Close()
		b.open.Wait()
	})
	return b
}

// got returns all that clients sent so far.
func (b *socketBackend) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.said)
}

func (b *socketBackend) note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, text)
}

func (b *socketBackend) serve(w http.ResponseWriter, r *http.Request) {
	b.open.Add(1)
	defer b.open.Done()
	b.note(fmt.Sprintf("%s %v", r.URL, r.Header))
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // and was answered
	}
	defer func() { _ = c.CloseNow() }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if strings.HasSuffix(r.URL.Path, "/realtime") {
		send(ctx, c, `{"type":"session.created","event_id":"e0","session":{"type":"realtime","id":"sess_1","object":"realtime.session"}}`)
	}
	for {
		_, message, err := c.Read(ctx)
		if err != nil {
			return
		}
		b.note(string(message))
		if b.answer(ctx, c, strings.HasSuffix(r.URL.Path, "/realtime"), strings.Contains(string(message), "break off")) {
			return
		}
	}
}

// answer sends the events of one response, or breaks off after its first text.
func (b *socketBackend) answer(ctx context.Context, c *websocket.Conn, isRealtime, cut bool) (gone bool) {
	response := func(status string) string {
		if isRealtime {
			return fmt.Sprintf(`{"id":"resp_1","object":"realtime.response","status":%q,"output":[]}`, status)
		}
		return fmt.Sprintf(`{"id":"resp_1","object":"response","created_at":1700000000,"status":%q,"model":"socket","error":null,`+
			`"incomplete_details":null,"instructions":null,"metadata":{},"parallel_tool_calls":true,"temperature":1,"tool_choice":"auto",`+
			`"tools":[],"top_p":1,"output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":`+
			`[{"type":"output_text","text":"w1 w2 ","annotations":[],"logprobs":[]}]}],"usage":{"input_tokens":7,`+
			`"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":9}}`, status)
	}
	text := `"response_id":"resp_1","item_id":"msg_1","output_index":0,"content_index":0`
	last := "response.completed"
	if isRealtime {
		last = "response.done"
	}
	for i, event := range []string{
		`{"type":"response.created","response":` + response("in_progress"),
		`{"type":"response.output_text.delta",` + text + `,"delta":"w1 ","logprobs":[]`,
		`{"type":"response.output_text.delta",` + text + `,"delta":"w2 ","logprobs":[]`,
		`{"type":"response.output_text.done",` + text + `,"text":"w1 w2 ","logprobs":[]`,
		`{"type":"` + last + `","response":` + response("completed"),
	} {
		if cut && i == 2 {
			return true
		}
		send(ctx, c, fmt.Sprintf(`%s,"event_id":"e%d","sequence_number":%d}`, event, i+1, i))
	}
	return false
}

// send writes one event. A client that left is noticed by the next read.
func send(ctx context.Context, c *websocket.Conn, event string) {
	if !json.Valid([]byte(event)) {
		panic("BUG: not JSON: " + event)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_ = c.Write(ctx, websocket.MessageText, []byte(event))
}
