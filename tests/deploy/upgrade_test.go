//go:build integration && linux

package deploy

// Upgrades of the binary itself: twenty in a row while clients come and go, each
// on a new connection, some of them with streams that outlive a process.

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// callers send chat completions at a steady rate and remember what went wrong.
type callers struct {
	url, key string
	stop     chan struct{}
	done     sync.WaitGroup
	good     atomic.Int64

	mu     sync.Mutex // guards errors
	errors map[string]int
}

func (c *callers) run(perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-c.stop:
			return
		case <-tick.C:
			stream := i%10 == 0
			c.done.Go(func() {
				if err := c.one(stream); err != nil {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.errors[err.Error()]++
					return
				}
				c.good.Add(1)
			})
		}
	}
}

// one is one request on a connection of its own; its streams take a second.
func (c *callers) one(stream bool) error {
	prompt, want := "Hello", `"chat.completion"`
	if stream {
		prompt, want = "sim:tokens=20,gap=50ms; Hello", "data: [DONE]"
	}
	body := fmt.Sprintf(`{"model":"llama-3.1-8b","stream":%t,"messages":[{"role":"user","content":%q}]}`, stream, prompt)
	req, err := http.NewRequest(http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), want) {
		return fmt.Errorf("%d %.200q", resp.StatusCode, answer)
	}
	return nil
}

// upgradable writes a configuration whose key outlives a process.
func upgradable(t *testing.T) (config, key string) {
	t.Helper()
	out, code := run(t.Context(), binary, "keys", "new", "--json")
	require.Zero(t, code, out)
	key = regexp.MustCompile(`sk-hfx_\w+`).FindString(out)
	hash := regexp.MustCompile(`"hash": *"([^"]+)"`).FindStringSubmatch(out)
	require.Len(t, hash, 2, out)
	dir := t.TempDir()
	config = filepath.Join(dir, "helixflow.yaml")
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf(`
server: {listen: "127.0.0.1:0", admin: "127.0.0.1:0", handover: %s, lame_duck: 0s, drain_timeout: 10s}
tenants: [{name: t, keys: [{name: k, hash: "%s"}]}]
pools: [{name: sim, engine: sim, backends: [{url: "sim:gpu-a"}]}]
models: [{name: llama-3.1-8b, targets: [{pool: sim}]}]
`, filepath.Join(dir, "handover.sock"), hash[1])), 0o600))
	return config, key
}

func TestUpgrades(t *testing.T) {
	const upgrades, perSecond, each = 20, 300, 50
	config, key := upgradable(t)
	serve := func() *process {
		p := start(t, exec.Command(binary, "serve", "-c", config, "--takeover", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"))
		p.addresses(t)
		return p
	}
	now := serve()
	clients, admin := now.addresses(t)
	c := &callers{url: "http://" + clients, key: key, stop: make(chan struct{}), errors: map[string]int{}}
	c.done.Go(func() { c.run(perSecond) })
	var old []*process
	for range upgrades {
		before := c.good.Load()
		require.Eventually(t, func() bool { return c.good.Load() >= before+each }, patience, 5*time.Millisecond)
		old = append(old, now)
		now = serve()
		again, _ := now.addresses(t)
		require.Equal(t, clients, again)
	}
	before := c.good.Load()
	require.Eventually(t, func() bool { return c.good.Load() >= before+each }, patience, 5*time.Millisecond)
	close(c.stop)
	c.done.Wait()
	assert.Empty(t, c.errors, "refused, reset or cut")
	for _, p := range old {
		<-p.exited
		assert.Zero(t, p.ProcessState.ExitCode())
	}
	assert.Equal(t, 200, status("http://"+admin+"/readyz"))
	t.Logf("%d upgrades, %d answers, %d kinds of failure", upgrades, c.good.Load(), len(c.errors))
	now.stop(t)
}
