package backends

// What is read of engines that tell the truth, nothing, or nonsense, and what the
// balancer and an operator see of it. The network is scripted and the clock a
// bubble's.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/helixflow/helixflow/backends/signals"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/secret"
)

// teller is an engine that is asked for what it tells of itself.
type teller struct {
	serving *sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	script map[string]func(c net.Conn) (keep bool)
	asked  []string // method and target of each request, and its Authorization
	dialed int
	down   bool
}

func (e *teller) says(path string, answer func(c net.Conn) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.script[path] = answer
}

func (e *teller) requests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.asked...)
}

func (e *teller) dial(context.Context, netip.AddrPort) (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	e.dialed++
	near, far := net.Pipe()
	e.serving.Go(func() {
		defer func() { _ = far.Close() }()
		for br := bufio.NewReader(far); ; {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			e.mu.Lock()
			e.asked = append(e.asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization")))
			answer := e.script[r.URL.Path]
			e.mu.Unlock()
			if answer == nil {
				answer = raw("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
			}
			if !answer(far) {
				return
			}
		}
	})
	return near, nil
}

func (e *teller) isDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = down
}

// raw answers with these bytes.
func raw(text string) func(net.Conn) bool {
	return func(c net.Conn) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

// page is a proper answer.
func page(kind, body string) func(net.Conn) bool {
	return raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body))
}

func metrics(body string) func(net.Conn) bool { return page("text/plain; version=0.0.4", body) }

// seen is what an operator sees of the endpoint, a word for each signal.
func seen(ep *Endpoint) string {
	s := ep.Told(time.Now())
	if s == nil {
		return "not asked"
	}
	var words []string
	for _, v := range s.Values {
		if v.Known {
			words = append(words, fmt.Sprintf("%s=%g", v.Name, v.Value))
		} else {
			words = append(words, fmt.Sprintf("%s(%s)", v.Name, v.Why))
		}
	}
	return strings.TrimSpace(s.Problem + " " + strings.Join(words, " "))
}

// watchOne runs f with one endpoint whose signals are read as watching says.
func watchOne(t *testing.T, watching Watching, f func(w *ward, ep *Endpoint, e *teller)) {
	t.Helper()
	admit(t, 0, func(w *ward) {
		e := &teller{serving: &w.engines, script: map[string]func(net.Conn) bool{}}
		ep := w.adopt("http://10.0.0.1/v1")
		ep.dialer.connect = e.dial
		w.list = append(w.list, ep)
		w.rules.Checks.Off = true
		w.rules.Watching = watching
		f(w, ep, e)
	})
}

var watchVLLM = Watching{Metrics: signals.Of("vllm"), Every: time.Second}

func TestReadsMetrics(t *testing.T) {
	watching := watchVLLM
	watching.Header = secret.New("Authorization: Bearer key\r\n")
	watchOne(t, watching, func(w *ward, ep *Endpoint, e *teller) {
		text, err := os.ReadFile("signals/testdata/vllm.txt")
		require.NoError(t, err)
		e.says("/metrics", metrics(string(text)))
		w.retain()
		synctest.Wait()
		assert.Contains(t, seen(ep), "running(not read yet)")
		w.wait(1100 * time.Millisecond)
		now := int64(ep.pool.tick(time.Now()))
		f := func(want float64, get func(int64) (float64, time.Duration)) {
			t.Helper()
			v, age := get(now)
			assert.Equal(t, want, v)
			assert.Less(t, age, time.Second+200*time.Millisecond)
		}
		f(7, ep.Signals.Running)
		f(3, ep.Signals.Waiting)
		f(0.25, ep.Signals.KV)
		assert.EqualValues(t, 2*8192*16, ep.Signals.KVTokens())
		assert.Equal(t, "running=7 waiting=3 kv_use=0.25 kv_tokens=262144 preemptions=0", seen(ep))
		assert.Contains(t, w.scrape(), `helixflow_backend_signal{backend="http://10.0.0.1/v1",signal="kv_use"} 0.25`)
		assert.Contains(t, w.scrape(), `helixflow_backend_signal_known{backend="http://10.0.0.1/v1",signal="waiting"} 1`)
		assert.Regexp(t, `helixflow_backend_metrics_reads_total\{backend="http://10.0.0.1/v1",result="ok"\} [12]\n`, w.scrape()) // by the jitter
		assert.Empty(t, ep.Status(time.Now()).Warning)

		w.wait(60 * time.Second)
		assert.InDelta(t, 61, len(e.requests()), 7, "each second, a tenth more or less")
		assert.Equal(t, "GET /metrics Bearer key", e.requests()[0])
		assert.Equal(t, 1, e.dialed, "over one connection")
		assert.Zero(t, ep.Load.InFlight())

		w.rules.Watching = Watching{}
		w.retain()
		w.wait(time.Second)
		n := len(e.requests())
		w.wait(time.Minute)
		assert.Len(t, e.requests(), n, "off")
		assert.Equal(t, "not asked", seen(ep))
		_, age := ep.Signals.KV(now)
		assert.Equal(t, balancer.Never, age)
	})
}

// TestHostileMetrics: whatever the engine answers, nothing is made of it, and the
// operator reads why.
func TestHostileMetrics(t *testing.T) {
	const one = "vllm:num_requests_waiting 3\n"
	f := func(answer func(net.Conn) bool, problem string) {
		t.Helper()
		watchOne(t, watchVLLM, func(w *ward, ep *Endpoint, e *teller) {
			e.says("/metrics", answer)
			w.retain()
			w.wait(5 * time.Second)
			s := ep.Told(time.Now())
			assert.Equal(t, problem, s.Problem)
			for _, v := range s.Values {
				assert.False(t, v.Known, v.Name)
				assert.Equal(t, "not read", v.Why)
			}
			assert.Equal(t, "its metrics are not read: "+problem, ep.Status(time.Now()).Warning)
			assert.Equal(t, Healthy, ep.State(), "not a matter of health")
			assert.Contains(t, w.scrape(), `helixflow_backend_signal_known{backend="http://10.0.0.1/v1",signal="waiting"} 0`)
			w.wait(30 * time.Second)
			assert.LessOrEqual(t, len(e.requests()), 16, "reads back off; one may be tried again on a new connection")
		})
	}
	f(raw("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "it is answered with HTTP 404 Not Found")
	f(raw("HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n"), "it is answered with HTTP 501 Not Implemented")
	f(raw("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"), "it is answered with HTTP 307 Temporary Redirect")
	f(raw("HTTP/1.1 204 No Content\r\n\r\n"), "it is answered with HTTP 204 No Content")
	f(page("text/html; charset=utf-8", one), "its answer is HTML or JSON, not metrics")
	f(page("Application/JSON", one), "its answer is HTML or JSON, not metrics")
	f(raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"), "its answer is compressed, which was not asked for")
	f(raw("SSH-2.0-OpenSSH_9.6\r\n\r\n"), "its head is malformed")
	f(raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+one), "no whole answer within 2s")
	f(raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "malformed chunk size")
	f(func(c net.Conn) bool { _, _ = io.Copy(io.Discard, c); return false }, "no whole answer within 2s")
	f(func(net.Conn) bool { return false }, "connection closed without an answer")
	f(func(c net.Conn) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+one)
		return false // cut
	}, "connection closed without an answer")
	f(func(c net.Conn) bool { // a byte now and then
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return false
			}
			time.Sleep(100 * time.Millisecond)
		}
	}, "no whole answer within 2s")
	f(func(c net.Conn) bool { // without an end
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for piece := strings.Repeat("x 1\n", 8<<10); ; {
			if _, err := io.WriteString(c, piece); err != nil {
				return false
			}
		}
	}, "the text is longer than 8 MiB")
	f(func(c net.Conn) bool { // a head without an end
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-A: b\r\n", 10_000))
		return false
	}, "the head of its answer is above 16 KiB")
}

// TestNonsenseIsOff: each number for itself. What made sense before is forgotten
// at once, not left standing.
func TestNonsenseIsOff(t *testing.T) {
	watchOne(t, watchVLLM, func(w *ward, ep *Endpoint, e *teller) {
		const good = "vllm:num_requests_running 1\nvllm:num_requests_waiting 2\nvllm:kv_cache_usage_perc 0.5\n"
		f := func(body, want string) {
			t.Helper()
			e.says("/metrics", metrics(body))
			w.wait(1200 * time.Millisecond)
			assert.Equal(t, want, seen(ep))
		}
		w.retain()
		f(good, "running=1 waiting=2 kv_use=0.5 kv_tokens(not told) preemptions(not told)")
		f(strings.Replace(good, "0.5", "NaN", 1), "running=1 waiting=2 kv_use(not a number) kv_tokens(not told) preemptions(not told)")
		f(good, "running=1 waiting=2 kv_use=0.5 kv_tokens(not told) preemptions(not told)")
		f(strings.Replace(good, "0.5", "-3", 1), "running=1 waiting=2 kv_use(below zero) kv_tokens(not told) preemptions(not told)")
		f(strings.Replace(good, "0.5", "50", 1), "running=1 waiting=2 kv_use(more than there can be) kv_tokens(not told) preemptions(not told)")
		f(good+good, "running(the same series twice) waiting(the same series twice) kv_use(the same series twice) kv_tokens(not told) preemptions(not told)")
		f("", "running(not told) waiting(not told) kv_use(not told) kv_tokens(not told) preemptions(not told)")
		_, age := ep.Signals.Waiting(math.MaxInt64)
		assert.Equal(t, balancer.Never, age)
	})
}

// TestSignalsGrowOld: an engine that stops answering keeps its word for a while,
// and then it is not known.
func TestSignalsGrowOld(t *testing.T) {
	watchOne(t, watchVLLM, func(w *ward, ep *Endpoint, e *teller) {
		e.says("/metrics", metrics("vllm:num_requests_waiting 2\n"))
		w.retain()
		w.wait(1200 * time.Millisecond)
		e.says("/metrics", raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"))
		w.wait(2 * time.Second)
		assert.Contains(t, seen(ep), "waiting=2")
		w.wait(10 * time.Second)
		assert.Contains(t, seen(ep), "waiting(not read)")
	})
}

func TestSlowMetricsAreReadLess(t *testing.T) {
	watchOne(t, watchVLLM, func(w *ward, ep *Endpoint, e *teller) {
		e.says("/metrics", func(c net.Conn) bool {
			time.Sleep(150 * time.Millisecond)
			return metrics("vllm:num_requests_waiting 2\n")(c)
		})
		w.retain()
		w.wait(2 * time.Minute)
		assert.InDelta(t, 14, len(e.requests()), 3, "each 10 s in the end")
		assert.Regexp(t, `waiting(=2|\(too old\))`, seen(ep), "it is slow, not wrong; what is read each 10 s may just have grown old")
		e.says("/metrics", metrics("vllm:num_requests_waiting 2\n"))
		w.wait(12 * time.Second)
		n := len(e.requests())
		w.wait(30 * time.Second)
		assert.InDelta(t, 30, len(e.requests())-n, 4)
	})
}

// TestRestart: a later start, or less work than was done, means an empty cache.
func TestRestart(t *testing.T) {
	watchOne(t, watchVLLM, func(w *ward, ep *Endpoint, e *teller) {
		f := func(body string, restarts uint32) {
			t.Helper()
			e.says("/metrics", metrics(body))
			w.wait(1200 * time.Millisecond)
			assert.Equal(t, restarts, ep.Signals.Restarts(), body)
		}
		w.retain()
		f("process_start_time_seconds 1000.25\nvllm:prompt_tokens_total 50\n", 0)
		f("process_start_time_seconds 1000.75\nvllm:prompt_tokens_total 60\n", 0) // rounded otherwise
		f("process_start_time_seconds 2000\nvllm:prompt_tokens_total 60\n", 1)
		f("process_start_time_seconds NaN\nvllm:prompt_tokens_total 70\n", 1)
		f("process_start_time_seconds 2000\nvllm:prompt_tokens_total 70\n", 1)
		f("vllm:prompt_tokens_total 80\n", 1)
		f("vllm:prompt_tokens_total 3\n", 2)
		f("vllm:prompt_tokens_total NaN\n", 2)
		f("vllm:prompt_tokens_total 4\n", 2)
		assert.Contains(t, w.scrape(), `helixflow_backend_restarts_total{backend="http://10.0.0.1/v1"} 2`)
	})
}

// TestCounts: of what only grows, it counts by how much.
func TestCounts(t *testing.T) {
	watchOne(t, watchVLLM, func(w *ward, ep *Endpoint, e *teller) {
		f := func(queries, hits, preempted int, want string) {
			t.Helper()
			e.says("/metrics", metrics(fmt.Sprintf("vllm:prefix_cache_queries_total %d\nvllm:prefix_cache_hits_total %d\nvllm:num_preemptions_total %d\n", queries, hits, preempted)))
			w.wait(1200 * time.Millisecond)
			assert.Equal(t, "running(not told) waiting(not told) kv_use(not told) kv_tokens(not told) "+want, seen(ep))
		}
		w.retain()
		f(1000, 900, 7, "preemptions=0")
		f(1100, 950, 7, "prefix_hits=0.5 preemptions=0")
		f(1100, 950, 9, "prefix_hits=0.5 preemptions=2")
		f(1200, 950, 9, "prefix_hits=0 preemptions=2")
	})
}

func TestModelLists(t *testing.T) {
	watchOne(t, Watching{Models: ModelLists{Served: true}}, func(w *ward, ep *Endpoint, e *teller) {
		f := func(answer func(net.Conn) bool, wait time.Duration, served, problem string) {
			t.Helper()
			e.says("/v1/models", answer)
			w.wait(wait)
			s := ep.Told(time.Now())
			assert.Equal(t, served, strings.Join(s.Served, " "))
			assert.Equal(t, problem, s.Lists)
			serves, _ := w.m.Serves("b", time.Now())
			assert.Equal(t, served == "" || strings.Contains(served, "b"), serves.Has(0))
			serves, _ = w.m.Serving("nobody's").At(time.Now())
			assert.Equal(t, served == "", serves.Has(0))
		}
		w.retain()
		json := func(body string) func(net.Conn) bool { return page("application/json", body) }
		f(json(`{"data":[{"id":"b"},{"id":"a","parent":"b"}]}`), 2*time.Second, "a b", "")
		f(json(`{"data":[{"id":"a"}]}`), 12*time.Second, "a", "")
		f(json(`{"data":[{"id":"b"}]`), 12*time.Second, "a", "the list of its models is not understood")
		f(json(`{"data":null}`), 12*time.Second, "a", "the list of its models is not understood")
		f(json(`[`+strings.Repeat(" ", listBytes)+`]`), 15*time.Second, "", "GET /v1/models: the list of its models is longer than 1 MiB")
		f(json(`{"data":[{"id":"b"}]}`), 12*time.Second, "b", "")
		f(raw("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), 40*time.Second, "", "GET /v1/models: it is answered with HTTP 401 Unauthorized")
		assert.Contains(t, ep.Status(time.Now()).Warning, "its models are not known: ")
	})
}

// TestEmptyListServesNothing tells one that is empty from one that is not known.
func TestEmptyListServesNothing(t *testing.T) {
	watchOne(t, Watching{Models: ModelLists{Served: true}}, func(w *ward, _ *Endpoint, e *teller) {
		e.says("/v1/models", page("application/json", `{"data":[]}`))
		w.retain()
		serves, _ := w.m.Serves("m", time.Now())
		assert.True(t, serves.Has(0), "not known yet")
		w.wait(2 * time.Second)
		serves, _ = w.m.Serves("m", time.Now())
		assert.True(t, serves.Empty())
	})
}

func TestOllama(t *testing.T) {
	all := ModelLists{Served: true, Loaded: true, Ollama: true}
	watchOne(t, Watching{Models: all}, func(w *ward, ep *Endpoint, e *teller) {
		e.says("/v1/models", page("application/json", `{"data":[{"id":"llama3:latest"},{"id":"Qwen:7b"}]}`))
		e.says("/api/ps", page("application/json", `{"models":[{"name":"qwen:7b","model":"qwen:7b","size_vram":1}]}`))
		w.retain()
		w.wait(2 * time.Second)
		f := func(model string, wantServes, wantCold bool) {
			t.Helper()
			serves, cold := w.m.Serves(model, time.Now())
			assert.Equal(t, wantServes, serves.Has(0), model)
			assert.Equal(t, wantCold, cold.Has(0), model)
		}
		f("llama3", true, true)
		f("LLAMA3:latest", true, true)
		f("llama3:8b", false, false)
		f("qwen:7b", true, false)
		f("qwen", false, false)
		s := ep.Told(time.Now())
		assert.Equal(t, []string{"llama3:latest", "qwen:7b"}, s.Served)
		assert.Equal(t, []string{"qwen:7b"}, s.Loaded)
		assert.Contains(t, e.requests(), "GET /api/ps", "of the server, not of its API")
	})
}

func TestLlamaCppProps(t *testing.T) {
	watchOne(t, Watching{Metrics: signals.Of("llamacpp"), Every: time.Second, Props: true}, func(w *ward, ep *Endpoint, e *teller) {
		e.says("/metrics", metrics("llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:prompt_tokens_total 9\n"))
		e.says("/props", page("application/json", `{"total_slots":4,"default_generation_settings":{"n_ctx":2048}}`))
		w.retain()
		w.wait(5 * time.Second)
		assert.Equal(t, "running=1 waiting=2 kv_use(not told) kv_tokens=8192 slots=4", seen(ep))
	})
}

func TestQuota(t *testing.T) {
	f := func(lines string, want float64) {
		t.Helper()
		admit(t, 1, func(w *ward) {
			var h fasthttp.ResponseHeader
			require.NoError(t, h.Read(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+lines+"\r\n"))))
			w.list[0].ReadQuota(&h, time.Now())
			used, age := w.list[0].Signals.Quota(int64(w.list[0].pool.tick(time.Now())))
			if want < 0 {
				assert.Equal(t, balancer.Never, age, lines)
				return
			}
			assert.InDelta(t, want, used, 1e-9, lines)
			assert.Less(t, age, time.Second)
			assert.Zero(t, testing.AllocsPerRun(10, func() { w.list[0].ReadQuota(&h, time.Now()) }))
		})
	}
	f("", -1)
	f("x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 25\r\n", 0.75)
	f("X-RateLimit-Limit-Tokens: 1000\r\nX-RateLimit-Remaining-Tokens: 1000\r\n", 0)
	f("x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 25\r\nx-ratelimit-limit-tokens: 100\r\nx-ratelimit-remaining-tokens: 5\r\n", 0.95)
	f("anthropic-ratelimit-tokens-limit: 100\r\nanthropic-ratelimit-tokens-remaining: 0\r\n", 1)
	f("x-ratelimit-limit-requests: 100\r\n", -1)
	f("x-ratelimit-limit-requests: 0\r\nx-ratelimit-remaining-requests: 0\r\n", -1)
	f("x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 11\r\n", -1)
	f("x-ratelimit-limit-requests: NaN\r\nx-ratelimit-remaining-requests: -1\r\n", -1)
	f("x-ratelimit-limit-requests: 1e3\r\nx-ratelimit-remaining-requests: 99999999999999999999\r\n", -1)
}

// TestReadAllocatesNothing: a read over a connection that is there costs no memory.
func TestReadAllocatesNothing(t *testing.T) {
	text, err := os.ReadFile("signals/testdata/vllm.txt")
	require.NoError(t, err)
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	ep := &Endpoint{dialer: &Dialer{}, pool: &pool{fleet: &Fleet{began: time.Now()}}}
	w := &watcher{ep: ep, ctx: t.Context(), now: watchVLLM, scanner: signals.NewScanner(watchVLLM.Metrics)}
	w.feed = w.scanner.Feed
	e := &w.metrics
	e.nc, e.br = nil, bufio.NewReaderSize(nil, readBufferSize)
	again := &repeated{text: answer}
	e.nc, e.used, e.forget = again, time.Now(), func() bool { return true }
	e.br.Reset(again)
	w.ask = []byte("GET /metrics HTTP/1.1\r\n\r\n")
	w.read()
	running, _ := w.told.Load().report.Get(signals.Running)
	require.EqualValues(t, 7, running)
	assert.Zero(t, testing.AllocsPerRun(100, w.read))
}

// repeated is a connection over which each request gets the same answer.
type repeated struct {
	net.Conn
	text string
	rest string
}

func (r *repeated) Write(p []byte) (int, error) { r.rest = r.text; return len(p), nil }
func (r *repeated) SetDeadline(time.Time) error { return nil }
func (r *repeated) Close() error                { return nil }
func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
