package router

// Hooks that hang, lie or are not there, and callers who leave meanwhile.

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secretWord stands in every body of these tests: no log may hold it.
const secretWord = "xyzzy"

// hostile is every reply that counts as none, with what came of it.
func hostile() map[string]string {
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	allow := head + "Content-Length: 18\r\n\r\n" + allows
	huge := strings.Repeat("x", 10<<20)
	list := map[string]string{
		"":                           "timeout", // it hangs
		"HTTP/1.1 200 OK\r\nContent": "timeout",
		head + "\r\n" + allows:       "timeout", // no end is told, and it does not close
		head + "Content-Length: 19\r\n\r\n" + allows:                  "timeout",
		head + "Transfer-Encoding: chunked\r\n\r\n" + chunkOf(allows): "timeout",
		"HTTP/1.1 100 Continue\r\n\r\n":                               "timeout",
		"bye":                                                         "error",
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18 bye":      "error",
		head + "Content-Length: 19\r\n\r\n" + allows + "bye":                               "error", // cut
		head + "Transfer-Encoding: chunked\r\n\r\n" + chunkOf(allows) + "bye":              "error",
		head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + allows:                         "error",
		"SSH-2.0-OpenSSH_9.9\r\n\r\n":                                                      "error",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n":                           "error",
		"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n": "error",
		"HTTP/1.1 204 No Content\r\n\r\n":                                                  "error",
		head + "Content-Length: 0\r\n\r\n":                                                 "error",
		head + "X: " + strings.Repeat("x", 100<<10) + "\r\n\r\n":                           "error",
		fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(huge), huge):               "error",
		fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, int64(1)<<50):                    "error",
		head + "Transfer-Encoding: chunked\r\n\r\n" + chunkOf(huge) + lastChunk:            "error",
		head + "\r\n" + huge + "bye":                                                       "error",
		strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20) + allow:                      "error",
	}
	for _, kind := range []string{"text/html", "text/event-stream", "application/octet-stream", ""} {
		list[strings.Replace(allow, "application/json", kind, 1)] = "error"
	}
	for _, status := range []string{"201 Created", "202 Accepted", "206 Partial Content", "400 Bad Request", "403 Forbidden", "413 Too Large", "429 Slow", "500 Oops", "503 Busy", "999 What"} {
		list[strings.Replace(allow, "200 OK", status, 1)] = "error"
	}
	for _, reply := range []string{
		`{}`, `null`, `"allow"`, `[]`, `{"action":"block"}`, `{"action":1}`, `{"action":"allow"`, `{"action":"allow"}{`, `<html>`,
		`{"action":"allow","action":"deny"}`, `{"action":"allow","body":{"` + secretWord + `":1}}`, `{"action":"allow","message":[]}`,
		`{"action":"replace"}`, `{"action":"replace","body":"` + secretWord + `"}`, `{"action":"replace","body":{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}}`,
		`{"action":"replace","body":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`,
		strings.Repeat(" ", 100<<10) + `{"action":"allow","pad":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		list[jsonAnswer(reply)] = "error"
	}
	return list
}

// Whatever is no reply counts as an error: refused where the hook fails closed,
// passed where it fails open, in no more than the hook's time.
func TestHostileReplies(t *testing.T) {
	var reply atomic.Value
	hook := newBackend(t, func(a *asked) bool {
		text, bye := strings.CutSuffix(reply.Load().(string), "bye")
		a.write(text)
		return !bye
	})
	var tries atomic.Int32
	backend := newBackend(t, func(a *asked) bool {
		tries.Add(1)
		a.write(jsonAnswer(`{"from":"the backend"}`))
		return true
	})
	body := `{"model":"m","messages":["` + secretWord + `"]}`
	f := func(when, patience, result string) {
		settings := ", on_unseen: refuse, timeout: " + patience + ", when: " + when
		closed := newWorld(t, hooked("", backend, hook+settings+", on_error: refuse"))
		open := newWorld(t, hooked("", backend, hook+settings+", on_error: pass"))
		for text, want := range hostile() {
			if want != result {
				continue
			}
			reply.Store(text)
			before := closed.hookCount("h0", when, result)
			tries.Store(0)
			name := fmt.Sprintf("%s %.100q", when, text)

			began := time.Now()
			a := closed.ask(t, chat(body))
			assert.Less(t, time.Since(began), 10*time.Second, name)
			requireError(t, a, 503, "check_unavailable")
			assert.Equal(t, map[string]int32{"before": 0, "after": 1}[when], tries.Load(), name)
			assert.NotEqual(t, before, closed.hookCount("h0", when, result), "%s: no %s was counted", name, result)

			a = open.ask(t, chat(body))
			require.Equal(t, 200, a.status, name)
			assert.Equal(t, `{"from":"the backend"}`, a.body, name)
		}
		for _, w := range []*world{closed, open} {
			assert.Contains(t, w.log.String(), "hook failed")
			assert.NotContains(t, w.log.String(), secretWord)
			assert.NotEmpty(t, w.srv.Errors())
			for _, e := range w.srv.Errors() {
				assert.Equal(t, "hook h0", e.Source)
				assert.NotContains(t, e.Text, secretWord)
			}
		}
	}
	for _, when := range []string{"before", "after"} {
		f(when, "100ms", "timeout")
		f(when, "20s", "error") // a busy machine takes its time over 10 MB
	}
}

// Replacements that are no request, or another one, count as no reply.
func TestHostileReplacements(t *testing.T) {
	f := func(body string, fails bool) {
		t.Helper()
		hook := newHook(t, says(`{"action":"replace","body":`+body+`}`))
		backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(a.body)); return true })
		closed := newWorld(t, hooked("", backend, hook))
		open := newWorld(t, hooked("", backend, hook+", on_error: pass"))
		if !fails {
			assert.Equal(t, 200, closed.ask(t, chat(simple)).status, body)
			return
		}
		requireError(t, closed.ask(t, chat(simple)), 503, "check_unavailable")
		assert.Equal(t, strings.Replace(simple, `"m"`, `"upstream"`, 1), open.ask(t, chat(simple)).body, "as the client sent it")
		assert.Equal(t, "1", open.hookCount("h0", "before", "error"))
	}
	f(`{"model":"m"}`, false)
	f(`{"stream":false,"model":"\u006d"}`, false)
	f(`{}`, true)
	f(`{"messages":[]}`, true)
	f(`{"model":"other"}`, true)
	f(`{"model":"m","model":"m"}`, true)
	f(`{"Model":"m"}`, true)
	f(`{"model":"m","stream":true}`, true)
	f(`{"model":"m","max_tokens":"many"}`, true)
	f(`{"model":"m","a":"`+strings.Repeat("x", 1<<20)+`"}`, true)
}

// A hook that nobody answers for.
func TestHookIsNotThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := "http://" + ln.Addr().String()
	require.NoError(t, ln.Close())
	backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	requireError(t, newWorld(t, hooked("", backend, dead)).ask(t, chat(simple)), 503, "check_unavailable")
	w := newWorld(t, hooked("", backend, dead+", on_error: pass"))
	require.Equal(t, 200, w.ask(t, chat(simple)).status)
	assert.Equal(t, "1", w.hookCount("h0", "before", "error"))

	// One that an operator drained is not asked either.
	live := newHook(t, says(`{"action":"deny"}`))
	w = newWorld(t, hooked("", backend, live+", on_error: pass"))
	require.NoError(t, w.fleet.Drain(HookPool+"h0", live))
	require.Equal(t, 200, w.ask(t, chat(simple)).status)
	require.NoError(t, w.fleet.Undrain(HookPool+"h0", live))
	require.Equal(t, 400, w.ask(t, chat(simple)).status)
}

// A connection that the hook closed while it was idle costs nothing; one that
// dies over a question is an error.
func TestHookClosesConnections(t *testing.T) {
	backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	var questions atomic.Int32
	hook := newBackend(t, func(a *asked) bool {
		questions.Add(1)
		a.write(jsonAnswer(allows))
		return false // closes behind each reply, unannounced
	})
	w := newWorld(t, hooked("", backend, hook))
	for range 20 {
		require.Equal(t, 200, w.ask(t, chat(simple)).status)
	}
	assert.EqualValues(t, 20, questions.Load())
}

// The client's leaving breaks the question off, and nothing goes on.
func TestHookAndHangUp(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		asking, left := make(chan struct{}, 1), make(chan struct{}, 1)
		hook := newBackend(t, func(a *asked) bool {
			asking <- struct{}{}
			<-a.left
			left <- struct{}{}
			return false
		})
		var tries atomic.Int32
		backend := newBackend(t, func(a *asked) bool { tries.Add(1); a.write(jsonAnswer(`{}`)); return true })
		w := newWorld(t, hooked("", backend, hook+", on_error: pass, on_unseen: refuse, timeout: 60s, when: "+when))
		for range 5 {
			tries.Store(0)
			c := w.dial(t)
			_, err := io.WriteString(c, chat(simple))
			require.NoError(t, err)
			<-asking
			began := time.Now()
			require.NoError(t, c.Close())
			<-left
			assert.Less(t, time.Since(began), 20*time.Second, "a question may take a minute")
			require.Eventually(t, func() bool { return w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
			assert.Equal(t, map[string]int32{"before": 0, "after": 1}[when], tries.Load())
		}
		assert.Equal(t, "5", w.hookCount("h0", when, "left"))
		assert.NotContains(t, w.log.String(), "hook failed")
	}
}

// The end of a drain ends a question, and its caller is told why.
func TestHookAndDrain(t *testing.T) {
	asking := make(chan struct{})
	hook := newBackend(t, func(a *asked) bool { asking <- struct{}{}; <-a.left; return false })
	w := newWorld(t, hooked("", newBackend(t, echoes), hook+", on_error: pass, timeout: 60s"))
	done := make(chan answer, 1)
	go func() { done <- w.ask(t, chat(simple)) }()
	<-asking
	w.srv.Drain(t.Context(), 0, 50*time.Millisecond)
	requireError(t, <-done, 503, "draining")
}

// The request's own time ends a question too, and then nothing passes: else a
// caller could bring that about.
func TestHookAndTotal(t *testing.T) {
	hook := newBackend(t, stalls(""))
	w := newWorld(t, hooked("total: 200ms", newBackend(t, echoes), hook+", on_error: pass, timeout: 60s"))
	began := time.Now()
	requireError(t, w.ask(t, chat(simple)), 504, "upstream_timeout")
	requireTook(t, began, 200*time.Millisecond)

	// A caller's own patience, which it may claim to be what it likes, does not.
	slow := newBackend(t, func(a *asked) bool {
		<-time.After(400 * time.Millisecond)
		a.write(jsonAnswer(`{"action":"deny"}`))
		return true
	})
	w = newWorld(t, hooked("", newBackend(t, echoes), slow+", on_error: pass, timeout: 20s"))
	requireError(t, w.ask(t, chat(simple, "X-Stainless-Read-Timeout: 0.001")), 400, "content_filter")
}

// No more questions are under way than are allowed; one more is an error.
func TestHookIsBusy(t *testing.T) {
	asking, proceed := make(chan struct{}), make(chan struct{})
	hook := newHook(t, func(string) string { asking <- struct{}{}; <-proceed; return allows })
	backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{}`)); return true })
	w := newWorld(t, hooked("", backend, hook+", max_inflight: 2, timeout: 20s"))
	done := make(chan answer, 2)
	for range 2 {
		go func() { done <- w.ask(t, chat(simple)) }()
		<-asking
	}
	requireError(t, w.ask(t, chat(simple)), 503, "check_unavailable")
	assert.Equal(t, "1", w.hookCount("h0", "before", "busy"))
	close(proceed)
	for range 2 {
		assert.Equal(t, 200, (<-done).status)
	}
}
