package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/v1"
}

func run(t *testing.T, o Options) *Result {
	t.Helper()
	if o.Model == "" {
		o.Model = "m"
	}
	if o.Duration == 0 {
		o.Duration = 200 * time.Millisecond
	}
	if o.Connections == 0 {
		o.Connections = 3
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := Run(ctx, o)
	require.NoError(t, err)
	return r
}

func TestClosedLoop(t *testing.T) {
	var asked atomic.Int64
	r := run(t, Options{Key: "k", Prompt: `say "hi"`, MaxTokens: 7, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.JSONEq(t, `{"model":"m","messages":[{"role":"user","content":"say \"hi\""}],"max_tokens":7}`, string(body))
		assert.Equal(t, "/v1/chat/completions", r.URL.Path)
		assert.Equal(t, "Bearer k", r.Header.Get("Authorization"))
		fmt.Fprint(w, "{}")
	})})
	assert.Empty(t, r.Failed)
	assert.Equal(t, int(asked.Load()), r.Requests())
	assert.Positive(t, r.Requests())
	assert.LessOrEqual(t, r.Latency.Quantile(0.5), r.Latency.Quantile(1))
}

// TestDistinct asks nothing twice, and changes nothing but a number.
func TestDistinct(t *testing.T) {
	const like = "0123456789abcdef"
	var asked sync.Map
	seed := 1
	r := run(t, Options{Key: like, Model: like, Prompt: like, Seed: &seed, Distinct: true, URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		assert.Equal(t, "Bearer "+like, r.Header.Get("Authorization"))
		found := regexp.MustCompile(`^\{"model":"` + like + `","messages":\[\{"role":"user","content":"([0-9a-f]{16}) ` + like + `"}],"seed":1,"temperature":0}$`).FindSubmatch(body)
		if assert.NotNil(t, found, "%s", body) {
			_, again := asked.LoadOrStore(string(found[1]), true)
			assert.False(t, again)
		}
		fmt.Fprint(w, "{}")
	})})
	assert.Empty(t, r.Failed)
	assert.Greater(t, r.Requests(), 3)
}

// TestStreams counts events however they are cut into reads, and asks for their end.
func TestStreams(t *testing.T) {
	stream := func(pieces ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for _, p := range pieces {
				fmt.Fprint(w, p)
				w.(http.Flusher).Flush()
				time.Sleep(2 * time.Millisecond)
			}
		}
	}
	r := run(t, Options{Stream: true, URL: serve(t, stream("data: 1\n", "\nda", "ta: 2\n\n", "data: [DO", "NE]\n", "\n"))})
	assert.Empty(t, r.Failed)
	assert.Positive(t, r.Requests())
	assert.Equal(t, 3*r.Requests(), r.Events)
	assert.Len(t, r.TTFT, r.Requests())
	assert.GreaterOrEqual(t, r.TTFT[0], 2*time.Millisecond, "the first event is whole with its second piece")

	r = run(t, Options{Stream: true, URL: serve(t, stream("data: 1\n\n"))})
	assert.Zero(t, r.Requests())
	assert.Equal(t, []string{errTorn.Error()}, keys(r.Failed))
}

// TestEvents: the first event is noted apart, then each read that brings some.
func TestEvents(t *testing.T) {
	f := func(first, gaps, events int, pieces ...string) {
		t.Helper()
		var readers []io.Reader
		for _, p := range pieces {
			readers = append(readers, strings.NewReader(p))
		}
		c := client{piece: make([]byte, 64)}
		require.NoError(t, c.events(io.MultiReader(readers...), time.Now()))
		assert.Equal(t, []int{first, gaps, events}, []int{len(c.result.TTFT), len(c.result.Gap), c.result.Events})
	}
	f(1, 2, 3, "data: 1\n", "\nda", "ta: 2\n\n", "data: [DO", "NE]\n", "\n")
	f(1, 0, 3, "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n")
	f(1, 1, 3, "data: 1\n\ndata: 2\n\ndata: [DONE]\n", "\n")
	f(1, 0, 1, strings.Split("data: [DONE]\n\n", "")...)
	f(1, 2, 3, "data: "+strings.Repeat("long", 100)+"\n\n", "data: 2\n\n", "data: [DONE]\n\n")
}

// TestUnsent: what came due and could not be sent is told.
func TestUnsent(t *testing.T) {
	r := run(t, Options{Connections: 1, Rate: 100, Duration: 200 * time.Millisecond, URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		fmt.Fprint(w, "{}")
	})})
	assert.Equal(t, 1, r.Requests())
	assert.Equal(t, 19, r.Unsent)
}

func TestFailures(t *testing.T) {
	r := run(t, Options{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "slow down", http.StatusTooManyRequests) })})
	assert.Zero(t, r.Requests())
	assert.Equal(t, []string{"refused with 429: slow down"}, keys(r.Failed))
	assert.Equal(t, r.Failed["refused with 429: slow down"], r.Failures())

	var n atomic.Int64
	r = run(t, Options{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, fmt.Sprint(n.Add(1)), http.StatusBadGateway)
	}), Connections: 20})
	assert.LessOrEqual(t, len(r.Failed), manyReasons+1, "what an endpoint says does not fill the memory")
	assert.Equal(t, int(n.Load()), r.Failures())

	r = run(t, Options{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "short")
	})})
	assert.Zero(t, r.Requests())

	r = run(t, Options{URL: "http://127.0.0.1:1/v1"})
	assert.Zero(t, r.Requests())
	assert.Contains(t, strings.Join(keys(r.Failed), " "), "cannot connect")
}

// TestClosedMeanwhile: a server may close a connection that is idle, and that is
// no failure.
func TestClosedMeanwhile(t *testing.T) {
	var first atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		first.Add(1)
		fmt.Fprint(w, "{}")
	}))
	s.Config.IdleTimeout = time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	r := run(t, Options{URL: s.URL + "/v1", Connections: 1, Rate: 50})
	assert.Empty(t, r.Failed)
	assert.Positive(t, r.Requests())
}

// TestOpenLoop: a stall is seen by all whom it meets, and the rate is held.
func TestOpenLoop(t *testing.T) {
	var asked atomic.Int64
	r := run(t, Options{Connections: 1, Rate: 200, Duration: 500 * time.Millisecond, URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			time.Sleep(200 * time.Millisecond)
		}
		fmt.Fprint(w, "{}")
	})})
	assert.Empty(t, r.Failed)
	assert.LessOrEqual(t, r.Requests(), 101)
	late := 0
	for _, d := range r.Latency {
		if d > 50*time.Millisecond {
			late++
		}
	}
	assert.GreaterOrEqual(t, late, 20, "those that were due in the stall waited too")
}

func TestStops(t *testing.T) {
	arrived := make(chan struct{}, 1)
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is a hang-up seen
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-arrived; cancel() }()
	begin := time.Now()
	r, err := Run(ctx, Options{URL: url, Model: "m", Connections: 1, Duration: time.Hour})
	require.NoError(t, err)
	assert.Zero(t, r.Requests()+r.Failures(), "what was cut off does not count")
	assert.Less(t, time.Since(begin), patience)
}

func TestOptions(t *testing.T) {
	f := func(change func(*Options), want string) {
		t.Helper()
		o := Options{URL: "http://127.0.0.1:1/v1", Model: "m", Connections: 1, Duration: time.Second}
		change(&o)
		assert.ErrorContains(t, o.Validate(), want)
	}
	f(func(o *Options) { o.Connections = 0 }, "connections: must be from 1")
	f(func(o *Options) { o.Rate = -1 }, "rate: must be")
	f(func(o *Options) { o.Duration = 0 }, "duration: must be")
	f(func(o *Options) { o.Model = "" }, "model: is missing")
	f(func(o *Options) { o.Key = "a\r\nb" }, "key: must be one line")
	f(func(o *Options) { o.MaxTokens = -1 }, "max tokens: must not be")
	f(func(o *Options) { o.Timeout = -1 }, "timeout: must not be")
	f(func(o *Options) { o.URL = "127.0.0.1:1" }, "cannot parse the URL")
	f(func(o *Options) { o.URL = "ftp://h/v1" }, "must begin with http")
	f(func(o *Options) { o.URL = "http://u:secret@h/v1" }, `URL "http://u:xxxxx@h/v1": must be a base URL`)
	f(func(o *Options) { o.URL = "http:///v1" }, "must be a base URL")
	good := Options{URL: "https://h/v1/", Model: "m", Connections: 1, Duration: 1}
	require.NoError(t, good.Validate())
	e, err := good.endpoint()
	require.NoError(t, err)
	assert.Equal(t, "h:443 h /v1/chat/completions", e.address+" "+e.host+" "+e.path)
}

func TestQuantile(t *testing.T) {
	times := Times{1, 2, 3, 4}
	assert.Equal(t, time.Duration(3), times.Quantile(0.5))
	assert.Equal(t, time.Duration(4), times.Quantile(1))
	assert.Zero(t, Times(nil).Quantile(0.5))
}

func keys(m map[string]int) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}
