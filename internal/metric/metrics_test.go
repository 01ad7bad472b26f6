// These tests read what a scrape would read, with a parser of their own.
package metric

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
)

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",? ?)*\})? (\S+)$`)
	helpLine   = regexp.MustCompile(`^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) .+$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)$`)
)

// scrape parses a whole exposition, strictly, into series and their values. It
// fails on a line the format does not allow, a series that stands twice, one
// without a TYPE of its family, and a family in two places.
func scrape(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	var b strings.Builder
	m.WritePrometheus(&b)
	require.True(t, strings.HasSuffix(b.String(), "\n"))
	got, kinds, current := map[string]float64{}, map[string]string{}, ""
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "go_info") {
			continue // the library puts spaces between labels
		}
		if helpLine.MatchString(line) {
			continue
		}
		if parts := typeLine.FindStringSubmatch(line); parts != nil {
			require.Empty(t, kinds[parts[1]], "twice: %s", line)
			current, kinds[parts[1]] = parts[1], parts[2]
			continue
		}
		parts := sampleLine.FindStringSubmatch(line)
		require.NotNil(t, parts, "not a sample: %q", line)
		value, err := strconv.ParseFloat(parts[3], 64)
		require.NoError(t, err, line)
		require.NotContains(t, got, parts[1]+parts[2], "twice")
		got[parts[1]+parts[2]] = value
		family := parts[1]
		if strings.HasPrefix(family, "go_") || strings.HasPrefix(family, "process_") {
			continue // of the process, which the library writes without metadata
		}
		if kinds[current] == "histogram" {
			family = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(family, "")
		}
		require.Equal(t, current, family, "outside its family: %s", line)
	}
	return got
}

// ours drops what is not HelixFlow's own.
func ours(series map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for name, value := range series {
		if strings.HasPrefix(name, "helixflow_") {
			out[name] = value
		}
	}
	return out
}

func TestScrapeAtZero(t *testing.T) {
	got := scrape(t, New())
	want := map[string]float64{
		"helixflow_client_disconnects_total":               0,
		"helixflow_stream_truncations_total":               0,
		"helixflow_requests_given_up_total":                0,
		"helixflow_panics_total":                           0,
		`helixflow_config_reloads_total{result="done"}`:    0,
		`helixflow_config_reloads_total{result="refused"}`: 0,
		"helixflow_auth_throttled_total":                   0,
		"helixflow_keyring_keys":                           0,
	}
	for _, class := range Classes {
		want[`helixflow_requests_shed_total{class="`+class+`"}`] = 0
	}
	for r := helixflow.AuthAccepted + 1; r < helixflow.NumAuthReasons; r++ {
		want[`helixflow_auth_failures_total{reason="`+r.String()+`"}`] = 0
	}
	assert.Equal(t, want, ours(got))
	assert.Contains(t, got, "go_goroutines")
	assert.Contains(t, got, "process_resident_memory_bytes")
}

func TestScrapeAfterTraffic(t *testing.T) {
	m := New()
	m.SetBuild("v1.2.3", "abc", "go1.26")
	m.AuthFailure(helixflow.AuthExpired)
	m.AuthFailure(helixflow.NumAuthReasons) // no reason: not counted as one
	m.Keyring(7)
	llama := m.Model("llama")
	llama.Request(helixflow.OpChatCompletions, true, 200, 80*time.Millisecond)
	llama.Request(helixflow.OpChatCompletions, true, 200, 80*time.Millisecond)
	llama.Request(helixflow.OpChatCompletions, false, 418, time.Second)
	m.Model("llama").Request(helixflow.OpEmbeddings, false, 200, time.Hour)
	m.Model(OtherModel).Request(helixflow.NumOps+3, false, -1, -time.Second)
	llama.FirstToken(time.Millisecond)
	llama.Tokens(helixflow.Usage{InputTokens: 10, CachedTokens: 4, OutputTokens: 7, Reported: true})
	llama.Tokens(helixflow.Usage{InputTokens: 5, OutputTokens: math.MinInt64, Reported: true})
	llama.Tokens(helixflow.Usage{InputTokens: 99})
	a := m.Backend("gpu-a", func() float64 { return 3 })
	a.Request(503)
	a.Request(0)
	a.Retry()
	a.Ejection()
	a.Watch(&BackendWatch{
		States: []string{"ready", "ejected"}, State: func() int { return 1 },
		Certificate: func() time.Time { return time.Unix(1800000000, 0) },
		Signals: func() Signals {
			return Signals{
				Values: []Signal{{Name: "kv_use", Value: 0.25, Known: true}, {Name: "waiting"}},
				Reads:  []Count{{"ok", 7}, {"failed", 1}}, Restarts: 2,
			}
		},
	})
	m.Backend("gpu-b", nil)
	h := m.Hook("pii")
	h.Asked(false, HookAllowed, 2*time.Millisecond)
	h.Asked(false, HookTimedOut, 300*time.Millisecond)
	h.Asked(true, HookReplaced, 300*time.Millisecond)
	h.Asked(true, HookUnseen, 0)
	m.Hook("quiet")
	m.Pool("gpus", func() bool { return true })
	m.Pool("cloud", func() bool { return false })
	m.Pool("gone", func() bool { return true })
	m.Pool("gone", nil)
	m.Overhead(30 * time.Microsecond)
	m.ClientDisconnect()
	m.StreamTruncation()
	m.Panic()

	got := ours(scrape(t, m))
	f := func(series string, want float64) {
		t.Helper()
		require.Contains(t, got, series)
		assert.InDelta(t, want, got[series], 1e-9, series)
	}
	f(`helixflow_build_info{version="v1.2.3",revision="abc",goversion="go1.26"}`, 1)
	f(`helixflow_requests_total{endpoint="chat_completions",model="llama",stream="true",code="200"}`, 2)
	f(`helixflow_requests_total{endpoint="chat_completions",model="llama",stream="false",code="other"}`, 1)
	f(`helixflow_requests_total{endpoint="embeddings",model="llama",stream="false",code="200"}`, 1)
	f(`helixflow_requests_total{endpoint="other",model="other",stream="false",code="other"}`, 1)
	f(`helixflow_request_duration_seconds_bucket{endpoint="chat_completions",model="llama",le="0.05"}`, 0)
	f(`helixflow_request_duration_seconds_bucket{endpoint="chat_completions",model="llama",le="0.1"}`, 2)
	f(`helixflow_request_duration_seconds_bucket{endpoint="chat_completions",model="llama",le="1"}`, 3)
	f(`helixflow_request_duration_seconds_bucket{endpoint="chat_completions",model="llama",le="+Inf"}`, 3)
	f(`helixflow_request_duration_seconds_sum{endpoint="chat_completions",model="llama"}`, 1.16)
	f(`helixflow_request_duration_seconds_count{endpoint="chat_completions",model="llama"}`, 3)
	f(`helixflow_request_duration_seconds_bucket{endpoint="embeddings",model="llama",le="600"}`, 0)
	f(`helixflow_request_duration_seconds_bucket{endpoint="embeddings",model="llama",le="+Inf"}`, 1)
	f(`helixflow_request_duration_seconds_sum{endpoint="other",model="other"}`, 0)
	f(`helixflow_time_to_first_token_seconds_bucket{model="llama",le="0.001"}`, 1)
	f(`helixflow_tokens_total{model="llama",type="input"}`, 15)
	f(`helixflow_tokens_total{model="llama",type="cached"}`, 4)
	f(`helixflow_tokens_total{model="llama",type="output"}`, 7)
	f(`helixflow_overhead_seconds_bucket{le="1e-05"}`, 0)
	f(`helixflow_overhead_seconds_bucket{le="2.5e-05"}`, 0)
	f(`helixflow_overhead_seconds_bucket{le="5e-05"}`, 1)
	f(`helixflow_overhead_seconds_sum`, 30e-6)
	f(`helixflow_backend_requests_total{backend="gpu-a",code="503"}`, 1)
	f(`helixflow_backend_requests_total{backend="gpu-a",code="none"}`, 1)
	f(`helixflow_backend_retries_total{backend="gpu-a"}`, 1)
	f(`helixflow_backend_retries_total{backend="gpu-b"}`, 0)
	f(`helixflow_backend_inflight{backend="gpu-a"}`, 3)
	f(`helixflow_backend_ejections_total{backend="gpu-a"}`, 1)
	f(`helixflow_backend_ejections_total{backend="gpu-b"}`, 0)
	f(`helixflow_backend_state{backend="gpu-a",state="ready"}`, 0)
	f(`helixflow_backend_state{backend="gpu-a",state="ejected"}`, 1)
	f(`helixflow_backend_certificate_expiry_timestamp_seconds{backend="gpu-a"}`, 1800000000)
	assert.NotContains(t, got, `helixflow_backend_state{backend="gpu-b",state="ready"}`)
	f(`helixflow_backend_signal{backend="gpu-a",signal="kv_use"}`, 0.25)
	assert.NotContains(t, got, `helixflow_backend_signal{backend="gpu-a",signal="waiting"}`)
	f(`helixflow_backend_signal_known{backend="gpu-a",signal="kv_use"}`, 1)
	f(`helixflow_backend_signal_known{backend="gpu-a",signal="waiting"}`, 0)
	f(`helixflow_backend_metrics_reads_total{backend="gpu-a",result="ok"}`, 7)
	f(`helixflow_backend_metrics_reads_total{backend="gpu-a",result="failed"}`, 1)
	f(`helixflow_backend_restarts_total{backend="gpu-a"}`, 2)
	assert.NotContains(t, got, `helixflow_backend_restarts_total{backend="gpu-b"}`)
	f(`helixflow_pool_panic{pool="gpus"}`, 1)
	f(`helixflow_pool_panic{pool="cloud"}`, 0)
	assert.NotContains(t, got, `helixflow_pool_panic{pool="gone"}`)
	assert.NotContains(t, got, `helixflow_backend_inflight{backend="gpu-b"}`)
	f(`helixflow_auth_failures_total{reason="expired"}`, 1)
	f(`helixflow_auth_failures_total{reason="revoked"}`, 0)
	f(`helixflow_keyring_keys`, 7)
	f(`helixflow_hook_requests_total{hook="pii",phase="before",result="allow"}`, 1)
	f(`helixflow_hook_requests_total{hook="pii",phase="before",result="timeout"}`, 1)
	f(`helixflow_hook_requests_total{hook="pii",phase="after",result="replace"}`, 1)
	f(`helixflow_hook_requests_total{hook="pii",phase="after",result="unseen"}`, 1)
	f(`helixflow_hook_duration_seconds_bucket{hook="pii",phase="before",le="0.0025"}`, 1)
	f(`helixflow_hook_duration_seconds_count{hook="pii",phase="before"}`, 2)
	f(`helixflow_hook_duration_seconds_count{hook="pii",phase="after"}`, 1)
	assert.NotContains(t, got, `helixflow_hook_requests_total{hook="pii",phase="before",result="deny"}`)
	assert.NotContains(t, got, `helixflow_hook_duration_seconds_count{hook="quiet",phase="before"}`)
	f(`helixflow_client_disconnects_total`, 1)
	f(`helixflow_stream_truncations_total`, 1)
	f(`helixflow_panics_total`, 1)
}

func TestSeriesSurviveAReload(t *testing.T) {
	m := New()
	assert.Same(t, m.Model("a"), m.Model("a"))
	assert.NotSame(t, m.Model("a"), m.Model("b"))
	assert.Same(t, m.Hook("a"), m.Hook("a"))
	assert.NotSame(t, m.Hook("a"), m.Hook("b"))
	first := m.Backend("x", func() float64 { return 1 })
	assert.Same(t, first, m.Backend("x", func() float64 { return 2 }))
	assert.Equal(t, 2.0, scrape(t, m)[`helixflow_backend_inflight{backend="x"}`])
}

func TestLabelsAreEscaped(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		m := New()
		m.Model(name).FirstToken(0)
		assert.Contains(t, scrape(t, m), `helixflow_time_to_first_token_seconds_count{model="`+want+`"}`)
	}
	f(`plain/model:7b`, `plain/model:7b`)
	f(`a"b\c`+"\nd", `a\"b\\c\nd`)
	f(`"} 1`+"\nevil 2", `\"} 1\nevil 2`)
	f("模型 \r\t", "模型 \r\t")
	f("broken \xff utf", "broken \uFFFD utf")
	f("", "")
}

// TestStrangeStatusesMakeNoSeries: whatever a backend answers, the number of
// series has a bound.
func TestStrangeStatusesMakeNoSeries(t *testing.T) {
	m := New()
	b, s := m.Backend("x", nil), m.Model("y")
	for status := -1000; status < 5000; status++ {
		b.Request(status)
		s.Request(helixflow.OpCompletions, false, status, 0)
	}
	b.Request(math.MaxInt)
	b.Request(math.MinInt)
	var series, sum float64
	for name, value := range scrape(t, m) {
		if strings.HasPrefix(name, "helixflow_backend_requests_total") {
			series++
			sum += value
		}
	}
	assert.Equal(t, float64(len(codes)), series)
	assert.Equal(t, 6002.0, sum)
}

func TestCodesAreInOrder(t *testing.T) {
	for i, c := range codes {
		if i > codeOther+1 {
			assert.Greater(t, c.status, codes[i-1].status)
		}
		if i > codeOther {
			assert.Equal(t, strconv.Itoa(c.status), c.label)
			assert.Equal(t, uint8(i), codeIndexes[c.status])
		}
	}
}

func TestBoundsAscendAndFit(t *testing.T) {
	for _, bounds := range [][]time.Duration{overheadBounds, durationBounds, firstTokenBounds, perTokenBounds, hookBounds} {
		assert.LessOrEqual(t, len(bounds), maxBounds)
		for i := 1; i < len(bounds); i++ {
			assert.Greater(t, bounds[i], bounds[i-1])
		}
	}
}

// TestHistogramAgreesWithDefinition checks every bucket at its edges: a bucket
// counts what is at or below its bound.
func TestHistogramAgreesWithDefinition(t *testing.T) {
	m := New()
	var all []time.Duration
	for _, bound := range overheadBounds {
		for _, d := range []time.Duration{bound - 1, bound, bound + 1} {
			m.Overhead(d)
			all = append(all, d)
		}
	}
	got := scrape(t, m)
	for _, bound := range overheadBounds {
		want := 0.0
		for _, d := range all {
			if d <= bound {
				want++
			}
		}
		le := strconv.FormatFloat(bound.Seconds(), 'g', -1, 64)
		assert.Equal(t, want, got[`helixflow_overhead_seconds_bucket{le="`+le+`"}`], le)
	}
	assert.Equal(t, float64(len(all)), got["helixflow_overhead_seconds_count"])
}

// TestConcurrentUse counts, registers and scrapes at once; nothing is lost, and
// in every scrape a histogram's buckets add up.
func TestConcurrentUse(t *testing.T) {
	const workers, rounds = 4, 2000
	m := New()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range rounds {
				s := m.Model([]string{"a", "b"}[i%2])
				s.Request(helixflow.OpChatCompletions, i%3 == 0, 200, time.Duration(i)*time.Millisecond)
				s.Tokens(helixflow.Usage{OutputTokens: 1, Reported: true})
				m.Backend("x", func() float64 { return 0 }).Request(200)
				m.Overhead(time.Duration(i))
			}
		})
	}
	for range 5 {
		got := scrape(t, m)
		assert.Equal(t, got[`helixflow_overhead_seconds_bucket{le="+Inf"}`], got["helixflow_overhead_seconds_count"])
	}
	wg.Wait()
	got := scrape(t, m)
	assert.Equal(t, float64(workers*rounds), got["helixflow_overhead_seconds_count"])
	assert.Equal(t, float64(workers*rounds), got[`helixflow_backend_requests_total{backend="x",code="200"}`])
	assert.Equal(t, float64(workers*rounds/2), got[`helixflow_tokens_total{model="a",type="output"}`])
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	m := New()
	s, b := m.Model("a"), m.Backend("x", nil)
	usage := helixflow.Usage{InputTokens: 1, OutputTokens: 2, Reported: true}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		s.Request(helixflow.OpResponses, true, 200, time.Second)
		s.FirstToken(time.Second)
		s.Tokens(usage)
		b.Request(200)
		b.Retry()
		b.Ejection()
		m.Overhead(time.Microsecond)
		m.ClientDisconnect()
		m.StreamTruncation()
		m.Panic()
	}))
}

func BenchmarkRequest(b *testing.B) {
	s := New().Model("a")
	b.ReportAllocs()
	for b.Loop() {
		s.Request(helixflow.OpChatCompletions, true, 200, 80*time.Millisecond)
	}
}

func BenchmarkOverheadParallel(b *testing.B) {
	m := New()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Overhead(40 * time.Microsecond)
		}
	})
}
