package sim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// timed is a response writer that notes when each data line was flushed.
type timed struct {
	*httptest.ResponseRecorder
	start time.Time
	seen  int
	at    []time.Duration
}

func (w *timed) Flush() {
	w.ResponseRecorder.Flush()
	lines := strings.Count(w.Body.String(), "data: ")
	for ; w.seen < lines; w.seen++ {
		w.at = append(w.at, time.Since(w.start))
	}
}

// stream plays one chat stream against a fresh engine on a fake clock and returns
// when its events came: the role, the tokens, the end and [DONE].
func stream(t *testing.T, cfg Config, prompt, more string) (at []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(cfg)
		defer s.Close()
		w := &timed{ResponseRecorder: httptest.NewRecorder(), start: time.Now()}
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(chatJSON(prompt, `,"stream":true`+more))))
		require.Equal(t, 200, w.Code, w.Body)
		at = w.at
	})
	return at
}

func TestTiming(t *testing.T) {
	const ms = time.Millisecond
	f := func(cfg Config, prompt string, want ...time.Duration) {
		t.Helper()
		got := stream(t, cfg, prompt, "")
		require.Len(t, got, len(want))
		for i := range want {
			require.InDelta(t, want[i], got[i], float64(want[i]/1000+100), "event %d of %v", i, got)
		}
	}
	// The role comes with the first token, the end with the last one.
	f(Config{}, "sim:ttft=200ms,gap=20ms,tokens=3;", 200*ms, 200*ms, 220*ms, 240*ms, 240*ms, 240*ms)
	f(Config{TimeScale: 100}, "sim:ttft=200ms,gap=20ms,tokens=2;", 200*ms, 200*ms, 220*ms, 220*ms, 220*ms)
	f(Config{Preset: "instant"}, "sim:tokens=2;", 0, 0, 0, 0, 0)
	f(Config{Preset: "instant"}, "sim:ttft=1s,tokens=2;", time.Second, time.Second, time.Second, time.Second, time.Second)
	// "<|user|>sim:tokens=2;\n" is 6 tokens: 100 µs + 6 · 200 ns, then 101 µs.
	f(Config{}, "sim:tokens=2;", 101200, 101200, 202200, 202200, 202200)
	f(Config{TimeScale: 0.1}, "sim:tokens=2;", 1012000, 1012000, 2022000, 2022000, 2022000)
	f(Config{TimeScale: 10}, "sim:tokens=2;", 10120, 10120, 20220, 20220, 20220)
}

func TestJitterFollowsTheSeed(t *testing.T) {
	a := stream(t, Config{Preset: "h100-8b", Seed: 1}, "hello", "")
	require.Equal(t, a, stream(t, Config{Preset: "h100-8b", Seed: 1}, "hello", ""))
	require.NotEqual(t, a, stream(t, Config{Preset: "h100-8b", Seed: 2}, "hello", ""))
}

func TestABatchSharesItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Preset: "h100-70b-tp4"})
		defer s.Close()
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				w := httptest.NewRecorder()
				s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/chat/completions",
					strings.NewReader(chatJSON("hi", `,"max_tokens":100,"ignore_eos":true`))))
				if w.Code != 200 {
					t.Error(w.Body)
				}
			})
		}
		wg.Wait()
		// 100 or 101 steps of about 18 ms + 100 · 20 µs, not 100 · 100 of 18 ms.
		require.InDelta(t, 2030*time.Millisecond, time.Since(start), float64(60*time.Millisecond))
		require.EqualValues(t, 100, s.Stats().Finished)
	})
}

func TestAfterClose(t *testing.T) {
	s := New(Config{})
	s.Close()
	s.Close()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health", nil))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}
