package router

// An answer that is known is given again, to whom it may be, and no other.

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/cache"
)

// remembering is open with a cache for its model.
func remembering(url, rule string) string {
	return strings.Replace(open("", url), "    targets: [{pool: p}]\n", "    targets: [{pool: p}]\n    cache: {exact: 10m"+rule+"}\n", 1)
}

const (
	cachedHeader = "X-Helixflow-Cache"
	zero         = `{"model":"m","temperature":0,"messages":[{"role":"user","content":"hi"}]}`
	zeroStream   = `{"model":"m","temperature":0,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	whole        = `{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`
)

// tenanted is config for two tenants instead of one: the first two keys are a's, the
// third one b's.
func tenanted(t testing.TB, config string) (string, []string) {
	t.Helper()
	keys, hashes := make([]string, 3), make([]string, 3)
	for i := range keys {
		keys[i], hashes[i] = newKey(t)
	}
	tenants := fmt.Sprintf("tenants:\n  - {name: a, keys: [{name: k, hash: %q}, {name: l, hash: %q}]}\n  - {name: b, keys: [{name: k, hash: %q}]}", hashes[0], hashes[1], hashes[2])
	return strings.Replace(config, "auth: {anonymous: all}\ntenants: [{name: all}]", tenants, 1), keys
}

func streamOf(events ...string) string {
	text := sseHead
	for _, e := range events {
		text += chunkOf(e)
	}
	return text + lastChunk
}

func TestCache(t *testing.T) {
	c, url := newCounted(t)
	w := newWorld(t, remembering(url, ""))
	n := int32(0)
	// f asks twice; the second is answered by the cache, or by the backend again.
	f := func(name, path, text, body string, hit bool) {
		t.Helper()
		c.answers(text)
		body = strings.Replace(body, `"model":"m"`, fmt.Sprintf(`"model":"m","x":%d`, n), 1)
		first := w.ask(t, postTo(path, body))
		assert.NotEqual(t, "hit", first.header.Get(cachedHeader), name)
		assert.Empty(t, first.header.Get("Age"), name)
		second := w.ask(t, postTo(path, body))
		assert.Equal(t, first.status, second.status, name)
		assert.Equal(t, first.body, second.body, name)
		assert.Equal(t, first.err, second.err, name)
		assert.Equal(t, first.header.Get("Content-Type"), second.header.Get("Content-Type"), name)
		assert.Equal(t, first.header.Get("X-Accel-Buffering"), second.header.Get("X-Accel-Buffering"), name)
		n++
		if hit {
			assert.Equal(t, "miss", first.header.Get(cachedHeader), name)
			assert.Equal(t, "hit", second.header.Get(cachedHeader), name)
			assert.NotEmpty(t, second.header.Get("Age"), name)
		} else {
			n++
			assert.NotEqual(t, "hit", second.header.Get(cachedHeader), name)
		}
		require.Equal(t, n, c.asked.Load(), name)
	}
	const completions, responses = "/v1/chat/completions", "/v1/responses"
	f("unary", completions, jsonAnswer(whole), zero, true)
	f("stream", completions, streamOf(ev1, ev2, evFin, evUse, evDone), zeroStream, true)
	f("stream made whole", completions, streamOf(ev1, evFin), zeroStream, true)
	f("stream, usage asked for", completions, streamOf(ev1, evFin, evUse, evDone), strings.Replace(zeroStream, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1), true)
	f("stream of a backend that does not", completions, jsonAnswer(whole), zeroStream, true)
	f("large", completions, jsonAnswer(`{"id":"`+strings.Repeat("x", 600_000)+`"}`), zero, true)
	f("large, in chunks", completions, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"+chunkOf(`{"id":"`+strings.Repeat("x", 600_000)+`"}`)+lastChunk, zero, true)
	f("too large", completions, jsonAnswer(`{"id":"`+strings.Repeat("x", 1_100_000)+`"}`), zero, false)
	f("seed", completions, jsonAnswer(whole), `{"model":"m","seed":1,"messages":[]}`, true)
	f("completions", "/v1/completions", jsonAnswer(whole), `{"model":"m","temperature":0.0,"prompt":"x"}`, true)
	f("embeddings", "/v1/embeddings", jsonAnswer(`{"object":"list","data":[{"embedding":[1]}]}`), `{"model":"m","input":"x"}`, true)
	f("moderations", "/v1/moderations", jsonAnswer(`{"id":"1","results":[{}]}`), `{"model":"m","input":"x"}`, true)
	f("a response", responses, jsonAnswer(`{"id":"resp_1","status":"completed","output":[]}`), `{"model":"m","temperature":0,"store":false,"input":"x"}`, true)
	f("a response that is stored", responses, jsonAnswer(`{"id":"resp_1","status":"completed","output":[]}`), `{"model":"m","temperature":0,"input":"x"}`, false)
	f("a response under way", responses, jsonAnswer(`{"id":"resp_1","status":"in_progress","output":[]}`), `{"model":"m","temperature":0,"store":false,"input":"x"}`, false)
	f("function tools", completions, jsonAnswer(whole), `{"model":"m","temperature":0,"messages":[],"tools":[{"type":"function","function":{"name":"f"}}]}`, true)

	f("sampled", completions, jsonAnswer(whole), simple, false)
	f("some temperature", completions, jsonAnswer(whole), `{"model":"m","temperature":0.1,"messages":[]}`, false)
	f("no seed", completions, jsonAnswer(whole), `{"model":"m","seed":null,"messages":[]}`, false)
	f("choices", completions, jsonAnswer(whole), `{"model":"m","temperature":0,"n":2,"messages":[]}`, false)
	f("stored", completions, jsonAnswer(whole), `{"model":"m","temperature":0,"store":true,"messages":[]}`, false)
	f("a tool of the backend's", responses, jsonAnswer(`{"id":"resp_1","status":"completed","output":[]}`), `{"model":"m","temperature":0,"store":false,"input":"x","tools":[{"type":"web_search"}]}`, false)
	f("two temperatures", completions, jsonAnswer(whole), `{"model":"m","temperature":0,"messages":[],"temperature":1}`, false)
	f("other options of a stream", completions, streamOf(ev1, evFin, evUse, evDone), strings.Replace(zeroStream, `"stream":true`, `"stream":true,"stream_options":{"include_obfuscation":true}`, 1), false)
	f("another endpoint", "/v1/rerank", jsonAnswer(`{"results":[]}`), `{"model":"m","temperature":0}`, false)

	f("a fault of the request", completions, answerOf(422, jsonType, `{"detail":"no"}`), zero, false)
	f("a fault of the backend", completions, answerOf(500, jsonType, `{"detail":"no"}`), zero, false)
	f("an error with 200", completions, jsonAnswer(`{"error":{"message":"no"}}`), zero, false)
	f("no content", completions, "HTTP/1.1 204 No Content\r\n\r\n", zero, false)
	f("encoded", completions, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", zero, false)
	f("no sense", completions, answerOf(200, "text/html", "<html>"), zero, false)
	f("cut", completions, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{[close]", zero, false)
	f("a cut stream", completions, sseHead+chunkOf(ev1)+chunkOf(": [close]\n\n"), zeroStream, false)
	f("an error in a stream", completions, streamOf(ev1, errFrame, evDone), zeroStream, false)

	metrics := w.scrape(t)
	assert.Contains(t, metrics, `helixflow_cache_requests_total{model="m",result="hit"} 13`+"\n")
	assert.Contains(t, metrics, "helixflow_cache_answers 13\n")
	assert.Contains(t, metrics, `helixflow_cache_saved_tokens_total{model="m",type="input"} `)
}

// What makes two questions the same, and what does not.
func TestCacheKeys(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(whole))
	config := strings.Replace(remembering(url, ""), "    targets: [{pool: p}]\n", "    aliases: [alias]\n    targets: [{pool: p}]\n", 1)
	config += "  - name: other\n    targets: [{pool: p}]\n    cache: {exact: 10m}\n  - name: \"*\"\n    targets: [{pool: p}]\n    cache: {exact: 10m}\n"
	w := newWorld(t, config)
	require.Equal(t, 200, w.ask(t, chat(zero)).status)
	f := func(want, raw string) {
		t.Helper()
		assert.Equal(t, want, w.ask(t, raw).header.Get(cachedHeader), raw)
	}
	f("hit", chat(zero))
	f("hit", chat(`{"temperature":0,"messages":[{"role":"user","content":"hi"}],"model":"m"}`))
	f("hit", chat(` { "model" : "m" , "messages" : [{"role":"user","content":"hi"}], "temperature" :0}`))
	f("hit", chat(strings.Replace(zero, `"m"`, `"alias"`, 1)))
	f("hit", chat(zero[:len(zero)-1]+`,"user":"u","safety_identifier":"s","metadata":{"a":"b"},"prompt_cache_key":"k","cache_salt":"c","stream":false,"stream_options":null}`))
	f("hit", postTo("/openai/deployments/m/chat/completions?api-version=2025-01-01", zero))
	f("hit", chat(zero, "User-Agent: other", "X-Stainless-Lang: python"))
	f("miss", chat(zero, "OpenAI-Beta: x"))
	f("hit", chat(zero, "openai-beta: x"))
	f("miss", postTo("/v1/chat/completions?x=1", zero))
	f("miss", chat(strings.Replace(zero, "hi", "ho", 1)))
	f("miss", chat(zero[:len(zero)-1]+`,"max_tokens":1}`))
	f("miss", chat(zero[:len(zero)-1]+`,"unknown":1}`))
	f("miss", chat(strings.Replace(zero, `"m"`, `"other"`, 1)))
	f("miss", chat(strings.Replace(zero, `"m"`, `"any"`, 1)))
	f("miss", chat(strings.Replace(zero, `"m"`, `"any2"`, 1)))
	f("hit", chat(strings.Replace(zero, `"m"`, `"any"`, 1)))
	f("miss", postTo("/v1/completions", zero))
}

func TestCacheScopes(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(whole))
	// f asks as one key of a tenant, as the other one of it, and as another tenant.
	f := func(rule string, asked int32, want ...string) {
		t.Helper()
		config, keys := tenanted(t, remembering(url, rule))
		w := newWorld(t, config)
		before := c.asked.Load()
		for i, key := range []string{keys[0], keys[0], keys[1], keys[2], keys[2]} {
			forged := strings.Replace(zero, `"model"`, `"tenant":"a","organization":"a","scope":"shared","cache_salt":"a","user":"a","model"`, 1)
			a := w.ask(t, chat(forged, "Authorization: Bearer "+key, "x-helixflow-tenant: a", "OpenAI-Organization: a"))
			require.Equal(t, 200, a.status)
			assert.Equal(t, want[i], a.header.Get(cachedHeader), "%s: %d", rule, i)
			assert.Equal(t, want[i] == "hit", a.header.Get("Age") != "", "%s: %d", rule, i)
		}
		assert.Equal(t, asked, c.asked.Load()-before, rule)
	}
	f("", 2, "miss", "hit", "hit", "miss", "hit")
	f(", scope: tenant", 2, "miss", "hit", "hit", "miss", "hit")
	f(", scope: key", 3, "miss", "hit", "miss", "miss", "hit")
	f(", scope: model", 1, "", "hit", "hit", "", "") // of others' answers nobody learns
	f(", scope: shared", 1, "", "hit", "hit", "", "")
}

func TestCacheControl(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(whole))
	w := newWorld(t, remembering(url, ""))
	f := func(control, body, want string, status int, asked int32) {
		t.Helper()
		before := c.asked.Load()
		a := w.ask(t, chat(body, "Cache-Control: "+control))
		assert.Equal(t, status, a.status, control)
		assert.Equal(t, want, a.header.Get(cachedHeader), control)
		assert.Equal(t, asked, c.asked.Load()-before, control)
	}
	requireError(t, w.ask(t, chat(zero, "Cache-Control: only-if-cached")), 504, "not_cached")
	f("no-store", zero, "bypass", 200, 1)
	f("only-if-cached", zero, "miss", 504, 0)
	f("no-cache", zero, "miss", 200, 1)
	f("only-if-cached", zero, "hit", 200, 0)
	f("no-store", zero, "bypass", 200, 1)
	f("x, NO-CACHE ,y=z", zero, "miss", 200, 1)
	f("max-age=3600", zero, "hit", 200, 0)
	f("max-age=99999999999999999999", zero, "hit", 200, 0)
	f("max-age=0", zero, "miss", 200, 1)
	f("max-age=soon", zero, "miss", 200, 1)
	f("private", zero, "hit", 200, 0)
	f("only-if-cached, no-cache", zero, "miss", 504, 0)
	f("only-if-cached", simple, "bypass", 504, 0)
	plain := newWorld(t, open("", url))
	a := plain.ask(t, chat(zero, "Cache-Control: only-if-cached"))
	requireError(t, a, 504, "not_cached")
	assert.Empty(t, a.header.Get(cachedHeader))
	assert.Equal(t, 200, plain.ask(t, chat(zero, "Cache-Control: no-cache")).status)
}

// Each asker reads usage if it asked for it, whoever asked first.
func TestCachedUsage(t *testing.T) {
	c, url := newCounted(t)
	c.answers(streamOf(ev1, evFin, evUse, evDone))
	w := newWorld(t, remembering(url, ""))
	with := strings.Replace(zeroStream, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	assert.Equal(t, ev1+evFin+evDone, w.ask(t, chat(zeroStream)).body)
	assert.Equal(t, ev1+evFin+evUse+evDone, w.ask(t, chat(with)).body)
	assert.Equal(t, ev1+evFin+evDone, w.ask(t, chat(zeroStream)).body)
	assert.EqualValues(t, 1, c.asked.Load())

	// A backend that is not asked does not say, so whoever wants to know asks it.
	c.answers(streamOf(ev1, evFin, evDone))
	w = newWorld(t, strings.Replace(remembering(url, ""), "    balance:", "    usage: as_is\n    balance:", 1))
	assert.Equal(t, ev1+evFin+evDone, w.ask(t, chat(zeroStream)).body)
	c.answers(streamOf(ev1, evFin, evUse, evDone))
	assert.Equal(t, ev1+evFin+evUse+evDone, w.ask(t, chat(with)).body)
	assert.Equal(t, ev1+evFin+evUse+evDone, w.ask(t, chat(with)).body)
	assert.Equal(t, ev1+evFin+evDone, w.ask(t, chat(zeroStream)).body)
	assert.EqualValues(t, 3, c.asked.Load())
}

// Whoever has read all of an answer finds it, and whoever left early leaves none.
func TestCacheAtOnce(t *testing.T) {
	c, url := newCounted(t)
	w := newWorld(t, remembering(url, ""))
	for i := range 200 {
		text, body := jsonAnswer(whole), zero
		if i%2 == 0 {
			text, body = streamOf(ev1, evFin, evUse, evDone), zeroStream
		}
		c.answers(text)
		body = body[:len(body)-1] + fmt.Sprintf(`,"x":%d}`, i)
		require.Equal(t, "miss", w.ask(t, chat(body)).header.Get(cachedHeader))
		require.Equal(t, "hit", w.ask(t, chat(body)).header.Get(cachedHeader), "%d", i)
	}
	release := make(chan struct{})
	script := func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		select {
		case <-release:
			a.write(chunkOf(evFin) + chunkOf(evUse) + chunkOf(evDone) + lastChunk)
		case <-a.left:
		}
		return false
	}
	c.script.Store(&script)
	conn := w.dial(t)
	_, err := conn.Write([]byte(chat(zeroStream)))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	w.settled(t)
	stats := w.srv.known.Load().Stats()
	assert.EqualValues(t, 200, stats.Answers)
	close(release)
	a := w.ask(t, chat(zeroStream))
	assert.Equal(t, "miss", a.header.Get(cachedHeader))
	assert.Equal(t, ev1+evFin+evDone, a.body)
	assert.Equal(t, "hit", w.ask(t, chat(zeroStream)).header.Get(cachedHeader))
}

// At the pace that it had: the second half comes when the first one has been there
// for as long as then.
func TestCachePace(t *testing.T) {
	c, url := newCounted(t)
	const gap = 150 * time.Millisecond
	read := make(chan struct{})
	script := func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		<-read // the gap begins when the router has the first half
		time.Sleep(gap)
		a.write(chunkOf(ev2) + chunkOf(evFin) + chunkOf(evUse) + chunkOf(evDone) + lastChunk)
		return true
	}
	c.script.Store(&script)
	w := newWorld(t, remembering(url, ", replay: original"))
	conn := w.dial(t)
	_, err := io.WriteString(conn, chat(zeroStream))
	require.NoError(t, err)
	br := bufio.NewReader(conn)
	_, err = br.Peek(len("HTTP/1.1 200 OK"))
	require.NoError(t, err)
	close(read)
	first := readAnswer(t, br)
	began := time.Now()
	second := w.ask(t, chat(zeroStream))
	assert.Equal(t, "hit", second.header.Get(cachedHeader))
	assert.Equal(t, first.body, second.body)
	assert.GreaterOrEqual(t, time.Since(began), gap-20*time.Millisecond)
}

// A reload that changes what answers a model gets forgets those of before, and no
// other does.
func TestCacheReload(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(whole))
	config := remembering(url, "")
	w := newWorld(t, config)
	f := func(config, want string) {
		t.Helper()
		w.srv.Publish(w.compile(t, config))
		assert.Equal(t, want, w.ask(t, chat(zero)).header.Get(cachedHeader), config)
	}
	f(config, "miss")
	f(config, "hit")
	f(strings.Replace(config, "exact: 10m", "exact: 5m, charge: all, max_answer: 2KiB", 1), "hit")
	f(config+"  - name: new\n    targets: [{pool: p}]\n", "hit")
	f(strings.Replace(config, "targets: [{pool: p}]", "targets: [{pool: p, model: x}]", 1), "miss")
	f(strings.Replace(config, "targets: [{pool: p}]", "targets: [{pool: p}]\n    params: {cap: {max_tokens: 5}}", 1), "miss")
	f("cache: {memory: 1MiB}\n"+strings.Replace(config, "exact: 10m", "exact: 10m, max_answer: 2KiB", 1), "hit")
	f(strings.Replace(config, "exact: 10m", "exact: 0", 1), "")
	f(config, "miss")
}

// An answer is given in the form that is asked for, whichever it came in.
func TestCachedForms(t *testing.T) {
	c, url := newCounted(t)
	with := strings.Replace(zeroStream, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	const content = `data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}` + "\n\n"
	const usage = `data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}` + "\n\n"

	c.answers(jsonAnswer(whole))
	w := newWorld(t, remembering(url, ""))
	require.Equal(t, whole, w.ask(t, chat(zero)).body)
	a := w.ask(t, chat(zeroStream))
	assert.Equal(t, "hit", a.header.Get(cachedHeader))
	assert.Equal(t, "text/event-stream; charset=utf-8", a.header.Get("Content-Type"))
	assert.Equal(t, content+evDone, a.body)
	assert.Equal(t, content+usage+evDone, w.ask(t, chat(with)).body)

	c.answers(streamOf(content, usage, evDone))
	w = newWorld(t, remembering(url, ""))
	require.Equal(t, content+evDone, w.ask(t, chat(zeroStream)).body)
	a = w.ask(t, chat(zero))
	assert.Equal(t, "hit", a.header.Get(cachedHeader))
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	assert.JSONEq(t, strings.Replace(whole, `{"id"`, `{"object":"chat.completion","id"`, 1), a.body)
	assert.EqualValues(t, 2, c.asked.Load())

	// One that cannot be put together is asked for again.
	c.answers(streamOf(`data: {"id":"1","choices":[{"index":0,"delta":{"audio":{"data":"x"}},"finish_reason":"stop"}]}`+"\n\n", usage, evDone))
	w = newWorld(t, remembering(url, ""))
	require.Equal(t, 200, w.ask(t, chat(zeroStream)).status)
	c.answers(jsonAnswer(whole))
	a = w.ask(t, chat(zero))
	assert.Equal(t, "miss", a.header.Get(cachedHeader))
	assert.Equal(t, whole, a.body)

	const response = `{"id":"resp_1","status":"completed","output":[],"usage":{"input_tokens":1,"output_tokens":1}}`
	const asked = `{"model":"m","temperature":0,"store":false,"stream":true,"input":"x"}`
	c.answers(streamOf("event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n",
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":"+response+"}\n\n"))
	require.Equal(t, 200, w.ask(t, postTo("/v1/responses", asked)).status)
	a = w.ask(t, postTo("/v1/responses", strings.Replace(asked, "true", "false", 1)))
	assert.Equal(t, "hit", a.header.Get(cachedHeader))
	assert.Equal(t, response, a.body)

	// The other way round it is the events that it would have come as.
	c.answers(jsonAnswer(response))
	w = newWorld(t, remembering(url, ""))
	require.Equal(t, response, w.ask(t, postTo("/v1/responses", strings.Replace(asked, "true", "false", 1))).body)
	a = w.ask(t, postTo("/v1/responses", asked))
	assert.Equal(t, "hit", a.header.Get(cachedHeader))
	assert.Equal(t, "text/event-stream; charset=utf-8", a.header.Get("Content-Type"))
	begun := strings.NewReplacer("completed", "in_progress", `{"input_tokens":1,"output_tokens":1}`, "null").Replace(response)
	assert.Equal(t, "event: response.created\ndata: {\"type\":\"response.created\",\"response\":"+begun+",\"sequence_number\":0}\n\n"+
		"event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":"+begun+",\"sequence_number\":1}\n\n"+
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":"+response+",\"sequence_number\":2}\n\n", a.body)

	// One that nobody knows how it would have come is asked for again.
	unknown := strings.Replace(response, "[]", `[{"id":"x","type":"image_generation_call"}]`, 1)
	c.answers(jsonAnswer(unknown))
	w = newWorld(t, remembering(url, ""))
	require.Equal(t, unknown, w.ask(t, postTo("/v1/responses", strings.Replace(asked, "true", "false", 1))).body)
	c.answers(streamOf("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":" + unknown + "}\n\n"))
	assert.Equal(t, "miss", w.ask(t, postTo("/v1/responses", asked)).header.Get(cachedHeader))
}

// What a hit counts as.
func TestCacheCharge(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(whole))
	f := func(charge, want string) {
		t.Helper()
		config := strings.Replace(remembering(url, ", charge: "+charge), "{name: all}", "{name: all, limits: {tokens_per_day: 10k, budget: {usd: 100}}}", 1)
		config = strings.Replace(config, "  - name: m\n", "  - name: m\n    price: {input: 1000, output: 1000}\n", 1)
		w := newWorld(t, config)
		for range 3 {
			require.Equal(t, 200, w.ask(t, chat(zero)).status)
		}
		w.settled(t)
		s := w.srv.snapshot.Load()
		assert.Equal(t, want, used(s.limits.tenant["all"].all), charge)
	}
	f("none", "tokens_per_day 10 budget 10000")
	f("tokens", "tokens_per_day 30 budget 10000")
	f("all", "tokens_per_day 30 budget 30000")
}

// An answer that is forgotten while it is given again is given to its end.
func TestForgottenWhileReplayed(t *testing.T) {
	c, url := newCounted(t)
	const gap = 200 * time.Millisecond
	script := func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		time.Sleep(gap)
		a.write(chunkOf(ev2) + chunkOf(evFin) + chunkOf(evUse) + chunkOf(evDone) + lastChunk)
		return true
	}
	c.script.Store(&script)
	w := newWorld(t, remembering(url, ", replay: original"))
	first := w.ask(t, chat(zeroStream))
	conn := w.dial(t)
	_, err := io.WriteString(conn, chat(zeroStream))
	require.NoError(t, err)
	br := bufio.NewReader(conn)
	_, err = br.Peek(len("HTTP/1.1 200 OK"))
	require.NoError(t, err)
	deleted, err := w.srv.PurgeCache(cache.Selection{Tenant: "all"})
	require.NoError(t, err)
	assert.Equal(t, 1, deleted)
	again := readAnswer(t, br)
	assert.Equal(t, "hit", again.header.Get(cachedHeader))
	assert.Equal(t, first.body, again.body)
	assert.NoError(t, again.err)
	assert.Equal(t, "miss", w.ask(t, chat(zeroStream)).header.Get(cachedHeader))
}

// Tenants that ask the same, many times and at once, never read each other's answer:
// a backend says who asked, and is asked by each.
func TestCacheIdentity(t *testing.T) {
	const tenants, questions = 8, 5
	var counts [tenants]atomic.Int32
	keys := make([]string, tenants)
	list := "tenants:\n"
	for i := range keys {
		key, hash := newKey(t)
		keys[i] = key
		list += fmt.Sprintf("  - {name: t%d, keys: [{name: k, hash: %q}]}\n", i, hash)
	}
	url := newBackend(t, func(a *asked) bool {
		n, _ := strconv.Atoi(a.req.Header.Get("X-Tenant"))
		counts[n].Add(1)
		answer := jsonAnswer(strings.Replace(whole, `"id":"1"`, fmt.Sprintf(`"id":"t%d"`, n), 1))
		if strings.Contains(a.body, `"stream":true`) {
			answer = ""
			for _, e := range []string{ev1, evFin, evUse, evDone} {
				answer += chunkOf(strings.Replace(e, `"id":"1"`, fmt.Sprintf(`"id":"t%d"`, n), 1))
			}
			answer = sseHead + answer + lastChunk
		}
		a.write(answer)
		return true
	})
	w := newWorld(t, strings.Replace(remembering(url, ""), "auth: {anonymous: all}\ntenants: [{name: all}]\n", list, 1))
	var wait sync.WaitGroup
	for i, key := range keys {
		wait.Go(func() {
			for n := range 60 {
				body := []string{zero, zeroStream}[n%2]
				body = body[:len(body)-1] + fmt.Sprintf(`,"x":%d}`, n/2%questions)
				a := w.ask(t, chat(body, "Authorization: Bearer "+key, fmt.Sprint("X-Tenant: ", i)))
				assert.Contains(t, a.body, fmt.Sprintf(`"id":"t%d"`, i))
				assert.NotContains(t, strings.ReplaceAll(a.body, fmt.Sprintf(`"id":"t%d"`, i), ""), `"id":"t`)
			}
		})
	}
	wait.Wait()
	for i := range counts {
		assert.GreaterOrEqual(t, counts[i].Load(), int32(questions), "tenant %d asked a backend itself", i)
	}
}

// Of an answer whose asker leaves before it is whole nothing is kept, and no memory.
func TestLeftHalfway(t *testing.T) {
	large := `{"id":"` + strings.Repeat("x", 800_000) + `"}`
	f := func(rule, body, head, half, rest string) {
		t.Helper()
		var letGo atomic.Bool
		url := newBackend(t, func(a *asked) bool {
			a.write(head + chunkOf(half))
			if !letGo.Load() {
				<-a.left
				return false
			}
			a.write(chunkOf(rest) + lastChunk)
			return true
		})
		w := newWorld(t, remembering(url, rule))
		for range 5 {
			c, br := w.send(t, chat(body))
			_, err := br.Peek(1000)
			require.NoError(t, err)
			require.NoError(t, c.Close())
			w.settled(t)
			stats := w.srv.known.Load().Stats()
			assert.Zero(t, stats.Answers, "%s %s", rule, body)
			assert.Zero(t, stats.Bytes, "%s %s", rule, body)
		}
		letGo.Store(true)
		a := w.ask(t, chat(body))
		assert.Equal(t, "miss", a.header.Get(cachedHeader))
		assert.Equal(t, half+rest, a.body)
		assert.Equal(t, a.body, w.ask(t, chat(body)).body)
		assert.EqualValues(t, 1, w.srv.known.Load().Stats().Answers)
	}
	for _, rule := range []string{"", ", coalesce: false"} {
		f(rule, zeroStream, sseHead, ev1+strings.Repeat(ev2, 20), evFin+evDone)
		f(rule, zero, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", large[:500_000], large[500_000:])
	}
}

// What a polite tenant was answered is still known after another one has flooded the
// cache with ever new questions, each of them asked twice.
func TestFloodLeavesKnownAnswers(t *testing.T) {
	const polite, flood = 10, 600
	c, url := newCounted(t)
	c.answers(jsonAnswer(strings.Replace(whole, `"x"`, `"`+strings.Repeat("x", 8<<10)+`"`, 1)))
	k1, h1 := newKey(t)
	k2, h2 := newKey(t)
	config := "cache: {memory: 1MiB}\n" + strings.Replace(remembering(url, ", max_answer: 32KiB"), "auth: {anonymous: all}\ntenants: [{name: all}]",
		fmt.Sprintf("tenants: [{name: polite, keys: [{name: k, hash: %q}]}, {name: flooder, keys: [{name: k, hash: %q}]}]", h1, h2), 1)
	w := newWorld(t, config)
	ask := func(br *bufio.Reader, to io.Writer, key string, n int) string {
		_, err := io.WriteString(to, chat(fmt.Sprintf(`{"model":"m","temperature":0,"messages":["%d"]}`, n), bearerLine(key)))
		require.NoError(t, err)
		return readAnswer(t, br).header.Get(cachedHeader)
	}
	to := w.dial(t)
	from := bufio.NewReader(to)
	for n := range polite {
		assert.Equal(t, "miss", ask(from, to, k1, n))
		assert.Equal(t, "hit", ask(from, to, k1, n))
	}
	for n := range flood {
		ask(from, to, k2, n)
		ask(from, to, k2, n)
	}
	for n := range polite {
		assert.Equal(t, "hit", ask(from, to, k1, n), n)
	}
}
