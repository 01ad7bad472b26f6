//go:build linux || darwin || freebsd

package handover

// Hand-overs between real processes, while clients come and go.

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// callers make new connections at a steady rate and remember what became of them.
type callers struct {
	url  string
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	answers map[string]int
	errors  map[string]int
}

func call(url string, perSecond int) *callers {
	c := &callers{url: url, stop: make(chan struct{}), answers: map[string]int{}, errors: map[string]int{}}
	c.done.Add(1)
	go func() {
		defer c.done.Done()
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for {
			select {
			case <-c.stop:
				return
			case <-tick.C:
				c.done.Add(1)
				go c.one()
			}
		}
	}()
	return c
}

func (c *callers) one() {
	defer c.done.Done()
	answer, err := get(c.url)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.errors[err.Error()]++
		return
	}
	c.answers[answer]++
}

func (c *callers) answered(by int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[strconv.Itoa(by)]
}

func get(url string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestUpgradesUnderLoad(t *testing.T) {
	const upgrades, perSecond, each = 20, 300, 25
	path := filepath.Join(t.TempDir(), "handover.sock")
	now := start(t, "router", path)
	c := call("http://"+now.address, perSecond)
	for i := range upgrades {
		require.Eventually(t, func() bool { return c.answered(now.Process.Pid) >= each }, 20*time.Second, 5*time.Millisecond,
			"process %d does not serve", i)
		next := start(t, "router", path)
		require.Equal(t, now.address, next.address)
		<-now.exited
		require.NoError(t, now.err, "the old process ends well")
		now = next
	}
	require.Eventually(t, func() bool { return c.answered(now.Process.Pid) >= each }, 20*time.Second, 5*time.Millisecond)
	close(c.stop)
	c.done.Wait()
	total := 0
	for _, n := range c.answers {
		total += n
	}
	assert.Empty(t, c.errors)
	assert.Len(t, c.answers, upgrades+1, "every process served")
	t.Logf("%d upgrades, %d requests on new connections, %d failed", upgrades, total, len(c.errors))
}

func TestNewProcessDiesBeforeCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	old := start(t, "router", path)
	start(t, "taker", path).kill()
	answer, err := get("http://" + old.address)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(old.Process.Pid), answer)

	// And it is as willing as before. That it has seen the end of the first is a
	// matter of moments.
	var taken *Taken
	require.Eventually(t, func() bool { taken, err = Take(path, time.Second); return err == nil }, 2*time.Second, 5*time.Millisecond)
	defer taken.Abort()
	require.NoError(t, taken.Commit())
	<-old.exited
	require.NoError(t, old.err)
}

func TestOldProcessDiesBeforeCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	old := start(t, "router", path)
	taken, err := Take(path, 5*time.Second)
	require.NoError(t, err)
	defer taken.Abort()
	old.kill()
	require.NoError(t, taken.Commit(), "nobody else has the listeners")

	// Its socket is stale now.
	_, err = Take(path, time.Second)
	require.ErrorIs(t, err, ErrNobody)
	offer(t, path)

	c, err := net.Dial("tcp", old.address)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	accepted, err := taken.Listeners["clients"].Accept()
	require.NoError(t, err)
	require.NoError(t, accepted.Close())
}

// An old process that does not answer keeps its listeners, even when it finds
// the commit later: the new one has given up.
func TestOldProcessHangsAtCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover.sock")
	old := start(t, "router", path)
	taken, err := Take(path, 300*time.Millisecond)
	require.NoError(t, err)
	require.NoError(t, old.Process.Signal(syscall.SIGSTOP))
	var state syscall.WaitStatus
	_, err = syscall.Wait4(old.Process.Pid, &state, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, state.Stopped())
	err = taken.Commit()
	taken.Abort()
	require.NoError(t, old.Process.Signal(syscall.SIGCONT))
	require.ErrorContains(t, err, "cannot take over the listeners: the old process does not answer")

	answer, err := get("http://" + old.address)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(old.Process.Pid), answer)
	require.Eventually(t, func() bool {
		again, err := Take(path, time.Second)
		if err == nil {
			again.Abort()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond)
}
