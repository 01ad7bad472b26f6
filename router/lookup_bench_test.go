package router

// What the cache costs, and saves.

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/cache"
	"github.com/helixflow/helixflow/internal/openai"
	"github.com/helixflow/helixflow/internal/testtiming"
)

// loop returns what asks raw once more on one connection.
func (w *world) loop(t testing.TB, raw, end string) func() {
	t.Helper()
	return w.loopOf(t, []byte(raw), end)
}

// loopOf is loop of a request that may change in between.
func (w *world) loopOf(t testing.TB, request []byte, end string) func() {
	t.Helper()
	c := w.dial(t)
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Hour)))
	b, last := make([]byte, 256<<10), []byte(end)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; {
			k, err := c.Read(b[n:])
			if err != nil {
				t.Fatal(err)
			}
			if n += k; bytes.HasSuffix(b[:n], last) {
				if !bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
					t.Fatalf("%.300s", b[:n])
				}
				return
			}
		}
	}
}

// A hit allocates nothing, from the client's socket and back.
func TestHitAllocs(t *testing.T) {
	f := func(name, rule, reply, body, end string) {
		t.Helper()
		w := newWorld(t, remembering(newReplier(t, reply), rule))
		once := w.loop(t, chat(body, "OpenAI-Beta: x"), end)
		for range 50 {
			once()
		}
		if got := testing.AllocsPerRun(testtiming.Rounds(1000), once); !raceBuild {
			assert.Zero(t, got, name)
		}
		assert.Contains(t, w.scrape(t), `helixflow_cache_requests_total{model="m",result="miss"} 1`+"\n")
	}
	f("unary", "", jsonAnswer(whole), zero, "}}")
	f("stream", "", streamOf(ev1, ev2, evFin, evUse, evDone), zeroStream, lastChunk)
	f("shared", ", scope: shared, charge: all", jsonAnswer(whole), zero, "}}")
}

func BenchmarkAnswers(b *testing.B) {
	filler := strings.Repeat("x", 900)
	body := `{"model":"m","temperature":0,"messages":[{"role":"user","content":"` + filler + `"}]}`
	f := func(name, config, body string) {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, config)
			once := w.loop(b, chat(body), "}}")
			once()
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
	url := newReplier(b, jsonAnswer(whole))
	f("proxied, no rule", open("", url), body)
	f("proxied, bypass", remembering(url, ""), strings.Replace(body, `"temperature":0,`, "", 1))
	f("hit", remembering(url, ""), body)
}

// BenchmarkKey is what a miss pays for looking.
func BenchmarkKey(b *testing.B) {
	for _, size := range []int{1 << 10, 32 << 10} {
		body := []byte(`{"model":"m","temperature":0,"messages":[{"role":"user","content":"` + strings.Repeat("words ", size/6) + `"}]}`)
		var c openai.Call
		require.NoError(b, openai.Scan(body, helixflow.OpChatCompletions, &c))
		rule := cache.Rule{Sharing: cache.ByTenant}
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var v openai.View
			var keys cache.Keys
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if !v.Read(body, &c) || rule.Judge(helixflow.OpChatCompletions, body, &c, &v) != cache.Keeps {
					b.Fatal("not kept")
				}
				k := keys.Of(cache.NewScope(cache.ByTenant, "acme", ""), &cache.Question{Op: c.Op, Model: "m", Body: body, Call: &c, View: &v})
				_ = k
			}
		})
	}
}
