package router

// What hooks see, and what becomes of a request that they allow, deny or change.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/router/admission"
)

// hooked is open, with hooks h0, h1… in front of model m: each is what stands
// behind its name, the url first.
func hooked(timeouts, backend string, hooks ...string) string {
	config := open(timeouts, backend)
	list, names := "hooks:\n", ""
	for i, h := range hooks {
		list += fmt.Sprintf("  - {name: h%d, url: %s}\n", i, h)
		names += fmt.Sprintf("h%d, ", i)
	}
	config = strings.Replace(config, "models:\n", list+"models:\n", 1)
	return strings.Replace(config, "targets: [{pool: p}]", "targets: [{pool: p, model: upstream}]\n    hooks: ["+names+"]", 1)
}

// newHook serves replies to questions; the question is given as it came.
func newHook(t testing.TB, reply func(question string) string) (url string) {
	t.Helper()
	return newBackend(t, func(a *asked) bool {
		a.write(jsonAnswer(reply(a.body)))
		return true
	}) + "/check"
}

func says(reply string) func(string) string { return func(string) string { return reply } }

const allows = `{"action":"allow"}`

// hookCount is a figure of helixflow_hook_requests_total.
func (w *world) hookCount(hook, phase, result string) string {
	var b strings.Builder
	w.metrics.WritePrometheus(&b)
	_, rest, found := strings.Cut(b.String(), fmt.Sprintf(`helixflow_hook_requests_total{hook=%q,phase=%q,result=%q} `, hook, phase, result))
	if !found {
		return "none"
	}
	count, _, _ := strings.Cut(rest, "\n")
	return count
}

func TestHookQuestions(t *testing.T) {
	var mu sync.Mutex
	var heads, questions []string
	hook := newBackend(t, func(a *asked) bool {
		mu.Lock()
		defer mu.Unlock()
		heads, questions = append(heads, a.head), append(questions, a.body)
		a.write(jsonAnswer(allows))
		return true
	})
	backend := newBackend(t, func(a *asked) bool {
		a.write(jsonAnswer(`{"model":"upstream", "choices":[]}`))
		return true
	})
	config, key := withKey(t, backend)
	config = strings.Replace(config, "models:\n", "hooks: [{name: pii, url: "+hook+"/a/check, when: both, on_unseen: refuse, token: hunter2}]\nmodels:\n", 1)
	config = strings.Replace(config, "targets:", "aliases: [alias]\n    hooks: [pii]\n    targets:", 1)
	config = strings.Replace(config, "models: [m],", "models: [m, alias],", 1)
	w := newWorld(t, config)
	body := " {\"model\":\"alias\",\n \"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 \\\"}\"}]} "
	a := w.ask(t, postTo("/v1/chat/completions?a=b", body, "Authorization: Bearer "+key, "X-Request-Id: req-7", "X-Own: mine", "OpenAI-Beta: x"))
	require.Equal(t, 200, a.status, a.body)
	assert.Equal(t, `{"model":"upstream", "choices":[]}`, a.body)

	require.Len(t, questions, 2)
	about := `{"version":1,"phase":"%s","hook":"pii","request_id":"req-7","tenant":"all","key":"k","model":"m","endpoint":"chat_completions","stream":false`
	assert.Equal(t, fmt.Sprintf(about, "before")+`,"body":`+body+`}`, questions[0])
	assert.Equal(t, fmt.Sprintf(about, "after")+`,"status":200,"body":`+body+`,"answer":{"model":"upstream", "choices":[]}}`, questions[1])
	for i, head := range heads {
		assert.True(t, json.Valid([]byte(questions[i])))
		assert.Equal(t, fmt.Sprintf("POST /a/check HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: identity\r\nAuthorization: Bearer hunter2\r\n"+
			"Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: helixflow-hook\r\nx-request-id: req-7\r\nContent-Length: %d\r\n\r\n",
			strings.TrimPrefix(hook, "http://"), len(questions[i])), head)
	}
	assert.Equal(t, "1", w.hookCount("pii", "before", "allow"))
	assert.Equal(t, "1", w.hookCount("pii", "after", "allow"))
}

// Whoever asks for any model is told apart by the name that was asked for.
func TestHookQuestionOfAnyModel(t *testing.T) {
	var question atomic.Value
	hook := newHook(t, func(q string) string { question.Store(q); return allows })
	backend := newBackend(t, echoes)
	w := newWorld(t, strings.Replace(hooked("", backend, hook), "name: m\n", "name: \"*\"\n", 1))
	f := func(path, body, model string) {
		t.Helper()
		require.Equal(t, 200, w.ask(t, postTo(path, body)).status)
		assert.Contains(t, question.Load(), `"tenant":"all","key":"","model":"`+model+`",`)
	}
	f("/v1/chat/completions", `{"model":"some/name","messages":[]}`, "some/name")
	f("/v1/chat/completions", `{"model":"\u0061\"","messages":[]}`, `a\"`)
	f("/v1/moderations", `{"input":"x"}`, "omni-moderation-latest")
}

func TestHookDenies(t *testing.T) {
	var tries atomic.Int32
	backend := newBackend(t, func(a *asked) bool {
		tries.Add(1)
		a.write(jsonAnswer(`{"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`))
		return true
	})
	f := func(when, reply, code, message string) {
		t.Helper()
		tries.Store(0)
		w := newWorld(t, hooked("", backend, newHook(t, says(reply))+", on_error: pass, on_unseen: refuse, when: "+when))
		a := w.ask(t, chat(simple))
		requireError(t, a, 400, code)
		assert.Contains(t, a.body, `"message":"`+message+`","type":"invalid_request_error","param":null,`)
		assert.Empty(t, a.header.Get("X-Should-Retry"))
		want := map[string]int32{"before": 0, "after": 1}[when]
		assert.Equal(t, want, tries.Load(), "tries on the backend")
		assert.Equal(t, "1", w.hookCount("h0", when, "deny"))
		assert.NotContains(t, w.log.String(), "hook failed")
		assert.Equal(t, when == "after", strings.Contains(w.scrape(t), `helixflow_tokens_total{model="m",type="output"} 3`), "what it cost is counted all the same")
	}
	for _, when := range []string{"before", "after"} {
		f(when, `{"action":"deny"}`, "content_filter", "The request was refused by a policy of the router's operator.")
		f(when, `{"action":"deny","message":"No \"names\", please.\n","code":"pii"}`, "pii", `No \"names\", please.\n`)
	}
}

// The request goes on as the hook wrote it, with the edits of its target.
func TestHookReplacesRequest(t *testing.T) {
	var got atomic.Value
	backend := newBackend(t, func(a *asked) bool {
		got.Store(a.body)
		if strings.Contains(a.body, `"stream":true`) {
			a.write(sseHead + chunkOf(ev1+evFin+evUse+evDone) + lastChunk)
			return true
		}
		a.write(jsonAnswer(`{}`))
		return true
	})
	mask := func(q string) string {
		var about struct{ Body json.RawMessage }
		if err := json.Unmarshal([]byte(q), &about); err != nil {
			return err.Error()
		}
		return `{"action":"replace","body":` + strings.ReplaceAll(string(about.Body), "Ann", "[name]") + `}`
	}
	w := newWorld(t, hooked("", backend, newHook(t, mask)))
	require.Equal(t, 200, w.ask(t, chat(`{"model":"m","messages":[{"role":"user","content":"I am Ann"}]}`)).status)
	assert.Equal(t, `{"model":"upstream","messages":[{"role":"user","content":"I am [name]"}]}`, got.Load())

	a := w.ask(t, chat(`{"messages":["`+strings.Repeat("Ann ", 9000)+`"],"stream":true, "model":"m"}`))
	assert.Equal(t, ev1+evFin+evDone, a.body, "usage was asked for by the router, and withheld")
	assert.Equal(t, `{"messages":["`+strings.Repeat("[name] ", 9000)+`"],"stream":true, "model":"upstream","stream_options":{"include_usage":true}}`, got.Load())
	assert.Equal(t, "2", w.hookCount("h0", "before", "replace"))
}

// Every answer of class A can be looked at and replaced; its cost stays what
// the backend said.
func TestHookReplacesAnswer(t *testing.T) {
	const usage = `{"usage":{"prompt_tokens":7,"completion_tokens":3,"input_tokens":7,"output_tokens":3,"total_tokens":10},"text":"Ann"}`
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/moderations"} {
		var question atomic.Value
		hook := newHook(t, func(q string) string {
			question.Store(q)
			return `{"action":"replace","body":{"text":"[name]","usage":{"prompt_tokens":424242}}}`
		})
		backend := newBackend(t, func(a *asked) bool {
			a.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Kept: yes\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkOf(usage[:20]) + chunkOf(usage[20:]) + lastChunk)
			return true
		})
		w := newWorld(t, hooked("", backend, hook+", when: after, on_unseen: refuse"))
		a := w.ask(t, postTo(path, `{"model":"m","input":"x"}`))
		require.Equal(t, 200, a.status, a.body)
		assert.Equal(t, `{"text":"[name]","usage":{"prompt_tokens":424242}}`, a.body)
		assert.Equal(t, "yes", a.header.Get("X-Kept"))
		assert.Equal(t, fmt.Sprint(len(a.body)), a.header.Get("Content-Length"))
		assert.Contains(t, question.Load(), `"endpoint":"`+strings.ReplaceAll(path[len("/v1/"):], "/", "_")+`","stream":false,"status":200,"body":{"model":"m","input":"x"},"answer":`+usage+`}`)
		scrape := w.scrape(t)
		if path != "/v1/moderations" {
			assert.Contains(t, scrape, `helixflow_tokens_total{model="m",type="input"} 7`, path)
		}
		assert.NotContains(t, scrape, "} 424242\n")
		assert.Equal(t, "1", w.hookCount("h0", "after", "replace"))
	}
}

// Several hooks are asked in the model's order, each about what those before it
// left; the first to deny is the last to be asked.
func TestHooksTakeTurns(t *testing.T) {
	var mu sync.Mutex
	var order []string
	hook := func(name string) string {
		return newHook(t, func(q string) string {
			var about struct {
				Phase        string
				Body, Answer map[string]string
			}
			if err := json.Unmarshal([]byte(q), &about); err != nil {
				return err.Error()
			}
			body := about.Body
			if about.Phase == "after" {
				body = about.Answer
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name+" "+about.Phase+" "+body["input"])
			if body["input"] == "xabab" && name == "a" {
				return `{"action":"deny"}`
			}
			body["input"] += name
			text, _ := json.Marshal(body)
			return `{"action":"replace","body":` + string(text) + `}`
		}) + ", when: both, on_unseen: refuse"
	}
	backend := newBackend(t, func(a *asked) bool {
		a.write(jsonAnswer(a.body))
		return true
	})
	w := newWorld(t, hooked("", backend, hook("a"), hook("b")))
	a := w.ask(t, postTo("/v1/embeddings", `{"model":"m","input":"x"}`))
	assert.Equal(t, `{"input":"xabab","model":"upstream"}`, a.body)
	assert.Equal(t, []string{"a before x", "b before xa", "a after xab", "b after xaba"}, order)
	order = nil
	requireError(t, w.ask(t, postTo("/v1/embeddings", `{"model":"m","input":"xabab"}`)), 400, "content_filter")
	assert.Equal(t, []string{"a before xabab"}, order)
}

// A hook that only sees requests leaves streams as they are.
func TestHookBeforeAStream(t *testing.T) {
	backend := newBackend(t, func(a *asked) bool {
		a.write(sseHead + chunkOf(ev1))
		<-time.After(beat)
		a.write(chunkOf(evFin+evDone) + lastChunk)
		return true
	})
	w := newWorld(t, hooked("", backend, newHook(t, says(allows))))
	for range 3 {
		assert.Equal(t, ev1+evFin+evDone, w.ask(t, chat(streaming)).body)
	}
	assert.Equal(t, "3", w.hookCount("h0", "before", "allow"))
}

// What cannot be shown is refused, whatever on_error says; or it passes where
// that is configured.
func TestHookUnseen(t *testing.T) {
	stream := sseHead + chunkOf(ev1+evFin+evDone) + lastChunk
	big := `{"a":"` + strings.Repeat("x", 300<<10) + `"}`
	path := "/v1/chat/completions"
	f := func(when, body, answers string, status int, code string) {
		t.Helper()
		var questions atomic.Int32
		hook := newHook(t, func(string) string { questions.Add(1); return allows })
		backend := newBackend(t, func(a *asked) bool { a.write(answers); return true })
		w := newWorld(t, hooked("", backend, hook+", max_body: 200KiB, on_error: pass, on_unseen: refuse, when: "+when))
		a := w.ask(t, postTo(path, body))
		requireError(t, a, status, code)
		assert.Zero(t, questions.Load())
		if status == 502 {
			assert.Equal(t, "false", a.header.Get("X-Should-Retry"))
			assert.Equal(t, "1", w.hookCount("h0", "after", "unseen"))
		}

		w = newWorld(t, hooked("", backend, hook+", max_body: 200KiB, on_error: refuse, on_unseen: pass, when: "+when))
		a = w.ask(t, postTo(path, body))
		assert.Equal(t, 200, a.status, a.body)
		assert.NoError(t, a.err)
		_, sent, _ := strings.Cut(answers, "\r\n\r\n")
		if !strings.Contains(answers, "chunked") {
			assert.Equal(t, sent, a.body)
		}
		assert.Zero(t, questions.Load())
		assert.Equal(t, "1", w.hookCount("h0", when, "unseen"))
	}
	f("before", `{"model":"m","messages":["`+strings.Repeat("x", 200<<10)+`"]}`, jsonAnswer(`{}`), 413, "request_too_large")
	f("after", streaming, stream, 400, "unsupported_value")
	f("after", simple, jsonAnswer(big), 502, "answer_unchecked")
	f("after", simple, jsonAnswer(`[]`), 502, "answer_unchecked")
	f("after", simple, jsonAnswer(`{"a":1}}`), 502, "answer_unchecked")
	f("after", simple, jsonAnswer(`{},"action":"allow"`), 502, "answer_unchecked")
	f("after", simple, jsonAnswer("{\"a\":\"\xff\"}"), 502, "answer_unchecked")
	path = "/v1/audio/speech"
	f("after", simple, stream, 502, "answer_unchecked") // a stream that nobody asked for
	f("after", simple, "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 3\r\n\r\nabc", 502, "answer_unchecked")
}

// Answers up to max_body are held whole and shown, though they are above what is
// held otherwise.
func TestHookSeesLargeAnswers(t *testing.T) {
	const limit = 1 << 20
	var seen atomic.Int64
	hook := newHook(t, func(q string) string { seen.Store(int64(len(q))); return allows })
	f := func(size, status int) {
		t.Helper()
		seen.Store(0)
		text := `{"a":"` + strings.Repeat("x", size-len(`{"a":""}`)) + `"}`
		backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(text)); return true })
		w := newWorld(t, hooked("", backend, hook+", when: after, on_unseen: refuse"))
		a := w.ask(t, chat(simple))
		require.Equal(t, status, a.status)
		if status == 200 {
			require.Equal(t, text, a.body)
			require.Greater(t, seen.Load(), int64(size))
		} else {
			require.Zero(t, seen.Load())
		}
	}
	f(holdBelow-1, 200)
	f(holdBelow, 200)
	f(holdBelow+1, 200)
	f(limit, 200)
	f(limit+1, 502)
}

// A request above max_body is left out of the question about its answer.
func TestHookQuestionWithoutBody(t *testing.T) {
	var question atomic.Value
	hook := newHook(t, func(q string) string { question.Store(q); return allows })
	backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{"b":2}`)); return true })
	w := newWorld(t, hooked("", backend, hook+", when: after, on_unseen: refuse, max_body: 1KiB"))
	require.Equal(t, 200, w.ask(t, chat(`{"model":"m","messages":["`+strings.Repeat("x", 1000)+`"]}`)).status)
	assert.Contains(t, question.Load(), `"body":null,"answer":{"b":2}}`)
}

// What a backend refused holds nothing that a model said.
func TestHookIsNotAskedAboutErrors(t *testing.T) {
	hook := newHook(t, says(`{"action":"deny"}`))
	for _, status := range []string{"400 Bad Request", "404 Not Found", "429 Too Many Requests", "500 Internal Server Error"} {
		backend := newBackend(t, func(a *asked) bool {
			a.write("HTTP/1.1 " + status + "\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nsorry")
			return true
		})
		w := newWorld(t, hooked("", backend, hook+", when: after, on_unseen: refuse"))
		a := w.ask(t, chat(simple))
		assert.Equal(t, status[:3], fmt.Sprint(a.status))
		assert.Contains(t, a.body, "sorry")
		assert.Equal(t, "none", w.hookCount("h0", "after", "deny"))
	}
}

// A form is passed on as it comes, and is not shown; the answer to it is.
func TestHookAndForms(t *testing.T) {
	var question atomic.Value
	hook := newHook(t, func(q string) string { question.Store(q); return allows })
	backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{"text":"heard"}`)); return true })
	form := "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n"
	raw := strings.Replace(postTo("/v1/audio/transcriptions", form), "application/json", "multipart/form-data; boundary=b", 1)
	w := newWorld(t, hooked("", backend, hook+", on_error: pass"))
	requireError(t, w.ask(t, raw), 400, "unsupported_value")
	w = newWorld(t, hooked("", backend, hook+", on_unseen: pass, when: both"))
	require.Equal(t, `{"text":"heard"}`, w.ask(t, raw).body)
	assert.Contains(t, question.Load(), `"model":"m","endpoint":"transcriptions","stream":false,"status":200,"body":null,"answer":{"text":"heard"}}`)
	w = newWorld(t, strings.Replace(hooked("", backend, hook+", on_unseen: refuse, when: after"), "name: m\n", "name: \"*\"\n", 1))
	require.Equal(t, `{"text":"heard"}`, w.ask(t, strings.Replace(raw, "\r\n\r\nm\r\n", "\r\n\r\nn\r\n", 1)).body)
	assert.Contains(t, question.Load(), `"model":"n",`)
}

// Parsers disagree about what is not UTF-8, so a hook is never shown it.
func TestHookNeedsUTF8(t *testing.T) {
	body := "{\"model\":\"m\",\"messages\":[\"\xff\"]}"
	backend := newBackend(t, echoes)
	w := newWorld(t, hooked("", backend, newHook(t, says(allows))+", on_error: pass"))
	requireError(t, w.ask(t, chat(body)), 400, "invalid_json")
	plain := newWorld(t, open("", backend))
	assert.Equal(t, 200, plain.ask(t, chat(body)).status)
}

// The backend's place is free while a hook looks at its answer, and its
// connection serves again.
func TestHookHoldsNoBackend(t *testing.T) {
	asking, proceed := make(chan struct{}), make(chan struct{})
	hook := newHook(t, func(string) string { asking <- struct{}{}; <-proceed; return allows })
	var conns sync.Map
	backend := newBackend(t, func(a *asked) bool {
		conns.Store(a.conn, true)
		a.write(jsonAnswer(`{}`))
		return true
	})
	w := newWorld(t, hooked("", backend, hook+", when: after, on_unseen: refuse, timeout: 20s"))
	for range 2 {
		done := make(chan answer, 1)
		go func() { done <- w.ask(t, chat(simple)) }()
		<-asking
		for _, s := range w.fleet.Status() {
			want := 0
			if s.Pool == HookPool+"h0" {
				want = 1
			}
			assert.Equal(t, want, s.InFlight, s.Pool)
		}
		proceed <- struct{}{}
		assert.Equal(t, 200, (<-done).status)
	}
	n := 0
	conns.Range(func(_, _ any) bool { n++; return true })
	assert.Equal(t, 1, n, "connections to the backend")
}

// A reload keeps a hook's connection, unless the hook is another one.
func TestHookOutlivesReload(t *testing.T) {
	var conns sync.Map
	counted := func(a *asked) bool {
		conns.Store(a.conn, true)
		a.write(jsonAnswer(allows))
		return true
	}
	hook, backend := newBackend(t, counted), newBackend(t, echoes)
	config := hooked("", backend, hook+"/check")
	w := newWorld(t, config)
	f := func(config string, conn int) {
		t.Helper()
		w.srv.Publish(w.compile(t, config))
		require.Equal(t, 200, w.ask(t, chat(simple)).status)
		n := 0
		conns.Range(func(_, _ any) bool { n++; return true })
		assert.Equal(t, conn, n)
	}
	f(config, 1)
	f(config, 1)
	f(strings.Replace(config, "/check", "/check, timeout: 5s, token: secret", 1), 1)
	f(strings.Replace(config, "/check", "/other", 1), 2)
	f(open("", backend), 2)
}

// What hooks add is not the router's own overhead, and is part of the whole.
func TestHookWaitIsNotOverhead(t *testing.T) {
	const wait = 500 * time.Millisecond
	hook := newBackend(t, func(a *asked) bool {
		<-time.After(wait)
		a.write(jsonAnswer(allows))
		return true
	})
	w := newWorld(t, hooked("", newBackend(t, func(a *asked) bool { a.write(jsonAnswer(a.body)); return true }), hook+", when: both, on_unseen: refuse"))
	began := time.Now()
	a := w.ask(t, chat(simple))
	require.Equal(t, 200, a.status, a.body)
	requireTook(t, began, 2*wait)
	ms := 0
	_, err := fmt.Sscan(a.header.Get("Openai-Processing-Ms"), &ms)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, ms, 990)
	overhead := 0.0
	scrape := w.scrape(t)
	_, rest, found := strings.Cut(scrape, "helixflow_overhead_seconds_sum ")
	require.True(t, found)
	_, err = fmt.Sscan(rest, &overhead)
	require.NoError(t, err)
	assert.Less(t, overhead, wait.Seconds())
	assert.Contains(t, scrape, `helixflow_request_duration_seconds_bucket{endpoint="chat_completions",model="m",le="0.1"} 0`)
}

// Many callers through hooks that change everything: each reads its own.
func TestHookIdentity(t *testing.T) {
	wrap := func(q string) string {
		var about struct {
			Phase        string
			Body, Answer struct{ Model, Input string }
		}
		if err := json.Unmarshal([]byte(q), &about); err != nil {
			return err.Error()
		}
		if about.Phase == "after" {
			return `{"action":"replace","body":{"input":"` + about.Answer.Input + ` after ` + about.Body.Input + `"}}`
		}
		return `{"action":"replace","body":{"input":"` + about.Body.Input + `, seen","model":"m"}}`
	}
	backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(a.body)); return true })
	w := newWorld(t, hooked("", backend, newHook(t, wrap)+", when: both, on_unseen: refuse, timeout: 20s"))
	var group sync.WaitGroup
	for caller := range 16 {
		group.Go(func() {
			c, err := net.Dial("tcp", w.addr)
			if !assert.NoError(t, err) {
				return
			}
			defer func() { _ = c.Close() }()
			br := bufio.NewReader(c)
			for i := range 20 {
				canary := strings.Repeat(fmt.Sprintf("%d-%d ", caller, i), 1+i*100)
				_, err := io.WriteString(c, postTo("/v1/embeddings", `{"model":"m","input":"`+canary+`"}`))
				if !assert.NoError(t, err) {
					return
				}
				a := readAnswer(t, br)
				want := `{"input":"` + canary + `, seen after ` + canary + `, seen"}`
				if !assert.Equal(t, want, a.body) {
					return
				}
			}
		})
	}
	group.Wait()
	assert.Equal(t, fmt.Sprint(16*20), w.hookCount("h0", "after", "replace"))
	assert.NotContains(t, w.log.String(), "seen")
}

// A request that a hook stops costs its limits nothing, and one whose answer it
// withholds what that took.
func TestHookAndLimits(t *testing.T) {
	f := func(when, reply, usage, want string) {
		t.Helper()
		backend := newBackend(t, func(a *asked) bool { a.write(jsonAnswer(`{"choices":[]` + usage + `}`)); return true })
		w := newWorld(t, withLimits(hooked("", backend, newHook(t, says(reply))+", on_unseen: refuse, when: "+when)))
		require.NotEqual(t, 200, w.ask(t, chat(`{"model":"m","messages":[],"max_tokens":500}`)).status)
		require.Eventually(t, func() bool { return w.srv.inflight.Load() == 0 }, 20*time.Second, time.Millisecond)
		for _, s := range w.limits.Scopes() {
			if s.Level == admission.Model {
				assert.Regexp(t, want, used(s), when+reply+usage)
			}
		}
	}
	const (
		usage   = `,"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}`
		nothing = "^tokens_per_day 0 concurrent 0 budget 0$"
	)
	f("before", `{"action":"deny"}`, usage, nothing)
	f("before", `nonsense`, usage, nothing)
	for _, reply := range []string{`{"action":"deny"}`, `nonsense`} {
		f("after", reply, usage, "concurrent 0 budget 450$")
		f("after", reply, "", "concurrent 0 budget [1-9][0-9]*$")
	}
}

// What the walk pays for hooks that a model does not have.
func BenchmarkNoHooks(b *testing.B) {
	e := &Exchange{}
	e.name = &publicName{route: &Route{}}
	b.ReportAllocs()
	for b.Loop() {
		if e.askBefore() != nil || e.askAfter() != nil {
			b.Fatal("refused")
		}
	}
}

// A whole request with a hook that allows it, in both phases, on loopback.
func BenchmarkHooks(b *testing.B) {
	backend := newReplier(b, jsonAnswer(`{"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`))
	for _, when := range []string{"off", "before", "both"} {
		b.Run(when, func(b *testing.B) {
			config := open("", backend)
			if when != "off" {
				config = hooked("", backend, newReplier(b, jsonAnswer(allows))+", on_unseen: refuse, when: "+when)
			}
			w := newWorld(b, config)
			c := w.dial(b)
			raw := []byte(chat(simple))
			p := make([]byte, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				if _, err := c.Write(raw); err != nil {
					b.Fatal(err)
				}
				if n, err := c.Read(p); err != nil || !strings.HasPrefix(string(p[:n]), "HTTP/1.1 200") {
					b.Fatalf("%s %v", p[:n], err)
				}
			}
		})
	}
}
