package router

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Audio reaches the client as the backend makes it; an error does not look like
// audio, and a cut not like its end.
func TestAudioIsNotHeld(t *testing.T) {
	more := make(chan string)
	url := newBackend(t, func(a *asked) bool {
		a.write("HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkOf("first"))
		a.write(<-more)
		return true
	})
	w := newWorld(t, open("", url))
	f := func(rest, body string, cut error) {
		t.Helper()
		c := w.dial(t)
		_, err := io.WriteString(c, postTo("/v1/audio/speech", `{"model":"m","input":"x"}`))
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		first := make([]byte, len("first"))
		_, err = io.ReadFull(resp.Body, first)
		require.NoError(t, err)
		assert.Equal(t, "first", string(first), "before the backend has said more")
		more <- rest
		tail, err := io.ReadAll(resp.Body)
		assert.Equal(t, body, string(tail))
		assert.Equal(t, cut, err)
	}
	f(chunkOf("second")+lastChunk, "second", nil)
	f(chunkOf("second")+"zz\r\n", "second", io.ErrUnexpectedEOF)
}

// A stream of events that the router does not understand ends where its framing
// says so, and a cut is an error all the same.
func TestEventsOfOtherOperations(t *testing.T) {
	delta := "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n"
	done := "data: {\"type\":\"transcript.text.done\",\"text\":\"a\",\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}\n\n"
	var script atomic.Pointer[string]
	url := newBackend(t, func(a *asked) bool {
		text := *script.Load()
		a.write(sseHead + text)
		return strings.HasSuffix(text, lastChunk)
	})
	w := newWorld(t, open("", url))
	f := func(text, want string, whole bool) {
		t.Helper()
		script.Store(&text)
		a := w.ask(t, postTo("/v1/audio/speech", `{"model":"m","input":"x","stream_format":"sse"}`))
		require.Equal(t, 200, a.status)
		assert.Equal(t, want, a.body)
		assert.Equal(t, whole, a.err == nil, "%v", a.err)
	}
	f(chunkOf(delta+done)+lastChunk, delta+done, true)
	f(chunkOf(delta)+chunkOf(delta)+lastChunk, delta+delta, true)
	f(chunkOf(delta)+"zz\r\n", delta+`data: {"error":{"message":"The backend's answer was interrupted.","type":"server_error","param":null,"code":"upstream_interrupted"}}`+"\n\n", false)
	require.Contains(t, w.scrape(t), `helixflow_tokens_total{model="m",type="input"} 7`)
}
