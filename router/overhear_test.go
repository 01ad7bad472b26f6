package router

// What is heard of a backend on a websocket, and what of it its client may name.

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	frames "github.com/helixflow/helixflow/internal/websocket"
)

// frameOf is a server's frame.
func frameOf(op frames.Opcode, final bool, payload string) string {
	h := frames.Header{Final: final, Opcode: op, Length: int64(len(payload))}
	return string(h.AppendTo(nil)) + payload
}

func TestEars(t *testing.T) {
	f := func(stream string, want ...string) {
		t.Helper()
		for _, size := range []int{1, 2, 3, 7, 100, len(stream) + 1} {
			var got []string
			l := &ears{record: func(id []byte) { got = append(got, string(id)) }}
			for p := []byte(stream); len(p) > 0; {
				n := min(size, len(p))
				l.hear(p[:n])
				p = p[n:]
			}
			assert.Equal(t, want, got, "in pieces of %d", size)
		}
	}
	created := func(id string) string {
		return `{"type":"response.created","response":{"id":"` + id + `","object":"response"}}`
	}
	text := func(payload string) string { return frameOf(frames.Text, true, payload) }
	long := strings.Repeat("x", 70_000)
	f("")
	f(text(created("resp_1")), "resp_1")
	f(text(created("resp_1"))+text(`{"type":"response.output_text.delta","delta":"x"}`)+text(created("resp_2")), "resp_1", "resp_2")
	f(text(`{"type":"x","delta":"`+long+`"}`)+text(created("resp_1")), "resp_1")
	f(text(`{"type":"response.completed","response":{"id":"resp_1","x":"`+long+`"}}`)+text(created("resp_2")), "resp_1", "resp_2")
	whole := created("resp_1")
	f(frameOf(frames.Text, false, whole[:20])+frameOf(frames.Ping, true, created("resp_no"))+frameOf(frames.Continuation, false, whole[20:50])+
		frameOf(frames.Continuation, false, "")+frameOf(frames.Continuation, true, whole[50:])+text(created("resp_2")), "resp_1", "resp_2")
	f(text("")+frameOf(frames.Pong, true, "")+text(created("resp_1")), "resp_1")
	f(text(`{"type":"x","text":"\"response\":{\"id\":\"resp_no\"}"}`))
	f(text(`{"x":"` + long + `","response":{"id":"resp_late"}}`))
	f(frameOf(frames.Close, true, "\x03\xe8"))

	l := &ears{record: func(id []byte) { assert.Equal(t, "resp_1", string(id)) }}
	l.hear([]byte(text(`{"x":"` + long + `"}`)[:1000]))
	l.miss(int64(len(text(`{"x":"`+long+`"}`)) - 1000))
	l.hear([]byte(text(created("resp_1"))))
}

// TestSocketObjects: over a websocket, too, a tenant names its own responses only.
func TestSocketObjects(t *testing.T) {
	asked := make(chan string, 10)
	url := socketBackend(t, nil, func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		for {
			_, p, err := c.Read(ctx)
			if err != nil {
				return
			}
			asked <- string(p)
			if c.Write(ctx, websocket.MessageText, []byte(`{"type":"response.created","response":{"id":"resp_mine","object":"response"}}`)) != nil {
				return
			}
		}
	})
	s := newShop(t, strings.Replace(shopConfig, "passthrough:\n", "passthrough:\n  - {prefix: /v1/responses}\n", 1), url)
	open := func(tenant string) *websocket.Conn {
		c, _ := s.socket(t, responses, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + s.keys[tenant]}}})
		return c
	}
	c := open("acme")
	passes := func(c *websocket.Conn, message string) {
		t.Helper()
		_, err := say(t, c, message)
		require.NoError(t, err)
		require.Equal(t, message, <-asked)
	}
	refused := func(c *websocket.Conn, message string) {
		t.Helper()
		got, err := say(t, c, message)
		require.NoError(t, err)
		requireEvent(t, got, 404, "object_not_found")
		assert.Empty(t, asked)
	}
	passes(c, `{"type":"response.create","model":"m","input":"x"}`)
	passes(c, `{"type":"response.create","input":"x","previous_response_id":"resp_mine"}`)
	refused(c, `{"type":"response.create","input":"x","previous_response_id":"resp_other"}`)
	refused(c, `{"type":"response.create","input":"x","conversation":{"id":"conv_other"}}`)
	refused(c, `{"type":"response.create","input":[{"type":"item_reference","id":"msg_other"}]}`)
	refused(c, `{"type":"response.steer","input":[{"type":"input_file","file_id":"file-other"}]}`)
	passes(c, `{"type":"response.create","input":"x","previous_response_id":"resp_mine"}`)

	// Another websocket, and HTTP.
	passes(open("acme"), `{"type":"response.create","model":"m","input":"x","previous_response_id":"resp_mine"}`)
	refused(open("beta"), `{"type":"response.create","model":"m","input":"x","previous_response_id":"resp_mine"}`)
	requireError(t, s.get(t, "beta", "/v1/responses/resp_mine"), 404, "object_not_found")
}

// What responses used is heard, wherever their last messages are cut and however long
// they are, up to a bound; nobody can say it in another place.
func TestEarsUsage(t *testing.T) {
	f := func(stream string, want ...int64) {
		t.Helper()
		for _, size := range []int{1, 2, 3, 7, 100, 511, 512, 513, 4096, len(stream) + 1} {
			if len(stream)/size > 100_000 {
				continue
			}
			var got []int64
			l := &ears{used: func(u helixflow.Usage) { got = append(got, u.InputTokens+u.OutputTokens) }}
			for p := []byte(stream); len(p) > 0; {
				n := min(size, len(p))
				l.hear(p[:n])
				p = p[n:]
			}
			assert.Equal(t, want, got, "in pieces of %d", size)
			assert.LessOrEqual(t, cap(l.kept), rememberFor)
		}
	}
	text := func(payload string) string { return frameOf(frames.Text, true, payload) }
	last := func(kind, output string) string {
		return `{"type":"` + kind + `","response":{"id":"resp_1","output":"` + output + `","usage":{"input_tokens":5,"output_tokens":7}}}`
	}
	f(text(last("response.completed", "")), 12)
	f(text(last("response.done", "")), 12)
	f(text(last("response.created", ""))+text(last("response.failed", ""))+text(last("response.incomplete", "")), 12, 12)
	f(text(`{"response":{"id":"resp_1","usage":{"input_tokens":5,"output_tokens":8}},"sequence_number":4,"type":"response.completed"}`), 13)
	for _, n := range []int{350, 400, 410, 420, 430, 500, 1000, 100_000, maxEvent - 200} {
		f(text(last("response.completed", strings.Repeat("x", n)))+text(last("response.completed", "")), 12, 12)
	}
	f(text(last("response.completed", strings.Repeat("x", maxEvent)))+text(last("response.completed", "")), 12)
	whole := last("response.completed", strings.Repeat("x", 900))
	f(frameOf(frames.Text, false, whole[:20])+frameOf(frames.Ping, true, whole[:100])+frameOf(frames.Continuation, false, whole[20:600])+
		frameOf(frames.Continuation, false, "")+frameOf(frames.Continuation, false, whole[600:])+frameOf(frames.Pong, true, "")+
		frameOf(frames.Continuation, true, "")+text(whole), 12, 12)
	f(frameOf(frames.Binary, true, whole) + text(`"`+strings.ReplaceAll(whole, `"`, `\"`)+`"`) + text(`{"type":"response.output_text.done","text":`+whole+`}`) + text(whole[:700]))

	// A part that was not heard makes it unknown.
	l := &ears{used: func(helixflow.Usage) { t.Error("it makes no sense") }}
	stream := text(last("response.completed", strings.Repeat("x", 100_000)))
	l.hear([]byte(stream[:1000]))
	assert.True(t, l.listens())
	l.miss(90_000)
	assert.False(t, l.listens())
	l.hear([]byte(stream[91_000:]))
}
