package router

// What a request did not use is given back before its answer's last byte goes out:
// whoever asks again in the instant that byte arrives finds all of it.

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// instant is a client's connection that asks one thing after the other, and is told
// of the end of each answer while the router still writes it.
type instant struct {
	net.Conn // nil
	requests []string
	written  bytes.Buffer
	end      string              // of an answer
	wrote    func()              // after each write; or nil
	then     func(answer []byte) // at each end
}

func (c *instant) Read(p []byte) (int, error) {
	if len(c.requests) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.requests[0])
	if c.requests[0] = c.requests[0][n:]; c.requests[0] == "" {
		c.requests = c.requests[1:]
	}
	return n, nil
}

func (c *instant) Write(p []byte) (int, error) {
	c.written.Write(p)
	if c.wrote != nil {
		c.wrote()
	}
	if bytes.HasSuffix(c.written.Bytes(), []byte(c.end)) {
		c.then(c.written.Bytes())
		c.written.Reset()
	}
	return len(p), nil
}

func (*instant) Close() error                     { return nil }
func (*instant) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (*instant) SetDeadline(time.Time) error      { return nil }
func (*instant) SetReadDeadline(time.Time) error  { return nil }
func (*instant) SetWriteDeadline(time.Time) error { return nil }

// narrow are limits that let in one request of mostTokens at a time, and thousands
// that use a few.
const (
	narrow     = "{requests_per_minute: 1M, tokens_per_minute: 10M, tokens_per_day: 10M, concurrent: 1, budget: {usd: 100}, reserve: strict}"
	mostTokens = `"max_tokens":6000000`
)

// narrowly is config with narrow limits on every scope.
func narrowly(config string) string {
	config = strings.Replace(config, "{name: all", "{name: all, limits: "+narrow+", model_limits: [{model: m, "+narrow[1:]+"]", 1)
	config = strings.Replace(config, "- name: m\n", "- name: m\n    limits: "+narrow+"\n    price: {input: 1, output: 10}\n", 1)
	return config + "limits: " + narrow + "\n"
}

// TestSettledBeforeTheLastByte asks twice at a time: the second request comes in the
// instant that the first one's answer ends, and fits only if that one is settled.
func TestSettledBeforeTheLastByte(t *testing.T) {
	f := func(name, config, request, end string, status, times int, backend func(a *asked) bool) {
		t.Helper()
		w := newWorld(t, strings.Replace(config, "URL", newBackend(t, backend), 1))
		asks := func(i int) string { return strings.ReplaceAll(request, "NUMBER", fmt.Sprint(100_000+i)) }
		if raceBuild {
			times = max(times/10, 5)
		}
		answers := 0
		for range times {
			c := &instant{end: end, requests: []string{asks(2 * answers)}}
			c.then = func(text []byte) {
				c.then = func([]byte) { t.Errorf("%s: another end", name) }
				require.Contains(t, string(text[:min(len(text), 40)]), fmt.Sprintf("HTTP/1.1 %d ", status), "%s, request %d: %.500s", name, 2*answers-1, text)
				require.Equal(t, status, w.ask(t, asks(2*answers+1)).status, "%s, request %d", name, 2*answers)
				answers++
			}
			w.srv.attach(c).serve()
		}
		require.Equal(t, times, answers, name)
		w.settled(t)
		for _, s := range w.limits.Scopes() {
			assert.Contains(t, used(s), "concurrent 0", "%s: %s %s", name, s.Level, s.Name)
		}
	}
	says := func(text string) func(a *asked) bool {
		return func(a *asked) bool { a.write(text); return !strings.Contains(text, "[close]") }
	}
	body := `{"model":"m","temperature":0,` + mostTokens + `,"messages":["NUMBER"]}`
	same := strings.Replace(body, "NUMBER", "", 1)
	streams := func(body string) string { return strings.Replace(body, "{", `{"stream":true,`, 1) }
	withUse := streamOf(ev1, evFin, evUse, evDone)
	refusal := answerOf(400, jsonType, "{}")
	plain := narrowly(open("", "URL"))
	cached := narrowly(remembering("URL", ", coalesce: false"))
	shared := narrowly(remembering("URL", ""))
	f("unary", plain, chat(body), "}}", 200, 1000, says(jsonAnswer(whole)))
	f("stream", plain, chat(streams(body)), lastChunk, 200, 1000, says(withUse))
	f("cached", cached, chat(same), "}}", 200, 1000, says(jsonAnswer(whole)))
	f("cached stream", cached, chat(streams(same)), lastChunk, 200, 1000, says(withUse))
	f("on a flight", shared, chat(body), "}}", 200, 200, says(jsonAnswer(whole)))
	f("a stream on a flight", shared, chat(streams(body)), lastChunk, 200, 200, says(withUse))
	f("refused by the backend", plain, chat(body), "}}", 400, 50, says(refusal))
	f("refused on a flight", shared, chat(body), "}}", 400, 50, says(refusal))
	f("refused here", plain, chat(body), "}}", 429, 50, says(answerOf(429, jsonType, "{}")))

	// Nobody tells what these use, so that only the place counts that they hold.
	placed := func(config string) string {
		return strings.Replace(config, "{name: all", "{name: all, limits: {concurrent: 1}", 1)
	}
	one, any := placed(open("", "URL")), placed(open("", "URL"))+"passthrough: [{prefix: /v1/files, pool: p}]\n"
	large := `{"id":"` + strings.Repeat("x", 600_000) + `"}`
	cut := sseHead + chunkOf(ev1) + chunkOf(": [close]\n\n")
	f("stream made whole", one, chat(streams(body)), lastChunk, 200, 50, says(streamOf(ev1, evFin)))
	f("large", one, chat(body), `"}`, 200, 20, says(jsonAnswer(large)))
	f("large, in chunks", one, chat(body), lastChunk, 200, 20, says("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"+chunkOf(large)+lastChunk))
	f("no body", any, "DELETE /v1/files/f HTTP/1.1\r\nHost: test\r\n\r\n", "\r\n\r\n", 204, 50, says("HTTP/1.1 204 No Content\r\n\r\n"))
	f("cut", one, chat(streams(body)), `upstream_interrupted"}}`+"\n\n\r\n", 200, 50, says(cut))
	f("cut on a flight", placed(remembering("URL", "")), chat(streams(body)), `upstream_interrupted"}}`+"\n\n\r\n", 200, 50, says(cut))
}

// Others on a flight give back what they hold as it brings the end to each.
func TestFollowersSettledBeforeTheLastByte(t *testing.T) {
	f := func(body, end string, pieces ...string) {
		t.Helper()
		const many = 8
		s, url := newStaged(t, pieces...)
		config := strings.Replace(remembering(url, ""), "{name: all", fmt.Sprintf("{name: all, limits: {concurrent: %d, tokens_per_day: 1000}", many), 1)
		w := newWorld(t, config)
		scope := w.limits.Scopes()[0]
		var ended atomic.Int64
		var wait sync.WaitGroup
		for range many {
			c := &instant{end: end, requests: []string{chat(body)}}
			c.then = func([]byte) {
				left := many - ended.Add(1)
				assert.LessOrEqual(t, scope.Standings(nil, time.Now())[1].Limit-scope.Standings(nil, time.Now())[1].Left, left)
			}
			wait.Go(func() { w.srv.attach(c).serve() })
		}
		w.followers(t, many)
		for range pieces[1:] {
			s.steps <- struct{}{}
		}
		wait.Wait()
		assert.EqualValues(t, many, ended.Load())
		assert.Equal(t, "tokens_per_day 10 concurrent 0", used(scope), "only one has asked a backend")
		w.assertLanded(t)
	}
	f(strings.Replace(zero, "{", `{"max_tokens":20,`, 1), "}}", "", jsonAnswer(whole))
	f(strings.Replace(zeroStream, "{", `{"max_tokens":20,`, 1), lastChunk, sseHead+chunkOf(ev1), chunkOf(evFin)+chunkOf(evUse)+chunkOf(evDone)+lastChunk)
}

// Who reads a large answer slowly holds its place until nearly all of it is read.
func TestSlowReaderHoldsItsPlace(t *testing.T) {
	large := jsonAnswer(`{"id":"` + strings.Repeat("x", 200_000) + `"}`)
	w := newWorld(t, strings.Replace(open("", newBackend(t, func(a *asked) bool { a.write(large); return true })), "{name: all", "{name: all, limits: {concurrent: 1}", 1))
	scope := w.limits.Scopes()[0]
	c := &instant{end: `"}`, requests: []string{chat(simple)}}
	held := map[int]string{} // when so many bytes were first written
	c.wrote = func() {
		if n := c.written.Len(); n > 0 && held[n] == "" {
			held[n] = used(scope)
		}
	}
	var most int
	c.then = func(text []byte) {
		most = len(text)
		for n, used := range held {
			if n < most {
				assert.Equal(t, "concurrent 1", used, "after %d bytes of %d", n, most)
			}
		}
	}
	w.srv.attach(c).serve()
	assert.Len(t, held, 3, "the head, most of it, the rest: %v", held)
	assert.Equal(t, "concurrent 0", held[most])
}

// The head of an answer that is in hand tells what is left behind it.
func TestHeadTellsWhatIsLeft(t *testing.T) {
	url := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(whole)); return true })
	w := newWorld(t, strings.Replace(open("", url), "{name: all", "{name: all, limits: {tokens_per_minute: 60, reserve: strict}", 1))
	left, err := strconv.Atoi(w.ask(t, chat(`{"model":"m","max_tokens":55,"messages":[]}`)).header.Get("X-Ratelimit-Remaining-Tokens"))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, left, 50, "10 of the 56 were used, and flow back at one a second")
}
