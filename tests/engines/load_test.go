//go:build engines

// Checks of connections and clients that leave, and of engines that fail.

package engines

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	endless = `{"model":"llama","stream":true,"max_tokens":30000,` + hello + `}`
	short   = `{"model":"llama","max_tokens":2,` + hello + `}`
)

// checkHealth holds that the path of the documents is one the engine answers.
func checkHealth(t *testing.T, w *world) {
	for _, pool := range []string{"chat", "embed"} {
		w.becomes(t, pool, "healthy")
		_, reason := w.state(t, pool)
		assert.Empty(t, reason)
	}
}

// checkMany has more streams at once than the engine's two places: they wait
// there, and all come to their end.
func checkMany(t *testing.T, w *world) {
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			data := w.stream(t, "/v1/chat/completions", `{"model":"llama","stream":true,"max_tokens":50,"stream_options":{"include_usage":true},`+hello+`}`)
			chunks := read(t, data...)
			last := chunks[len(chunks)-1]
			if assert.NotNil(t, last.Usage) {
				assert.Equal(t, 50, last.Usage.Completion)
			}
			assert.Equal(t, "[DONE]", data[len(data)-1])
		})
	}
	wg.Wait()
}

// checkConnections holds that the engine's ways with connections cost no request
// and no second try: one ends them after 100 requests, both when they are idle for 5 s.
func checkConnections(t *testing.T, w *world) {
	retries := w.routerHas(t, "helixflow_backend_retries_total")
	for range 230 {
		w.post(t, "/v1/chat/completions", short)
	}
	idle := time.After(6 * time.Second)
	<-idle
	w.post(t, "/v1/chat/completions", short)
	assert.InDelta(t, retries, w.routerHas(t, "helixflow_backend_retries_total"), 0)
	assert.Zero(t, w.routerHas(t, "helixflow_backend_requests_total", `code="none"`))
}

// leave begins a request and hangs up as soon as enough is so.
func (w *world) leave(t *testing.T, body string, enough func() bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := w.try(ctx, http.MethodPost, w.router.url("/v1/chat/completions"), body); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}()
	require.Eventually(t, enough, patience, 5*time.Millisecond)
	cancel()
	<-done
}

// glance is how often the engine is looked at: asking one that is distracted
// distracts it.
func (w *world) glance() time.Duration {
	if w.quirks.distracted {
		return 1500 * time.Millisecond
	}
	return 20 * time.Millisecond
}

// busy reports whether the engine has so much to do.
func (w *world) busy(t *testing.T, running, waiting float64) bool {
	return w.engineHas(t, w.series.running) == running && w.engineHas(t, w.series.waiting) == waiting
}

// idle waits until the engine does nothing, and returns how long that took.
func (w *world) idle(t *testing.T) time.Duration {
	begin := time.Now()
	require.Eventually(t, func() bool { return w.busy(t, 0, 0) }, patience, w.glance(), "the engine works on for nobody")
	return time.Since(begin)
}

// checkCancel holds that an engine stops when its client has left: while it
// reads the prompt, while it streams, while it works on a whole answer, and while
// the request waits there.
func checkCancel(t *testing.T, w *world) {
	left := w.routerHas(t, "helixflow_client_disconnects_total")
	f := func(name, body string) {
		t.Helper()
		before := w.engineHas(t, w.series.generated)
		w.leave(t, body, func() bool { return w.busy(t, 1, 0) })
		took := w.idle(t)
		made := w.engineHas(t, w.series.generated) - before
		assert.Less(t, made, 30000.0)
		t.Logf("%s: idle after %v, %.0f of 30000 tokens made", name, took, made)
	}
	f("prompt", strings.Replace(endless, `"hello"`, `"`+strings.Repeat("hello ", 5000)+`"`, 1))
	f("stream", endless)
	f("whole answer", strings.Replace(endless, `"stream":true,`, "", 1))

	var wg sync.WaitGroup
	ctx, release := context.WithCancel(t.Context())
	defer release()
	for range 2 {
		wg.Go(func() { w.leave(t, endless, func() bool { return ctx.Err() != nil }) })
	}
	w.leave(t, endless, func() bool { return w.busy(t, 2, 1) })
	if !w.quirks.distracted { // else it is found out as soon as its turn comes
		require.Eventually(t, func() bool { return w.busy(t, 2, 0) }, patience, w.glance())
	}
	release()
	wg.Wait()
	t.Logf("idle %v after two streams and one that waited", w.idle(t))
	w.settled(t)
	assert.InDelta(t, 6, w.routerHas(t, "helixflow_client_disconnects_total")-left, 0)
}

// breaks begins a stream, does something to the engine in the middle of it, and
// returns what the client was told last. Only a stream with that as its end may
// end properly: one that its engine ended so.
func (w *world) breaks(t *testing.T, model string, do func()) (told string, proper bool) {
	resp := w.open(t, http.MethodPost, w.router.url("/v1/chat/completions"), strings.Replace(endless, `"llama"`, fmt.Sprintf("%q", model), 1))
	defer func() { _ = resp.Body.Close() }()
	data, err := events(resp.Body, func(n int) {
		if n == 3 {
			do()
		}
	})
	require.GreaterOrEqual(t, len(data), 3)
	if proper = err == nil; proper {
		require.Equal(t, "[DONE]", data[len(data)-1])
		return data[len(data)-2], true
	}
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.NotContains(t, data, "[DONE]")
	return data[len(data)-1], false
}

// refuses holds that a request is answered at once that there is nobody.
func (w *world) refuses(t *testing.T) {
	a := w.ask(t, http.MethodPost, w.router.url("/v1/chat/completions"), short)
	assert.Equal(t, http.StatusServiceUnavailable, a.status, a.body)
	assert.Contains(t, a.body, `"no_backend_available"`)
}

// checkStall stops the engine in the middle of a stream, and lets it go on.
func checkStall(t *testing.T, w *world) {
	defer w.chat.signal(syscall.SIGCONT)
	told, proper := w.breaks(t, "impatient", func() { w.chat.signal(syscall.SIGSTOP) })
	assert.Contains(t, told, `"code":"upstream_timeout"`)
	assert.False(t, proper)
	w.becomes(t, "chat", "unhealthy")
	_, reason := w.state(t, "chat")
	assert.Contains(t, reason, "no answer to GET /health")
	w.refuses(t)

	w.chat.signal(syscall.SIGCONT)
	w.becomes(t, "chat", "healthy")
	w.post(t, "/v1/chat/completions", short)
	w.idle(t)
}

// checkDeath ends the engine in the middle of a stream.
func checkDeath(t *testing.T, w *world) {
	told, proper := w.breaks(t, "llama", func() { w.die(t, w.chat) })
	assert.Contains(t, told, w.quirks.lastWords)
	assert.Equal(t, w.quirks.dyingEnds, proper)
	w.becomes(t, "chat", "unhealthy")
	_, reason := w.state(t, "chat")
	t.Logf("seen as %s", reason)
	w.refuses(t)
	if !w.quirks.revives {
		return
	}
	w.chat.launch()
	w.becomes(t, "chat", "healthy")
	w.post(t, "/v1/chat/completions", short)
}
