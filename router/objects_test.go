package router

// Where objects live: requests follow them to pool, endpoint and credential, and
// are sent again only where that makes nothing twice.

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/accesslog"
	"github.com/helixflow/helixflow/internal/objects"
)

const twoPools = `
pools:
  - {name: keep, balance: round_robin, health: off, backends: [{url: "KEEP"}, {url: "MORE"}]}
  - {name: other, health: off, backends: [{url: "LAST"}]}
models:
  - name: m
    targets: [{pool: other}, {pool: keep}]
    timeouts: {connect: 20s}
  - name: other
    targets: [{pool: other}]
    timeouts: {connect: 20s}
passthrough:
  - {prefix: /v1/files, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/batches, pool: other, timeouts: {connect: 20s}}
`

// TestHomes: a request goes where its object lives, whatever its route says, and
// nowhere else.
func TestHomes(t *testing.T) {
	var keepers [3]*keeper
	var urls []string
	for i := range keepers {
		keepers[i] = newKeeper(t, map[string]string{
			"POST /v1/files":     fmt.Sprintf(`{"id":"file-%d"}`, i),
			"POST /v1/responses": fmt.Sprintf(`{"id":"resp_%d"}`, i),
			"POST /v1/batches":   `{"id":"file-0"}`, // which is another one's name elsewhere
		})
		urls = append(urls, keepers[i].url)
	}
	s := newShop(t, twoPools, urls...)
	goes := func(want int, a answer) {
		t.Helper()
		assert.Equal(t, 200, a.status, a.body)
		for i, k := range keepers {
			n := 0
			if i == want {
				n = 1
			}
			assert.Len(t, k.heard(), n, "backend %d", i)
		}
	}
	for range 2 {
		require.Equal(t, 200, s.post(t, "acme", "/v1/files", "").status)
	}
	for _, k := range keepers {
		k.heard()
	}
	for range 3 {
		goes(0, s.get(t, "acme", "/v1/files/file-0/content"))
		goes(1, s.get(t, "acme", "/v1/files/file-1"))
		goes(0, s.post(t, "acme", "/v1/chat/completions", `{"model":"m","x":{"file_id":"file-0"}}`))
		goes(1, s.post(t, "acme", "/v1/chat/completions", `{"model":"m","x":{"file_id":"file-1"}}`))
	}
	// A route that does not lead there does not know it, whatever the same id is elsewhere.
	requireError(t, s.post(t, "acme", "/v1/chat/completions", `{"model":"other","x":{"file_id":"file-0"}}`), 404, "object_not_found")
	require.Equal(t, 200, s.post(t, "beta", "/v1/batches", "").status)
	keepers[2].heard()
	requireError(t, s.get(t, "beta", "/v1/files/file-0"), 404, "object_not_found")
	goes(2, s.get(t, "beta", "/v1/batches/file-0"))
	goes(0, s.get(t, "acme", "/v1/files/file-0"))

	// To be bound to a later priority does not make others go there.
	prior := strings.Replace(twoPools, "targets: [{pool: other}, {pool: keep}]", "targets: [{pool: other}, {pool: keep, priority: 2}]\n    fallback_hold: 1h", 1)
	s.srv.Publish(s.compile(t, s.config(t, prior, urls...)))
	goes(0, s.post(t, "acme", "/v1/chat/completions", `{"model":"m","x":{"file_id":"file-0"}}`))
	goes(2, s.post(t, "acme", "/v1/chat/completions", `{"model":"m"}`))
	s.srv.Publish(s.compile(t, s.config(t, twoPools, urls...)))

	// A conversation stays where it began, wherever a route would rather go.
	for i := range 6 {
		a := s.post(t, "acme", "/v1/responses", `{"model":"m","input":"x"}`)
		require.Equal(t, 200, a.status)
		began := int(a.body[len(`{"id":"resp_`)] - '0')
		for _, k := range keepers {
			k.heard()
		}
		goes(began, s.post(t, "acme", "/v1/responses", fmt.Sprintf(`{"model":"m","input":"x","previous_response_id":"resp_%d","store":%v}`, began, i%2 == 0)))
		requireError(t, s.post(t, "beta", "/v1/responses", fmt.Sprintf(`{"model":"m","input":"x","previous_response_id":"resp_%d"}`, began)), 404, "object_not_found")
	}
	// Objects of two homes cannot be had at once; one endpoint has the say.
	goes(1, s.post(t, "acme", "/v1/chat/completions", `{"model":"m","x":{"file_ids":["file-1","file-0"]}}`))
}

// TestStore: what is not stored is not recorded.
func TestStore(t *testing.T) {
	k := newKeeper(t, map[string]string{"POST /v1/responses": `{"object":"response","id":"resp_1","output":[{"id":"msg_1"},{"type":"code_interpreter_call","container_id":"cntr_1"}]}`})
	s := newShop(t, shopConfig, k.url)
	known := func(id string) bool {
		_, whose := s.srv.objects.Find("keep", "acme", []byte(id), time.Now())
		return whose == objects.Own
	}
	require.Equal(t, 200, s.post(t, "acme", "/v1/responses", `{"model":"m","input":"x","store":false}`).status)
	assert.Zero(t, s.srv.objects.Len())
	require.Equal(t, 200, s.post(t, "acme", "/v1/chat/completions", `{"model":"m","messages":[],"store":true}`).status)
	assert.Zero(t, s.srv.objects.Len())
	require.Equal(t, 200, s.post(t, "acme", "/v1/responses", `{"model":"m","input":"x"}`).status)
	assert.True(t, known("resp_1") && known("msg_1") && known("cntr_1"))

	k.mu.Lock()
	k.script["POST /v1/responses"] = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_2\",\"output\":[]}}\n\n" +
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_2\",\"output\":[{\"id\":\"msg_2\"}]}}\n\n"
	k.mu.Unlock()
	a := s.post(t, "acme", "/v1/responses", `{"model":"m","input":"x","stream":true}`)
	require.NoError(t, a.err)
	assert.True(t, known("resp_2") && known("msg_2"))
	require.Equal(t, 200, s.get(t, "acme", "/v1/responses/resp_2").status)
	k.heard()
	hidden(t, k, s.get(t, "beta", "/v1/responses/resp_2"), 404, "object_not_found")
	item := `{"model":"m","stream":true,"input":[{"type":"item_reference","id":"msg_2"}]}`
	assert.Equal(t, 200, s.post(t, "acme", "/v1/responses", item).status)
	k.heard()
	hidden(t, k, s.post(t, "beta", "/v1/responses", item), 404, "object_not_found")
}

// TestHomeOut: an object whose backend is out is not looked for elsewhere; one
// whose backend has left the plan is.
func TestHomeOut(t *testing.T) {
	a, b, c := newKeeper(t, map[string]string{"POST /v1/files": `{"id":"file-0"}`}), newKeeper(t, map[string]string{"POST /v1/files": `{"id":"file-1"}`}), newKeeper(t, nil)
	s := newShop(t, twoPools, a.url, b.url, c.url)
	for range 2 {
		require.Equal(t, 200, s.post(t, "acme", "/v1/files", "").status)
	}
	a.heard()
	b.heard()
	require.NoError(t, s.fleet.Drain("keep", a.url))
	got := s.get(t, "acme", "/v1/files/file-0")
	requireError(t, got, 503, "no_backend_available")
	assert.Equal(t, "true", got.header.Get("X-Should-Retry"))
	assert.NotEmpty(t, got.header.Get("Retry-After"))
	assert.Empty(t, a.heard())
	assert.Empty(t, b.heard())
	assert.Equal(t, 200, s.get(t, "acme", "/v1/files/file-1").status)
	b.heard()

	left := strings.Replace(twoPools, `{url: "KEEP"}, `, "", 1)
	s.srv.Publish(s.compile(t, s.config(t, left, a.url, b.url, c.url)))
	assert.Equal(t, 200, s.get(t, "acme", "/v1/files/file-0").status)
	assert.Equal(t, []string{"GET /v1/files/file-0"}, b.heard())

	// A pool that is gone takes its objects with it, also if another one has its prefix.
	gone := strings.NewReplacer("/v1/files, pool: keep", "/v1/files, pool: other", ", {pool: keep}", "").Replace(twoPools)
	gone = gone[:strings.Index(gone, "  - {name: keep")] + gone[strings.Index(gone, "  - {name: other"):]
	s.srv.Publish(s.compile(t, s.config(t, gone, a.url, b.url, c.url)))
	hidden(t, c, s.get(t, "acme", "/v1/files/file-0"), 404, "object_not_found")
	none := gone[:strings.Index(gone, "passthrough:")]
	s.srv.Publish(s.compile(t, s.config(t, none, a.url, b.url, c.url)))
	hidden(t, c, s.get(t, "acme", "/v1/files/file-0"), 404, "unknown_url")
}

// TestPassthroughRetries: what may have made something is never sent again, but
// where it cannot have arrived; what only looks is.
func TestPassthroughRetries(t *testing.T) {
	busy := newKeeper(t, nil)
	bad := newBackend(t, func(a *asked) bool { return false })
	dead := "http://127.0.0.1:1"
	f := func(first, method string, status int, heard int) {
		t.Helper()
		config := strings.Replace(twoPools, "health: off, backends: [{url: \"KEEP\"}", "health: off, ejection: off, tenant: boss, backends: [{url: \"KEEP\"}", 1)
		s := newShop(t, config, first, busy.url, dead)
		before := len(busy.heard())
		worst := 200
		for range 2 { // in turn: one of them meets the first backend first
			worst = max(worst, s.as(t, "boss", method, "/v1/files/file-old", asJSON, "").status)
		}
		assert.Equal(t, status, worst, method)
		assert.Equal(t, heard, len(busy.heard())-before, method)
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		f(dead, method, 200, 2)
	}
	f(bad, "GET", 200, 2)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		f(bad, method, 502, 1)
	}
	limited := newBackend(t, func(a *asked) bool {
		a.write("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	f(limited, "GET", 200, 2)
	f(limited, "POST", 429, 1)
}

// TestCredentialsOfObjects: an object is asked for with the credential that it was
// made with.
func TestCredentialsOfObjects(t *testing.T) {
	var mu sync.Mutex
	made := map[string]string{} // the credential of each file
	url := newBackend(t, func(a *asked) bool {
		mu.Lock()
		defer mu.Unlock()
		who := a.req.Header.Get("Authorization")
		if a.req.Method == "POST" {
			id := fmt.Sprint("file-", len(made))
			made[id] = who
			a.write(jsonAnswer(`{"id":"` + id + `"}`))
			return true
		}
		if made[a.req.URL.Path[len("/v1/files/"):]] != who {
			a.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			return true
		}
		a.write(jsonAnswer(`{}`))
		return true
	})
	s := newShop(t, strings.Replace(shopConfig, "tenant: boss,", "tenant: boss, keys: [a, b, c],", 1), url)
	for range 7 {
		require.Equal(t, 200, s.post(t, "acme", "/v1/files", "").status)
	}
	for i := range 7 {
		for range 2 {
			assert.Equal(t, 200, s.get(t, "acme", fmt.Sprint("/v1/files/file-", i)).status)
		}
	}
}

// TestPassthroughIsCounted: by its prefix, never by what is below it.
func TestPassthroughIsCounted(t *testing.T) {
	k := newKeeper(t, map[string]string{
		"GET /v1/files/file-1":      `{"usage":{"prompt_tokens":5}}`,
		"POST /v1/chat/completions": "event: x\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n",
	})
	s := newShop(t, shopConfig, k.url)
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := accesslog.Open(path, accesslog.Options{Sample: 1})
	require.NoError(t, err)
	s.srv.SetAccess(log)
	require.Equal(t, 200, s.post(t, "acme", "/v1/chat/completions", `{"model":"m","messages":[],"stream":true}`).status)
	require.Equal(t, 200, s.get(t, "boss", "/v1/files/file-1").status)
	requireError(t, s.get(t, "acme", "/v1/files/file-1"), 404, "object_not_found")
	auth := "Authorization: Bearer " + s.keys["acme"]
	c := s.dial(t) // one connection, so that requests are likely to follow each other on what is pooled
	br := bufio.NewReader(c)
	for range 20 {
		for _, raw := range []string{chat(`{"model":"m","messages":[],"stream":true}`, auth), "GET /v1/models HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n\r\n"} {
			_, err := io.WriteString(c, raw)
			require.NoError(t, err)
			require.Equal(t, 200, readAnswer(t, br).status)
		}
	}
	require.Eventually(t, func() bool { return s.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
	s.srv.SetAccess(nil)
	require.NoError(t, log.Close())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 43, strings.Count(string(text), "\n"))
	assert.Contains(t, string(text), `"endpoint":"passthrough","prefix":"/v1/files","model":"none","backend":"`+k.url+`","stream":false,"status":200`)
	assert.Contains(t, string(text), `"endpoint":"passthrough","prefix":"/v1/files","model":"none","stream":false,"status":404,"error":"object_not_found"`)
	assert.NotContains(t, string(text), "file-1")
	assert.NotContains(t, string(text), `"asked"`, "what another request named")
	assert.NotContains(t, string(text), "tokens")
	var metrics strings.Builder
	s.metrics.WritePrometheus(&metrics)
	assert.Contains(t, metrics.String(), `helixflow_requests_total{endpoint="passthrough",model="none",stream="false",code="200"} 1`)
	assert.Contains(t, metrics.String(), `helixflow_requests_total{endpoint="passthrough",model="none",stream="false",code="404"} 1`)
	assert.Contains(t, metrics.String(), `helixflow_requests_total{endpoint="models",model="other",stream="false",code="200"} 20`)
}
