//go:build integration

// Answers that routers know already, as the official clients see them.

package compat

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testredis"
)

// knownConfig is that of two routers that share what they know; each client has a
// tenant of its own.
const knownConfig = `
server: {lame_duck: 0s, drain_timeout: 5s}
tenants: [%s]
pools: [{name: sim, engine: sim, health: off, backends: [{url: "%s"}]}]
models: [{name: m, targets: [{pool: sim, model: meta-llama/Llama-3.1-8B-Instruct}], cache: {exact: 10m}}]
redis: {url: "%s"}
`

// knownWorld is two routers, and a gate that counts what passes to the engine.
type knownWorld struct {
	*world
	routers, admins [2]string
	keys            map[string]string // by client

	mu    sync.Mutex // guards the fields below
	calls map[string]int
	held  map[string]chan struct{} // closed: the engine may answer
}

// mark is in every prompt, so that each question is told from the others.
var mark = regexp.MustCompile(`mark-[A-Z2-7]+`)

func newKnownWorld(t *testing.T, clients []*Client) *knownWorld {
	w := &knownWorld{
		world: &world{t: t, bin: binary(t)}, keys: map[string]string{}, calls: map[string]int{}, held: map[string]chan struct{}{},
	}
	w.startSim()
	engine, err := url.Parse(w.sim)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(engine)
	proxy.FlushInterval = -1
	gate := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		r.Body = io.NopCloser(bytes.NewReader(body))
		question := mark.FindString(string(body))
		w.mu.Lock()
		w.calls[question]++
		held := w.held[question]
		w.mu.Unlock()
		if held != nil {
			<-held
		}
		if bytes.Contains(body, []byte(richQuestion)) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, richResponse)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(gate.Close)
	var tenants []string
	for _, c := range clients {
		key, hash := w.newKey()
		w.keys[c.Name] = key
		tenants = append(tenants, fmt.Sprintf("{name: %s, keys: [{name: main, hash: %q}]}", c.Name, hash))
	}
	config := fmt.Sprintf(knownConfig, strings.Join(tenants, ", "), gate.URL, testredis.Start(t).URL())
	for i := range w.routers {
		w.routers[i], w.admins[i] = w.serve(config)
	}
	return w
}

// called is how often the engine was asked a question.
func (w *knownWorld) called(question string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[question]
}

// hold keeps the engine from answering a question until it is let go.
func (w *knownWorld) hold(question string) (letGo func()) {
	held := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[question] = held
	return func() { close(held) }
}

// knows reports whether a router has the answer to what o asks.
func (w *knownWorld) knows(t *testing.T, router int, o Order) bool {
	body, err := json.Marshal(o.Body)
	require.NoError(t, err)
	r, err := http.NewRequest(http.MethodPost, "http://"+w.routers[router]+"/v1/"+o.Endpoint, bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+o.Key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Cache-Control", "only-if-cached")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode == http.StatusOK
}

// followers is how many wait for answers that are on their way at the first router.
func (w *knownWorld) followers() (n int) {
	resp, err := http.Get("http://" + w.admins[0] + "/metrics")
	if err != nil {
		return -1
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if found := followersLine.FindSubmatch(text); err == nil && found != nil {
		n, _ = strconv.Atoi(string(found[1]))
	}
	return n
}

var followersLine = regexp.MustCompile(`(?m)^helixflow_cache_followers (\d+)$`)

// questions are what is asked, each as a whole answer and, where there is one, as a
// stream.
var questions = []struct {
	name, endpoint string
	whole          string // the body; %s is the prompt's mark
	streams        bool
}{
	{"chat", "chat/completions", `{"messages":[{"role":"user","content":"sim:tokens=7; %s"}]}`, true},
	{"tools", "chat/completions", `{"messages":[{"role":"user","content":"sim:tool=get_weather; %s"}],"tools":[{"type":"function","function":` + weather + `}]}`, true},
	{"completions", "completions", `{"prompt":"sim:tokens=7; %s"}`, true},
	{"responses", "responses", `{"store":false,"input":"sim:tokens=7; %s"}`, true},
	{"responses-tools", "responses", `{"store":false,"input":"sim:tool=get_weather; %s","tools":[` + strings.Replace(weather, `{`, `{"type":"function","strict":false,`, 1) + `]}`, true},
	{"embeddings", "embeddings", `{"input":"%s","encoding_format":"float"}`, false},
}

// richResponse is the answer to richQuestion: of each kind of item that can be known.
const (
	richQuestion = "everything, please"
	richResponse = `{"id":"resp_1","object":"response","created_at":1787659560,"status":"completed","completed_at":1787659561,"error":null,
"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":"m","output":[
{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"One."},{"type":"summary_text","text":"Two."}]},
{"id":"rs_2","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}],"status":"completed"},
{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[
{"type":"output_text","annotations":[{"type":"url_citation","start_index":0,"end_index":1,"url":"https://example.com","title":"x"}],"logprobs":[],"text":"H\u00e9, 🦊"},
{"type":"refusal","refusal":"No."}]},
{"id":"ctc_1","type":"custom_tool_call","call_id":"call_1","name":"sql","input":"SELECT 1","status":"completed"},
{"id":"fc_1","type":"function_call","call_id":"call_2","name":"get_weather","arguments":"{\"city\":\"Paris\"}","status":"completed"}],
"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":"low","summary":"auto"},"store":false,"temperature":0,
"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1,"truncation":"disabled",
"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":3},"user":null,"metadata":{}}`
)

const weather = `{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city","days"]}}`

// known is an order for what nobody has asked before, and its mark.
func known(t *testing.T, endpoint, body string, stream bool) (o Order, question string) {
	t.Helper()
	question = "mark-" + rand.Text()
	o = Order{Do: "known", Endpoint: endpoint, Times: 1}
	require.NoError(t, json.Unmarshal(fmt.Appendf(nil, body, question), &o.Body))
	o.Body["model"] = "m"
	if endpoint != "embeddings" {
		o.Body["temperature"] = 0
	}
	return o.streaming(stream), question
}

// streaming is the same question, answered in this form.
func (o Order) streaming(stream bool) Order {
	body := map[string]any{}
	for name, value := range o.Body {
		if name != "stream" && name != "stream_options" {
			body[name] = value
		}
	}
	if stream {
		body["stream"] = true
		if o.Endpoint != "responses" {
			body["stream_options"] = map[string]any{"include_usage": true}
		}
	}
	o.Body = body
	return o
}

func TestKnownAnswers(t *testing.T) {
	var clients []*Client
	for i := range Clients {
		switch c := &Clients[i]; c.Name {
		case "openai-python", "openai-node", "openai-go":
			clients = append(clients, c)
		}
	}
	w := newKnownWorld(t, clients)
	var all []*knowing
	for _, c := range clients {
		all = append(all, &knowing{w: w, d: startDriver(t, runtimes[c.Runtime](t), c), tenant: c.Name, key: w.keys[c.Name]})
	}
	each := func(name string, do func(t *testing.T, k *knowing)) {
		t.Run(name, func(t *testing.T) {
			for _, k := range all {
				t.Run(k.tenant, func(t *testing.T) { do(t, k) })
			}
		})
	}
	each("again", func(t *testing.T, k *knowing) {
		t.Parallel()
		k.T = t
		for _, q := range questions {
			k.again(q.name, q.endpoint, q.whole, false, q.streams)
			if q.streams {
				k.again(q.name+" as a stream", q.endpoint, q.whole, true, true)
			}
		}
		k.again("rich", "responses", `{"store":false,"input":"%s `+richQuestion+`"}`, false, true)
	})
	each("purged", func(t *testing.T, k *knowing) {
		t.Parallel()
		k.T = t
		k.purged()
	})
	each("at once", func(t *testing.T, k *knowing) { // one after the other: those who wait are counted
		k.T = t
		k.atOnce(false)
		k.atOnce(true)
	})
}

// knowing is one client that asks.
type knowing struct {
	*testing.T
	w           *knownWorld
	d           *driver
	key, tenant string
}

func (k *knowing) ask(router int, o Order) []Seen {
	k.Helper()
	o.BaseURL, o.Key = "http://"+k.w.routers[router]+"/v1", k.key
	a, raw, _ := k.d.do(k.T, o)
	require.Nil(k, a.Error, raw)
	require.Len(k, a.Seen, o.Times)
	return a.Seen
}

// again asks the same again: in the same form, in the other one, and of the other
// router.
func (k *knowing) again(name, endpoint, body string, stream, both bool) {
	k.Helper()
	o, question := known(k.T, endpoint, body, stream)
	first := k.ask(0, o)[0]
	assert.Equal(k, "miss", first.Cache, name)
	assert.Empty(k, first.Age, name)
	// f asks, and holds what comes of it against the first answer.
	f := func(router int, o Order, how string) (seen Seen) {
		k.Helper()
		seen = k.ask(router, o)[0]
		assert.Equal(k, "hit", seen.Cache, "%s, %s", name, how)
		assert.NotEmpty(k, seen.Age, "%s, %s", name, how)
		assert.JSONEq(k, string(first.Meaning), string(seen.Meaning), "%s, %s", name, how)
		return seen
	}
	assert.JSONEq(k, string(first.Items), string(f(0, o, "again").Items), name)
	if both {
		f(0, o.streaming(!stream), "in the other form")
	}
	o.Key = k.key
	require.Eventually(k, func() bool { return k.w.knows(k.T, 1, o) }, patience, 5*time.Millisecond, "%s: the other router does not know it", name)
	assert.JSONEq(k, string(first.Items), string(f(1, o, "at the other router").Items), name)
	if both {
		f(1, o.streaming(!stream), "in the other form at the other router")
	}
	assert.Equal(k, 1, k.w.called(question), name)
}

// atOnce asks the same several times while the engine takes its time.
func (k *knowing) atOnce(stream bool) {
	k.Helper()
	o, question := known(k.T, questions[0].endpoint, questions[0].whole, stream)
	o.Times = 5
	letGo := k.w.hold(question)
	go func() { // the engine answers when all have asked
		defer letGo()
		assert.Eventually(k, func() bool { return k.w.followers() == o.Times }, 30*time.Second, 5*time.Millisecond, "they do not come together")
	}()
	all := k.ask(0, o)
	results := map[string]int{}
	for _, seen := range all {
		results[seen.Cache]++
		assert.JSONEq(k, string(all[0].Items), string(seen.Items))
	}
	assert.Equal(k, map[string]int{"miss": 1, "coalesced": o.Times - 1}, results)
	assert.Equal(k, 1, k.w.called(question))
}

// purged forgets on one router, and finds that the other one has forgotten too.
func (k *knowing) purged() {
	k.Helper()
	o, question := known(k.T, questions[0].endpoint, questions[0].whole, false)
	k.ask(0, o)
	o.Key = k.key
	require.Eventually(k, func() bool { return k.w.knows(k.T, 1, o) }, patience, 5*time.Millisecond)
	out, err := exec.Command(k.w.bin, "cache", "purge", "--tenant", k.tenant, "--admin", "http://"+k.w.admins[0]).CombinedOutput()
	require.NoError(k, err, string(out))
	require.Eventually(k, func() bool { return !k.w.knows(k.T, 1, o) }, patience, 20*time.Millisecond, "the other router has not heard of it")
	assert.False(k, k.w.knows(k.T, 0, o))
	require.Equal(k, 1, k.w.called(question))
	assert.Equal(k, "miss", k.ask(1, o)[0].Cache)
	assert.Equal(k, 2, k.w.called(question))
}
