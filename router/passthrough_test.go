package router

// Class D from socket to socket: who may name what, where it goes, what becomes
// of bodies and answers.

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/authn"
	"github.com/helixflow/helixflow/internal/objects"
)

// keeper is a backend that answers what its script says for a method and path,
// "{}" for what is not in it, and notes what it was asked.
type keeper struct {
	url    string
	mu     sync.Mutex // guards the fields below
	script map[string]string
	asked  []string // method, path and query; and the body behind a space
	heads  []http.Header
}

func newKeeper(t testing.TB, script map[string]string) *keeper {
	t.Helper()
	k := &keeper{script: script}
	s := httptest.NewServer(http.HandlerFunc(k.answer))
	t.Cleanup(s.Close)
	k.url = s.URL
	return k
}

func (k *keeper) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	what := r.Method + " " + r.URL.RequestURI()
	k.asked = append(k.asked, strings.TrimSuffix(what+" "+string(body), " "))
	k.heads = append(k.heads, r.Header)
	text, ok := k.script[what]
	if !ok {
		text = "{}"
	}
	status, text, ok := strings.Cut(text, "|")
	if !ok {
		status, text = "200", status
	}
	n := 0
	_, _ = fmt.Sscan(status, &n)
	switch {
	case strings.HasPrefix(text, "event: "):
		w.Header().Set("Content-Type", "text/event-stream")
	case strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		w.Header().Set("Content-Type", "application/json")
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	if n != http.StatusNoContent {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	}
	w.WriteHeader(n)
	_, _ = io.WriteString(w, text)
}

// heard is what the backend was asked since the last call.
func (k *keeper) heard() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.asked
	k.asked, k.heads = nil, nil
	return list
}

// shop is a world with three tenants, acme, beta and boss, whose account the pool
// keep is.
type shop struct {
	*world
	keys map[string]string
}

// newShop serves the configuration behind its tenants, with KEEP and MORE for
// their URLs.
func newShop(t testing.TB, config string, urls ...string) *shop {
	t.Helper()
	s := &shop{keys: map[string]string{}}
	s.world = newWorld(t, s.config(t, config, urls...))
	return s
}

func (s *shop) config(t testing.TB, config string, urls ...string) string {
	t.Helper()
	list := "tenants:\n"
	for _, name := range []string{"acme", "beta", "boss", "poor"} {
		k, err := authn.Generate("test", rand.Reader)
		require.NoError(t, err)
		hash, err := authn.Hash(k.Text.Reveal(), nil)
		require.NoError(t, err)
		s.keys[name] = k.Text.Reveal()
		models := ""
		if name == "poor" {
			models = "models: [m], "
		}
		list += fmt.Sprintf("  - {name: %s, %skeys: [{name: k, hash: \"%s\"}]}\n", name, models, hash)
	}
	for i, name := range []string{"KEEP", "MORE", "LAST"} {
		if i < len(urls) {
			config = strings.ReplaceAll(config, name, urls[i])
		}
	}
	return list + config
}

const shopConfig = `
server: {max_body: 1MiB, max_upload: 8MiB}
pools:
  - {name: keep, tenant: boss, backends: [{url: "KEEP"}]}
models:
  - {name: m, targets: [{pool: keep}], timeouts: {connect: 20s}}
passthrough:
  - {prefix: /v1/files, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/batches, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/vector_stores, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/responses, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/threads, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/uploads, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/videos, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/models, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /v1/fine_tuning, pool: keep, timeouts: {connect: 20s}}
  - {prefix: /api, pool: keep, shared: true, timeouts: {connect: 20s}}
`

// as sends a request of a tenant.
func (s *shop) as(t testing.TB, tenant, method, path, contentType, body string) answer {
	t.Helper()
	raw := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n", method, path, s.keys[tenant])
	if contentType != "" {
		raw += "Content-Type: " + contentType + "\r\n"
	}
	if body != "" || method == "POST" {
		raw += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return s.ask(t, raw+"\r\n"+body)
}

func (s *shop) get(t testing.TB, tenant, path string) answer {
	t.Helper()
	return s.as(t, tenant, "GET", path, "", "")
}

func (s *shop) post(t testing.TB, tenant, path, body string) answer {
	t.Helper()
	return s.as(t, tenant, "POST", path, "application/json", body)
}

const asJSON = "application/json"

// hidden holds an answer to what a tenant reads about objects of others, and the
// backend to having heard nothing.
func hidden(t testing.TB, k *keeper, a answer, status int, code string) {
	t.Helper()
	requireError(t, a, status, code)
	assert.Empty(t, k.heard(), "a backend was asked")
}

func TestObjectsOfTenants(t *testing.T) {
	k := newKeeper(t, map[string]string{
		"POST /v1/batches":          `{"id":"batch_1","object":"batch","output_file_id":null}`,
		"GET /v1/batches/batch_1":   `{"id":"batch_1","object":"batch","output_file_id":"file-out","error_file_id":"file-err"}`,
		"POST /v1/vector_stores":    `{"id":"vs_1"}`,
		"GET /v1/files/file-out":    `{"id":"file-out"}`,
		"DELETE /v1/files/file-out": `{"id":"file-out","deleted":true}`,
	})
	s := newShop(t, shopConfig, k.url)
	for _, path := range []string{"/v1/batches/batch_1", "/v1/files/file-out", "/batches/batch_1/cancel", "/v1/vector_stores/vs_1/files", "/v1/batches/" + strings.Repeat("x", 10_000)} {
		hidden(t, k, s.get(t, "acme", path), 404, "object_not_found")
	}
	require.Equal(t, 200, s.post(t, "acme", "/v1/batches", `{"endpoint":"/v1/responses"}`).status)
	assert.Equal(t, []string{`POST /v1/batches {"endpoint":"/v1/responses"}`}, k.heard())

	// Foreign and unknown read the same.
	foreign, unknown := s.get(t, "beta", "/v1/batches/batch_1"), s.get(t, "beta", "/v1/batches/batch_2")
	hidden(t, k, foreign, 404, "object_not_found")
	assert.Equal(t, foreign.body, unknown.body)
	assert.Contains(t, foreign.body, `"param":"id"`)

	// What came of it is known once its owner has seen it.
	hidden(t, k, s.get(t, "acme", "/v1/files/file-out/content"), 404, "object_not_found")
	assert.Equal(t, 200, s.get(t, "acme", "/batches/batch_1?x=y").status)
	require.Equal(t, 200, s.get(t, "acme", "/v1/batches/batch_1").status)
	assert.Equal(t, []string{"GET /v1/batches/batch_1?x=y", "GET /v1/batches/batch_1"}, k.heard())
	for _, path := range []string{"/v1/files/file-out", "/v1/files/file-err/content", "/v1/batches/batch_1/cancel"} {
		hidden(t, k, s.get(t, "beta", path), 404, "object_not_found")
		assert.Equal(t, 200, s.get(t, "acme", path).status)
		k.heard()
	}

	// Deleted is forgotten.
	assert.Equal(t, 200, s.as(t, "acme", "DELETE", "/v1/files/file-out", "", "").status)
	assert.Equal(t, []string{"DELETE /v1/files/file-out"}, k.heard())
	hidden(t, k, s.get(t, "acme", "/v1/files/file-out"), 404, "object_not_found")

	// Below one's own, parts need not be known; others' are refused all the same.
	require.Equal(t, 200, s.post(t, "beta", "/v1/vector_stores", `{}`).status)
	assert.Equal(t, 200, s.get(t, "beta", "/v1/vector_stores/vs_1/files/file-unknown").status)
	assert.Equal(t, 200, s.as(t, "beta", "DELETE", "/v1/vector_stores/vs_1/files/file-unknown", "", "").status)
	assert.Equal(t, 200, s.get(t, "beta", "/v1/vector_stores/vs_1/newly-invented/x").status)
	k.heard()
	hidden(t, k, s.get(t, "beta", "/v1/vector_stores/vs_1/files/file-err"), 404, "object_not_found")
	hidden(t, k, s.get(t, "acme", "/v1/vector_stores/vs_1/files/file-err"), 404, "object_not_found")
	assert.NotContains(t, s.log.String(), "panic")
}

func TestListing(t *testing.T) {
	k := newKeeper(t, map[string]string{"POST /v1/files": `{"id":"file-1"}`})
	s := newShop(t, shopConfig, k.url)
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
		hidden(t, k, s.as(t, "acme", method, "/v1/files?limit=1", "", ""), 403, "list_forbidden")
		assert.Equal(t, 200, s.as(t, "boss", method, "/v1/files", "", "").status)
		k.heard()
	}
	hidden(t, k, s.get(t, "acme", "/v1/fine_tuning/jobs"), 403, "list_forbidden")
	hidden(t, k, s.get(t, "acme", "/v1/responses"), 403, "list_forbidden")

	// Whose account it is names what nobody has, and what somebody has no more than others do.
	assert.Equal(t, 200, s.get(t, "boss", "/v1/files/file-old").status)
	require.Equal(t, 200, s.post(t, "acme", "/v1/files", "").status)
	k.heard()
	hidden(t, k, s.get(t, "boss", "/v1/files/file-1"), 404, "object_not_found")
}

// TestOnlyTenant: where there is but one, every account is its own.
func TestOnlyTenant(t *testing.T) {
	k := newKeeper(t, nil)
	w := newWorld(t, open("", k.url)+"passthrough: [{prefix: /v1/files, pool: p, timeouts: {connect: 20s}}]\n")
	for _, path := range []string{"/v1/files", "/v1/files/file-old"} {
		assert.Equal(t, 200, w.ask(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n").status)
	}
	a := w.ask(t, postTo("/v1/responses", `{"model":"m","input":"x","previous_response_id":"resp_old"}`))
	assert.Equal(t, 200, a.status, a.body)
}

func TestReferencesInBodies(t *testing.T) {
	k := newKeeper(t, map[string]string{
		"POST /v1/files":         `{"id":"file-acme"}`,
		"POST /v1/vector_stores": `{"id":"vs_beta"}`,
	})
	s := newShop(t, shopConfig, k.url)
	require.Equal(t, 200, s.post(t, "acme", "/v1/files", "").status)
	require.Equal(t, 200, s.post(t, "beta", "/v1/vector_stores", "").status)
	k.heard()
	f := func(path, body, param string) {
		t.Helper()
		a := s.post(t, "beta", path, body)
		hidden(t, k, a, 404, "object_not_found")
		if param == "" {
			assert.Contains(t, a.body, `"param":null`)
		} else {
			assert.Contains(t, a.body, `"param":"`+param+`"`)
		}
	}
	chatTo := "/v1/chat/completions"
	f("/v1/batches", `{"input_file_id":"file-acme"}`, "input_file_id")
	f("/v1/batches", `{"input_file_id":"unknown"}`, "input_file_id")
	f("/v1/vector_stores", `{"file_ids":["file-acme"]}`, "file_ids")
	f("/v1/vector_stores/vs_beta/files", `{"file_id":"file-acme"}`, "file_id")
	f("/v1/vector_stores/vs_beta/files", `{"\u0066ile_id":"file\u002dacme"}`, "file_id")
	f("/v1/vector_stores/vs_beta/files", `{"metadata":{},"x":{"something_id":"file-acme"}}`, "")
	f(chatTo, `{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-acme"}}]}]}`, "file_id")
	f("/v1/responses", `{"model":"m","input":[{"type":"item_reference","id":"msg_acme"}]}`, "input")
	f("/v1/responses", `{"model":"m","input":"x","tools":[{"type":"file_search","vector_store_ids":["vs_beta","vs_acme"]}]}`, "vector_store_ids")
	f("/v1/responses", `{"model":"m","input":"x","previous_response_id":"resp_acme"}`, "previous_response_id")
	f("/v1/responses", `{"model":"m","input":"x","conversation":"conv_acme"}`, "conversation")
	f("/v1/responses", `{"model":"m","input":"x","conversation":{"id":"acme's"}}`, "conversation")
	f("/v1/responses/input_tokens", `{"model":"m","input":"x","previous_response_id":"resp_acme"}`, "previous_response_id")
	f("/v1/responses/compact", `{"model":"m","input":"x","previous_response_id":"resp_acme"}`, "previous_response_id")
	f("/v1/videos", `{"model":"m","input_reference":{"file_id":"file-acme"}}`, "file_id")
	f("/v1/videos", `{"input_reference":{"file_id":"file-acme"}}`, "file_id")

	g := func(path, body string) {
		t.Helper()
		assert.Equal(t, 200, s.post(t, "acme", path, body).status)
		assert.Len(t, k.heard(), 1)
	}
	g("/v1/batches", `{"input_file_id":"file-acme","metadata":{"file_id":"file-others","n":1}}`)
	g(chatTo, `{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-acme"}},{"type":"text","text":"file-others"}]}]}`)
	g("/api/anything", `{"file_id":"file-others"}`)
	g("/v1/videos", `{"prompt":"no model","input_reference":{"file_id":"file-acme"}}`)

	// in queries, too
	for _, query := range []string{"file_id=file-acme", "x=y&file_ids[]=unknown", "x=%66ile-acme;some%5Fid=file-acme", "FILE_ID=x+y"} {
		hidden(t, k, s.post(t, "beta", "/v1/batches?"+query, `{}`), 404, "object_not_found")
	}
	hidden(t, k, s.post(t, "beta", "/v1/batches?file_id=%zz", `{}`), 400, "")
	assert.Equal(t, 200, s.post(t, "acme", "/v1/batches?file_id=file-acme&after=file-others&limit=20&order=desc", `{}`).status)
	k.heard()

	// A tenant that may use some models may not name others here.
	assert.Equal(t, 200, s.post(t, "poor", "/v1/batches", `{"model":"m"}`).status)
	k.heard()
	hidden(t, k, s.post(t, "poor", "/v1/batches", `{"model":"gpt-4o"}`), 403, "model_not_allowed")
	hidden(t, k, s.post(t, "poor", "/api/generate", `{"mod\u0065l":"gpt-4o"}`), 403, "model_not_allowed")
}

func TestBodiesPassed(t *testing.T) {
	k := newKeeper(t, map[string]string{"POST /v1/files": `{"id":"file-1"}`, "POST /v1/uploads": `{"id":"upload_1"}`})
	s := newShop(t, shopConfig, k.url)
	f := func(contentType, body string, status int, code string) {
		t.Helper()
		a := s.as(t, "acme", "POST", "/v1/files", contentType, body)
		if code != "" {
			hidden(t, k, a, status, code)
			return
		}
		assert.Equal(t, status, a.status, a.body)
		assert.Equal(t, []string{strings.TrimSuffix("POST /v1/files "+body, " ")}, k.heard())
	}
	f(asJSON, `{"a": 1}`, 200, "")
	f(asJSON+"; charset=utf-8", `[1, 2]`, 200, "")
	f("application/vnd.api+json", `"x"`, 200, "")
	f("", `{}`, 200, "")
	f("", "", 200, "")
	f(asJSON, "", 200, "")
	f("text/plain", "plain", 200, "")
	f("application/octet-stream", "\x00\x01", 200, "")
	f(asJSON, `{"a":1,}`, 400, "invalid_json")
	f(asJSON, `{} {}`, 400, "invalid_json")
	f(asJSON, "\xef\xbb\xbf{}", 400, "invalid_json")
	f("", `plain`, 400, "invalid_json")
	f("text/plain", ` {"file_id":"file-others"}`, 415, "unsupported_media_type")
	f("application/octet-stream", "\xff\xfe{\x00}\x00", 415, "unsupported_media_type")
	f("application/x-www-form-urlencoded", "file_id=file-others", 415, "unsupported_media_type")
	f("Multipart/mixed; boundary=x", "--x\r\n\r\n--x--", 415, "unsupported_media_type")
	f(asJSON, `{"a":"`+strings.Repeat("x", 1<<20)+`"}`, 413, "request_too_large")
	f("text/plain", strings.Repeat("x", 8<<20+1), 413, "request_too_large")
	f("multipart/form-data", "x", 400, "invalid_multipart")
	hidden(t, k, s.ask(t, "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+s.keys["acme"]+"\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"), 415, "unsupported_media_type")
	big := strings.Repeat("0123456789abcdef", 4<<16) // 4 MiB
	f("text/plain", big, 200, "")

	// A method that wants none sends none.
	a := s.as(t, "boss", "GET", "/v1/files", asJSON, `{"file_id":"x"}`)
	assert.Equal(t, 200, a.status)
	assert.Equal(t, []string{"GET /v1/files"}, k.heard())
	a = s.as(t, "boss", "DELETE", "/v1/files/file-2", asJSON, `{"really":true}`)
	assert.Equal(t, 200, a.status)
	assert.Equal(t, []string{`DELETE /v1/files/file-2 {"really":true}`}, k.heard())
	requireError(t, s.as(t, "boss", "TRACE", "/v1/files", "", ""), 405, "method_not_allowed")
	a = s.ask(t, "OPTIONS /v1/files/x HTTP/1.1\r\nHost: x\r\n\r\n")
	assert.Equal(t, 204, a.status)
	assert.Equal(t, anyMethod, a.header.Get("Allow"))

	// What would make another request of it stays here.
	raw := "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.keys["acme"] + "\r\nX-HTTP-Method-Override: GET\r\nOpenAI-Beta: assistants=v2\r\nContent-Length: 0\r\n\r\n"
	require.Equal(t, 200, s.ask(t, raw).status)
	assert.Empty(t, k.heads[0].Get("X-Http-Method-Override"))
	assert.Equal(t, "assistants=v2", k.heads[0].Get("Openai-Beta"))
	assert.Equal(t, "0", k.heads[0].Get("Content-Length"))
	assert.Empty(t, k.heads[0].Get("Authorization"))
}

// TestFormsPassed: the fields of a form are looked at like the keys of JSON,
// wherever they stand; a form that is refused never arrives whole.
func TestFormsPassed(t *testing.T) {
	k := newKeeper(t, map[string]string{"POST /v1/files": `{"id":"file-acme"}`})
	s := newShop(t, shopConfig, k.url)
	form := func(size int, fields ...string) string {
		var b strings.Builder
		for i, f := range fields {
			name, value, _ := strings.Cut(f, "=")
			if name == "file" {
				b.WriteString("--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n" + strings.Repeat("f", size) + "\r\n")
				continue
			}
			fmt.Fprintf(&b, "--XyZ\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", name, value)
			_ = i
		}
		return b.String() + "--XyZ--\r\n"
	}
	const ct = "multipart/form-data; boundary=XyZ"
	upload := func(tenant, path, body string) answer {
		t.Helper()
		return s.as(t, tenant, "POST", path, ct, body)
	}
	for _, size := range []int{10, 300 << 10, 5 << 20} {
		body := form(size, "purpose=batch", "file")
		require.Equal(t, 200, upload("acme", "/v1/files", body).status)
		assert.Equal(t, []string{"POST /v1/files " + body}, k.heard())

		assert.Equal(t, 200, upload("acme", "/v1/files", form(size, "file_id=file-acme", "file", "file_ids[]=file-acme")).status)
		k.heard()
		for _, fields := range [][]string{
			{"file_id=file-acme", "file"}, {"file", "file_id=file-acme"}, {"file", "x[file_ids][]=unknown"}, {"file", "some_id=vs_1"}, {"file", "file_id=" + strings.Repeat("x", 9000)},
		} {
			a := upload("beta", "/v1/files", form(size, fields...))
			hidden(t, k, a, 404, "object_not_found")
		}
		a := upload("poor", "/v1/files", form(size, "file", "model=gpt-4o"))
		hidden(t, k, a, 403, "model_not_allowed")
		assert.Equal(t, 200, upload("poor", "/v1/files", form(size, "file", "model=m")).status)
		k.heard()

		// of a path that a model decides, too
		hidden(t, k, upload("beta", "/v1/videos", form(size, "model=m", "input_reference[file_id]=file-acme", "file")), 404, "object_not_found")
		hidden(t, k, upload("beta", "/v1/videos", form(size, "model=m", "file", "input_reference[file_id]=file-acme")), 404, "object_not_found")
		hidden(t, k, upload("beta", "/v1/videos", form(size, "input_reference[file_id]=file-acme", "file")), 404, "object_not_found")
		assert.Equal(t, 200, upload("acme", "/v1/videos", form(size, "file", "model=m", "input_reference[file_id]=file-acme")).status)
		assert.Equal(t, 200, upload("acme", "/v1/videos", form(size, "file")).status)
		k.heard()
	}
	hidden(t, k, upload("acme", "/v1/files", form(9, strings.Fields(strings.Repeat("file_id=file-acme ", maxHeld+1))...)), 400, "invalid_multipart")
	assert.NotContains(t, s.log.String(), "panic")
	assert.NotContains(t, s.log.String(), "backend failed")
}

func TestAnswersPassed(t *testing.T) {
	huge := `{"id":"file-huge","x":"` + strings.Repeat("x", 1<<20) + `"}`
	content := strings.Repeat("0123456789abcdef", 3<<16)
	k := newKeeper(t, map[string]string{
		"POST /v1/files":                     `{"id":"file-1","bytes":7}`,
		"POST /v1/uploads":                   `201|{"id":"upload_1"}`,
		"POST /v1/uploads/upload_1/complete": `{"id":"upload_1","file":{"id":"file-whole"}}`,
		"POST /v1/batches":                   huge,
		"POST /v1/vector_stores":             `not JSON "id":"vs_1"`,
		"POST /v1/fine_tuning/jobs":          `{"no":"id"}`,
		"GET /v1/files/file-1/content":       content,
		"GET /v1/files/file-1":               `404|{"detail":"as it is"}`,
		"DELETE /v1/files/file-1":            `500|{"id":"file-1"}`,
		"GET /v1/files/file-whole/content":   `{"id":"file-laundered","output_file_id":"file-laundered","file":{"id":"file-laundered"}}`,
		"GET /v1/files/file-whole":           `{"id":"file-whole","output_file_id":"file-laundered"}`,
		"POST /v1/threads/runs":              "event: thread.created\ndata: {\"id\":\"thread_1\"}\n\nevent: thread.run.created\ndata: {\"id\":\"run_1\",\"thread_id\":\"thread_1\"}\n\nevent: done\ndata: [DONE]\n\n",
		"GET /v1/threads/thread_1/runs/r":    "204|",
	})
	s := newShop(t, shopConfig, k.url)
	known := func(id string, want bool) {
		t.Helper()
		_, whose := s.srv.objects.Find("keep", "acme", []byte(id), time.Now())
		assert.Equal(t, want, whose == objects.Own, id)
	}
	require.Equal(t, 200, s.post(t, "acme", "/v1/files", "").status)
	require.Equal(t, 201, s.post(t, "acme", "/v1/uploads", "").status)
	require.Equal(t, 200, s.post(t, "acme", "/v1/uploads/upload_1/complete", `{"part_ids":["part_1"]}`).status)
	known("file-whole", true)
	a := s.post(t, "acme", "/v1/batches", "")
	assert.True(t, a.body == huge, "another answer came")
	known("file-huge", true)
	assert.Equal(t, `not JSON "id":"vs_1"`, s.post(t, "acme", "/v1/vector_stores", "").body)
	known("vs_1", false)
	assert.Equal(t, 200, s.post(t, "acme", "/v1/fine_tuning/jobs", "").status)

	a = s.get(t, "acme", "/v1/files/file-1/content")
	assert.True(t, a.body == content, "another content came")
	assert.Equal(t, fmt.Sprint(len(content)), a.header.Get("Content-Length"))
	a = s.get(t, "acme", "/v1/files/file-1")
	assert.Equal(t, 404, a.status)
	assert.Equal(t, `{"detail":"as it is"}`, a.body)
	require.Equal(t, 500, s.as(t, "acme", "DELETE", "/v1/files/file-1", "", "").status)
	known("file-1", true)

	// What a file holds, or an object that has no business to tell it, is no claim to others' files.
	require.Equal(t, 200, s.get(t, "acme", "/v1/files/file-whole/content").status)
	require.Equal(t, 200, s.get(t, "acme", "/v1/files/file-whole").status)
	known("file-laundered", false)

	a = s.post(t, "acme", "/v1/threads/runs", `{"stream":true}`)
	assert.Contains(t, a.body, "thread.run.created")
	require.NoError(t, a.err)
	known("thread_1", true)
	known("run_1", true)
	a = s.get(t, "acme", "/v1/threads/thread_1/runs/r")
	assert.Equal(t, 204, a.status)
	assert.Empty(t, a.body)

	raw := "HEAD /v1/files/file-1/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.keys["acme"] + "\r\n\r\n"
	k.mu.Lock()
	k.script["HEAD /v1/files/file-1/content"] = content
	k.mu.Unlock()
	c := s.dial(t)
	_, err := io.WriteString(c, raw+strings.Replace(raw, "HEAD", "GET", 1))
	require.NoError(t, err)
	br := bufio.NewReader(c)
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := br.ReadString('\n')
		require.NoError(t, err)
		head += line
	}
	assert.Contains(t, head, fmt.Sprintf("Content-Length: %d\r\n", len(content)))
	a = readAnswer(t, br)
	assert.True(t, a.status == 200 && a.body == content, "nothing follows the head of an answer to HEAD")
}

// TestPassthroughLimits: rates and places count what no model decides; tokens and
// money do not.
func TestPassthroughLimits(t *testing.T) {
	k := newKeeper(t, map[string]string{"POST /v1/threads/runs": "event: x\ndata: {\"id\":1}\n\nevent: y\ndata: {}\n\n"})
	s := &shop{keys: map[string]string{}}
	text := strings.Replace(s.config(t, shopConfig, k.url), "{name: acme, ", "{name: acme, limits: {requests_per_minute: 3, tokens_per_minute: 10}, ", 1)
	s.world = newWorld(t, text)
	for range 3 {
		require.Equal(t, 200, s.post(t, "acme", "/v1/threads/runs", `{"stream":true}`).status)
	}
	k.heard()
	hidden(t, k, s.post(t, "acme", "/v1/files", ""), 429, "rate_limit_exceeded")
	assert.Equal(t, 200, s.post(t, "beta", "/v1/files", "").status)
}
