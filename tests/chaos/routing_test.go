//go:build integration && linux

// What the choice of a backend is worth: conversations against four simulated
// engines behind the built binary, under one policy after the other.

package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	engines = 4
	talkers = 32 // conversations at a time
	turns   = 6  // of each
)

// talked is how one policy did.
type talked struct {
	mu             sync.Mutex // guards the fields below
	ttft           []time.Duration
	prompt, cached int64
	failed         []string
}

func (s *talked) quantile(q float64) time.Duration {
	return s.ttft[int(q*float64(len(s.ttft)-1))].Round(time.Millisecond)
}

func (s *talked) hits() float64 { return float64(s.cached) / float64(s.prompt) }

// TestConversations shows, side by side, which part of the prompts was found in
// caches and how long first tokens took. Only the former is held to something:
// times are those of a machine that does other things too.
func TestConversations(t *testing.T) {
	results := map[string]*talked{}
	for _, policy := range []string{"adaptive", "least_inflight", "round_robin"} {
		s := converse(t, policy)
		require.Empty(t, s.failed, policy)
		require.Len(t, s.ttft, dialogues*turns, policy)
		slices.Sort(s.ttft)
		t.Logf("%-14s  cached %4.1f %%   first token p50 %6s  p90 %6s  p99 %6s", policy, 100*s.hits(), s.quantile(0.5), s.quantile(0.9), s.quantile(0.99))
		results[policy] = s
	}
	for _, other := range []string{"least_inflight", "round_robin"} {
		assert.Greater(t, results["adaptive"].hits(), 1.3*results[other].hits(), other)
	}
}

// converse plays all conversations against fresh engines and a fresh router.
func converse(t *testing.T, policy string) *talked {
	var stop []func()
	list := ""
	for i := range engines {
		address := freeAddress(t)
		cmd := exec.Command(binary, "sim", "--listen", address, "--preset", "l4-8b", "--time-scale", "4", "--seed", fmt.Sprint(i+1))
		require.NoError(t, cmd.Start())
		stop = append(stop, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		list += fmt.Sprintf("\n      - {url: \"http://%s\"}", address)
	}
	defer func() {
		for _, f := range stop {
			f()
		}
	}()
	r := startRouter(t, func(hash string) string {
		return fmt.Sprintf(`
server: {drain_timeout: 1s, lame_duck: 0s}
tenants: [{name: all, keys: [{name: k, hash: %q}]}]
pools:
  - name: p
    engine: vllm
    balance: %s
    slow_start: 0s
    backends:%s
models: [{name: m, targets: [{pool: p}]}]
`, hash, policy, list)
	})
	defer r.end()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: talkers}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	s := &talked{}
	next := make(chan int)
	var group sync.WaitGroup
	for range talkers {
		group.Go(func() {
			for n := range next {
				s.talk(client, r, n)
			}
		})
	}
	for n := range dialogues {
		next <- n
	}
	close(next)
	group.Wait()
	return s
}

// talk plays one conversation: each turn sends all of the ones before.
func (s *talked) talk(client *http.Client, r *router, n int) {
	system := strings.Repeat("You answer questions about the manual, in few words. ", 10)
	messages := []map[string]string{{"role": "system", "content": system}}
	for turn := range turns {
		question := strings.Repeat(fmt.Sprintf("Conversation %d, question %d. ", n, turn), 60)
		messages = append(messages, map[string]string{"role": "user", "content": question})
		answer, err := s.ask(client, r, messages)
		if err != nil {
			s.mu.Lock()
			s.failed = append(s.failed, err.Error())
			s.mu.Unlock()
			return
		}
		messages = append(messages, map[string]string{"role": "assistant", "content": answer})
		wait(time.Duration(50+rand.IntN(400)) * time.Millisecond) // or who asks next is who was just served
	}
}

// ask streams one answer.
func (s *talked) ask(client *http.Client, r *router, messages []map[string]string) (string, error) {
	body, err := json.Marshal(map[string]any{
		"model": "m", "stream": true, "max_tokens": 40, "messages": messages, "stream_options": map[string]bool{"include_usage": true},
	})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequest("POST", r.url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(resp.Body)
		return "", fmt.Errorf("%s: %.200s", resp.Status, said)
	}
	return s.read(resp.Body, began)
}

// read takes in an answer, and notes when its first token came and what it cost.
func (s *talked) read(body io.Reader, began time.Time) (answer string, err error) {
	var first time.Duration
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var event struct {
			Choices []struct{ Delta struct{ Content string } }
			Usage   *struct {
				Prompt  int64 `json:"prompt_tokens"`
				Details struct {
					Cached int64 `json:"cached_tokens"`
				} `json:"prompt_tokens_details"`
			}
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return "", err
		}
		for _, c := range event.Choices {
			if c.Delta.Content != "" && first == 0 {
				first = time.Since(began)
			}
			answer += c.Delta.Content
		}
		if u := event.Usage; u != nil {
			s.mu.Lock()
			s.ttft, s.prompt, s.cached = append(s.ttft, first), s.prompt+u.Prompt, s.cached+u.Details.Cached
			s.mu.Unlock()
		}
	}
	return answer, lines.Err()
}
