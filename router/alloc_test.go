package router

// The walk allocates nothing, from the client's socket to the backend's and
// back; and whatever is pooled on the way never shows one caller another's.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/testtiming"
)

// newReplier serves reply to each request without allocating: a request comes
// in one segment.
func newReplier(t testing.TB, reply string) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	answer := []byte(reply)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer func() { _ = c.Close() }()
				b := make([]byte, 64<<10)
				for {
					if n, err := c.Read(b); err != nil || n == 0 {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); group.Wait() })
	return "http://" + ln.Addr().String()
}

// withKey is open, but for one tenant with one key.
func withKey(t testing.TB, url string) (config, key string) {
	t.Helper()
	key, hash := newKey(t)
	config = strings.Replace(open("", url), "auth: {anonymous: all}\ntenants: [{name: all}]",
		"tenants: [{name: all, models: [m], keys: [{name: k, hash: \""+hash+"\"}]}]", 1)
	return config, key
}

func TestWalkDoesNotAllocate(t *testing.T) {
	if raceBuild {
		t.Log("the race detector allocates for itself: only walked, not counted")
	}
	filler := strings.Repeat("x", 900)
	unary := jsonAnswer(`{"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`)
	limited, adaptive, hedging := false, false, false
	f := func(name, path, reply, body, last string) {
		t.Helper()
		config, key := withKey(t, newReplier(t, reply))
		if adaptive { // which needs a second backend to choose from, and gets usage to learn from
			config = strings.Replace(config, "    balance: round_robin\n", "", 1)
			config = strings.Replace(config, "    backends:", "    backends:\n      - {url: "+newReplier(t, reply)+"}", 1)
			name += ", adaptive"
		}
		if limited {
			config, name = withLimits(config), name+" with all limits"
		}
		if hedging { // which nobody is late for
			config = strings.Replace(config, "    backends:", "    engine: vllm\n    signals: off\n    serves: any\n    hedge: {after: 10s}\n    backends:", 1)
			name += ", hedging"
		}
		// That others have hooks costs a model without any nothing.
		config = strings.Replace(config, "models:\n", "hooks: [{name: idle, url: http://127.0.0.1:1}]\nmodels:\n  - {name: looked-at, targets: [{pool: p}], hooks: [idle]}\n", 1)
		w := newWorld(t, config)
		c := w.dial(t)
		raw := []byte(postTo(path, body, "Authorization: Bearer "+key, "User-Agent: OpenAI/Python 3.3.1", "X-Stainless-Lang: python", "Accept: application/json"))
		end := []byte(last)
		b := make([]byte, 256<<10)
		once := func() {
			if _, err := c.Write(raw); err != nil {
				t.Fatal(err)
			}
			for n := 0; ; {
				k, err := c.Read(b[n:])
				if err != nil {
					t.Fatal(err)
				}
				if n += k; bytes.HasSuffix(b[:n], end) {
					if !bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
						t.Fatalf("%.300s", b[:n])
					}
					return
				}
			}
		}
		for range 50 {
			once()
		}
		if got := testing.AllocsPerRun(testtiming.Rounds(1000), once); !raceBuild {
			assert.Zero(t, got, name)
		}
	}
	const completions = "/v1/chat/completions"
	f("unary", completions, unary, `{"model":"m","messages":[{"role":"user","content":"`+filler+`"}]}`, "}}")
	limited = true
	f("unary", completions, unary, `{"model":"m","messages":[{"role":"user","content":"`+filler+`"}]}`, "}}")
	for _, chunks := range []int{1, 20, 200} {
		f(fmt.Sprint("stream of ", chunks), completions, sseHead+strings.Repeat(chunkOf(ev2), chunks)+chunkOf(evFin)+chunkOf(evUse)+chunkOf(evDone)+lastChunk,
			`{"model":"m","stream":true,"messages":[{"role":"user","content":"`+filler+`"}]}`, lastChunk)
	}
	adaptive = true
	f("unary", completions, unary, `{"model":"m","messages":[{"role":"user","content":"`+filler+`"}]}`, "}}")
	f("stream", completions, sseHead+chunkOf(ev2)+chunkOf(evFin)+chunkOf(evUse)+chunkOf(evDone)+lastChunk,
		`{"model":"m","stream":true,"messages":[{"role":"user","content":"`+filler+`"}]}`, lastChunk)
	hedging = true
	f("unary", completions, unary, `{"model":"m","messages":[{"role":"user","content":"`+filler+`"}]}`, "}}")
	f("stream", completions, sseHead+chunkOf(ev2)+chunkOf(evFin)+chunkOf(evUse)+chunkOf(evDone)+lastChunk,
		`{"model":"m","stream":true,"messages":[{"role":"user","content":"`+filler+`"}]}`, lastChunk)
	adaptive, hedging = false, false
	// That a response is recorded, and the one before it known, costs none either.
	stored := `{"id":"resp_1","object":"response","output":[{"id":"msg_1","content":"x"}],"usage":{"input_tokens":1,"output_tokens":1}}`
	asked := `{"model":"m","input":"` + filler + `","previous_response_id":"resp_1"}`
	f("response", "/v1/responses", jsonAnswer(stored), asked, "}}")
	created := chunkOf("event: response.created\ndata: {\"type\":\"response.created\",\"response\":" + stored + "}\n\n")
	completed := chunkOf("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":" + stored + "}\n\n")
	f("response as a stream", "/v1/responses", sseHead+created+completed+lastChunk, asked[:len(asked)-1]+`,"stream":true}`, lastChunk)
}

// Many callers on pooled everything, leaving at random: each reads its own
// canary and no other.
func TestIdentity(t *testing.T) {
	const callers = 64
	url := newBackend(t, func(a *asked) bool {
		canary := a.req.Header.Get("X-Canary")
		if !strings.Contains(a.body, canary) || strings.Count(a.head, "canary-") != 1 || strings.Count(a.body, "canary-") != 1 {
			a.write(jsonAnswer(`"canary-mixed: ` + strings.ReplaceAll(a.head+a.body, "\n", " ") + `"`))
			return false
		}
		if strings.Contains(a.body, `"stream":true`) {
			a.write(sseHead + chunkOf(`data: {"id":"`+canary+`"}`+"\n\n"+ev2[:10]))
			a.write(chunkOf(ev2[10:]+`data: {"id":"`+canary+`"}`+"\n\n") + chunkOf(evFin+evUse+evDone) + lastChunk)
			return true
		}
		a.write(jsonAnswer(`{"id":"` + canary + `"}`))
		return true
	})
	w := newWorld(t, open("", url))
	count := 20000
	if testing.Short() {
		count = 2000
	}
	var asked, read atomic.Int64
	var wait sync.WaitGroup
	for caller := range callers {
		wait.Go(func() {
			var c net.Conn
			var br *bufio.Reader
			defer func() {
				if c != nil {
					_ = c.Close()
				}
			}()
			for n := range count / callers {
				if c == nil {
					var err error
					if c, err = net.Dial("tcp", w.addr); !assert.NoError(t, err) {
						return
					}
					_ = c.SetDeadline(time.Now().Add(20 * time.Second))
					br = bufio.NewReader(c)
				}
				canary := fmt.Sprintf("canary-%d-%d.", caller, n)
				body := `{"model":"m","user":"` + canary + `","stream":` + fmt.Sprint(n%2 == 0) + `,"messages":["` + strings.Repeat("y", mrand.IntN(3000)) + `"]}`
				if _, err := io.WriteString(c, chat(body, "X-Canary: "+canary, "x-request-id: "+"id-"+fmt.Sprint(caller, "-", n)[0:1])); !assert.NoError(t, err) {
					return
				}
				asked.Add(1)
				if mrand.IntN(8) == 0 {
					<-time.After(time.Duration(mrand.IntN(500)) * time.Microsecond)
					_ = c.Close()
					c = nil
					continue
				}
				a := readAnswer(t, br)
				want := `{"id":"` + canary + `"}`
				if n%2 == 0 {
					event := `data: {"id":"` + canary + `"}` + "\n\n"
					want = event + ev2 + event + evFin + evDone
				}
				if !assert.Equal(t, want, a.body) || !assert.NoError(t, a.err) {
					return
				}
				read.Add(1)
			}
		})
	}
	wait.Wait()
	assert.Greater(t, read.Load(), asked.Load()/2)
	assert.NotContains(t, w.log.String(), "canary-")
	assert.NotContains(t, w.log.String(), "panic")
	t.Logf("%d asked, %d read", asked.Load(), read.Load())
}
