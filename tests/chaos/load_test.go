//go:build integration && linux

// Clients: some that ask at a steady pace whatever happens, so that a stall is
// seen by all whom it would have met, and some that read one stream after the
// other.

package chaos

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Ends of an answer, as a client sees it. Anything else is a failure's text.
const (
	whole = ""
	told  = "told" // a stream that was cut, and says so
)

// result is one request and its end.
type result struct {
	due    time.Time // when it was to be sent
	took   time.Duration
	stream bool
	end    string
}

// load is the clients of one test. Safe for concurrent use.
type load struct {
	url, key string
	client   *http.Client
	stopped  chan struct{}
	clients  sync.WaitGroup

	mu      sync.Mutex // guards results
	results []result
}

// newLoad makes clients of r; they have ended before the test does.
func newLoad(t *testing.T, r *router) *load {
	l := &load{
		url: r.url + "/v1/chat/completions", key: r.key, stopped: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000, MaxIdleConns: 2000}, Timeout: time.Minute},
	}
	t.Cleanup(func() {
		l.stop()
		l.client.CloseIdleConnections()
	})
	return l
}

// stop ends the clients, each after its answer, and waits for them.
func (l *load) stop() {
	select {
	case <-l.stopped:
	default:
		close(l.stopped)
	}
	l.clients.Wait()
}

// pace sends so many requests a second.
func (l *load) pace(perSecond int) {
	l.clients.Go(func() {
		begin, sent := time.Now(), 0
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-l.stopped:
				return
			case <-tick.C:
			}
			for {
				due := begin.Add(time.Duration(sent) * time.Second / time.Duration(perSecond))
				if due.After(time.Now()) {
					break
				}
				sent++
				l.clients.Go(func() { l.one(due, `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, false) })
			}
		}
	})
}

// streams keeps n streams open, each as script says.
func (l *load) streams(n int, script string) {
	for range n {
		l.clients.Go(func() {
			for {
				select {
				case <-l.stopped:
					return
				default:
					l.oneStream(script)
				}
			}
		})
	}
}

// oneStream reads one stream to its end.
func (l *load) oneStream(script string) {
	l.one(time.Now(), fmt.Sprintf(`{"model":"m","stream":true,"messages":[{"role":"user","content":"fake:%s;"}]}`, script), true)
}

func (l *load) one(due time.Time, body string, stream bool) {
	r := result{due: due, stream: stream, end: l.ask(body, stream)}
	r.took = time.Since(due)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, r)
}

// ask sends one request and says how its answer ended.
func (l *load) ask(body string, stream bool) string {
	req, err := http.NewRequest(http.MethodPost, l.url, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+l.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(resp.Body)
	answer := string(read)
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Sprintf("%d %.300s %s", resp.StatusCode, answer, resp.Header.Get("x-helixflow-reason"))
	case stream && strings.HasSuffix(answer, "data: [DONE]\n\n") && err == nil:
		return whole
	case stream && strings.Contains(answer, `data: {"error":{`) && !strings.Contains(answer, "[DONE]"):
		return told
	case !stream && err == nil && strings.HasPrefix(answer, "{") && strings.HasSuffix(answer, "}"):
		return whole
	default:
		return fmt.Sprintf("200, ends in %.100q, %v", answer[max(len(answer)-100, 0):], err)
	}
}

// snapshot returns the results so far.
func (l *load) snapshot() []result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.results)
}

// ends counts how answers ended.
func ends(list []result, of func(result) bool) map[string]int {
	counted := make(map[string]int)
	for _, r := range list {
		if of(r) {
			counted[r.end]++
		}
	}
	return counted
}

func isStream(r result) bool { return r.stream }

func isUnary(r result) bool { return !r.stream }

// p99 is the 99th percentile of the times of requests due from begin until end
// that were no streams, and how many those were.
func p99(list []result, begin, end time.Time) (time.Duration, int) {
	var times []time.Duration
	for _, r := range list {
		if !r.stream && !r.due.Before(begin) && r.due.Before(end) {
			times = append(times, r.took)
		}
	}
	if len(times) == 0 {
		return 0, 0
	}
	slices.SortFunc(times, cmp.Compare[time.Duration])
	return times[len(times)*99/100], len(times)
}
