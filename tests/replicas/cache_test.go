//go:build integration && linux

package replicas

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	knownWhole  = `{"model":"m","temperature":0,"messages":[{"role":"user","content":"%s"}]}`
	knownStream = `{"model":"m","temperature":0,"stream":true,"messages":[{"role":"user","content":"%s"}]}`
)

// library is a world whose routers share the answers of a backend that numbers
// them.
type library struct {
	*world
	backend *httptest.Server
	calls   atomic.Int64
}

func newLibrary(t *testing.T, routers int, redis string) *library {
	l := &library{world: newWorld(t, routers, "{}", redis)}
	l.backend = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := l.calls.Add(1)
		text := fmt.Sprintf("answer %d%s", n, strings.Repeat(" words", 1000)) // enough to be compressed
		if !strings.Contains(string(body), `"stream":true`) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(rw, `{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`, text)
			return
		}
		rw.Header().Set("Content-Type", "text/event-stream")
		for word := range strings.FieldsSeq(text) {
			_, _ = fmt.Fprintf(rw, `data: {"id":"1","choices":[{"index":0,"delta":{"content":"%s "},"finish_reason":null}]}`+"\n\n", word)
		}
		_, _ = io.WriteString(rw, `data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n")
		_, _ = io.WriteString(rw, `data: {"id":"1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`+"\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(l.backend.Close)
	for _, r := range l.routers {
		l.configure(r)
	}
	return l
}

// configure has a router keep answers.
func (l *library) configure(r *router) {
	l.t.Helper()
	config := fmt.Sprintf(`
server: {lame_duck: 0s}
auth: {anonymous: all}
tenants: [{name: all}]
pools: [{name: p, health: off, ejection: off, backends: [{url: "%s"}]}]
models: [{name: m, targets: [{pool: p}], cache: {exact: 10m}}]
`+l.section+"\n", l.backend.URL, l.redis.URL())
	require.NoError(l.t, os.WriteFile(r.file, []byte(config), 0o600))
	resp, err := l.client.Post(r.admin+"/-/reload", "", nil)
	require.NoError(l.t, err)
	_ = resp.Body.Close()
	require.Equal(l.t, http.StatusOK, resp.StatusCode)
}

// ask returns the answer to a question, and what the cache had to do with it.
func (l *library) ask(r *router, body, control string) (text, result string, status int) {
	l.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.url, strings.NewReader(body))
	require.NoError(l.t, err)
	req.Header.Set("Content-Type", "application/json")
	if control != "" {
		req.Header.Set("Cache-Control", control)
	}
	resp, err := l.client.Do(req)
	require.NoError(l.t, err)
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	return string(all), resp.Header.Get("x-helixflow-cache"), resp.StatusCode
}

// asked is ask that says what must come of it.
func (l *library) asked(r *router, body, want string) (text string) {
	l.t.Helper()
	text, result, status := l.ask(r, body, "")
	require.Equal(l.t, http.StatusOK, status)
	require.Equal(l.t, want, result)
	return text
}

// knows reports whether a router has the answer.
func (l *library) knows(r *router, body string) bool {
	_, _, status := l.ask(r, body, "only-if-cached")
	return status == http.StatusOK
}

// awaitKnown waits until a router has the answer, or has not.
func (l *library) awaitKnown(r *router, body string, known bool) {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return l.knows(r, body) == known }, patience, 5*time.Millisecond)
}

// What one router was answered the others know, as it was and in the other form,
// until one of them is told to forget it.
func TestRepliesAreShared(t *testing.T) {
	l := newLibrary(t, 2, patiently)
	a, b := l.routers[0], l.routers[1]
	for n, form := range []string{knownWhole, knownStream} {
		body := fmt.Sprintf(form, "shared")
		if n == 1 {
			body = fmt.Sprintf(form, "shared as a stream")
		}
		first := l.asked(a, body, "miss")
		assert.Equal(t, first, l.asked(a, body, "hit"))
		l.awaitKnown(b, body, true)
		assert.Equal(t, first, l.asked(b, body, "hit"))
		other := strings.Replace(body, `"stream":true,`, "", 1)
		if n == 0 {
			other = strings.Replace(body, `"messages"`, `"stream":true,"messages"`, 1)
		}
		assert.Contains(t, l.asked(b, other, "hit"), "answer")
		assert.EqualValues(t, n+1, l.calls.Load())
	}

	body := fmt.Sprintf(knownWhole, "shared")
	out, err := exec.Command(binary, "cache", "purge", "--admin", b.admin, "--model", "m").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.False(t, l.knows(b, body))
	l.awaitKnown(a, body, false)
	late := l.start() // one that starts after the purge hears of it, too: Redis has the answer still
	l.configure(late)
	l.awaitKnown(late, body, false)
	assert.EqualValues(t, 2, l.calls.Load())
	l.asked(a, body, "miss")
	assert.EqualValues(t, 3, l.calls.Load())
	for _, r := range l.routers { // what came after the purge is everybody's
		l.awaitKnown(r, body, true)
	}
	assert.EqualValues(t, 3, l.calls.Load())
}

// Whatever stands in Redis in an answer's place, a router asks a backend.
func TestSpoiledReplies(t *testing.T) {
	l := newLibrary(t, 2, patiently)
	rdb := redis.NewClient(&redis.Options{Addr: l.redis.Address})
	t.Cleanup(func() { _ = rdb.Close() })
	ctx := context.Background()
	names := func() []string {
		list, err := rdb.Keys(ctx, "*answer:*").Result()
		require.NoError(t, err)
		slices.Sort(list)
		return list
	}
	foreign := func() float64 { return l.routers[1].metric(`helixflow_cache_shared_total{what="foreign"}`) }
	var other string // the value of another question
	one := func(what string, spoil func(value string) string) {
		t.Helper()
		before, calls := names(), l.calls.Load()
		body := fmt.Sprintf(knownWhole, what)
		l.asked(l.routers[0], body, "miss")
		var name string
		require.Eventually(t, func() bool {
			now := names()
			for _, n := range now {
				if !slices.Contains(before, n) {
					name = n
				}
			}
			return name != ""
		}, patience, time.Millisecond, what)
		value, err := rdb.Get(ctx, name).Result()
		require.NoError(t, err)
		require.NoError(t, rdb.Set(ctx, name, spoil(value), redis.KeepTTL).Err())
		text := l.asked(l.routers[1], body, "miss")
		assert.Contains(t, text, fmt.Sprintf("answer %d ", calls+2), what)
		other = value
	}
	f := func(what string, spoil func(value string) string) {
		t.Helper()
		was := foreign()
		for try := 0; foreign() == was; try++ { // a value that comes too late is not looked at
			require.Less(t, try, 20, "%s: no value was read", what)
			one(fmt.Sprint(what, ", ", try), spoil)
		}
		assert.EqualValues(t, was+1, foreign(), what)
	}
	f("cut", func(v string) string { return v[:len(v)-1] })
	f("empty", func(string) string { return "" })
	f("foreign", func(string) string { return "hello" })
	f("of another question", func(string) string { return other })
	f("of another version", func(v string) string { return "hfc0" + v[4:] })
	f("one bit", func(v string) string { return v[:200] + string(v[200]^1) + v[201:] })
	f("half a gigabyte that is none", func(v string) string { return v[:100] + strings.Repeat("\xff", 1<<20) })
	assert.Zero(t, l.routers[1].metric(`helixflow_cache_shared_total{what="hit"}`))
}

// Without Redis each router knows its own, at once.
func TestRepliesWithoutRedis(t *testing.T) {
	l := newLibrary(t, 2, "timeout: 20ms")
	body := fmt.Sprintf(knownWhole, "kept")
	l.asked(l.routers[0], body, "miss")
	l.redis.Stop()
	t.Cleanup(l.redis.Continue)
	l.asked(l.routers[0], body, "hit")
	var group sync.WaitGroup
	for n := range 50 {
		for _, r := range l.routers {
			group.Go(func() { assert.NotEmpty(t, l.asked(r, fmt.Sprintf(knownWhole, fmt.Sprint("without ", n)), "miss")) })
		}
	}
	group.Wait()
	for _, r := range l.routers {
		for n := range 50 {
			l.asked(r, fmt.Sprintf(knownWhole, fmt.Sprint("without ", n)), "hit")
		}
	}
	assert.EqualValues(t, 101, l.calls.Load())
}
