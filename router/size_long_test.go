//go:build long && linux && !race

package router

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/internal/pressure"
)

// resident is the memory of this process, in bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	var size, pages int64
	_, err = fmt.Fscan(bytes.NewReader(text), &size, &pages)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

// What the process takes is at most half as much again as what the cache says that
// it uses, while misses come and go as fast as they can.
func TestSizeOfCache(t *testing.T) {
	const limit = 256 << 20
	url := newReplier(t, jsonAnswer(`{"id":"1","choices":[{"text":"`+strings.Repeat("words ", 1000)+`"}]}`))
	w := newWorld(t, "cache: {memory: 256MiB}\n"+remembering(url, ""))
	before := resident(t)
	worst := 0.0
	var garbage pressure.Garbage
	var sent atomic.Int64
	for range 100 {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				raw := []byte(chat(`{"model":"m","temperature":0,"prompt":"000000000000"}`))
				at := bytes.Index(raw, []byte("000000000000"))
				once := w.loopOf(t, raw, "}]}")
				for range 250 {
					copy(raw[at:], fmt.Sprintf("%012d", sent.Add(1)))
					once()
				}
			})
		}
		group.Wait()
		garbage.Beside(w.srv.known.Load().Stats().Bytes) // as the process does, four times a second
		used := w.srv.known.Load().Stats().Bytes
		assert.LessOrEqual(t, used, int64(limit))
		if ratio := float64(resident(t)-before) / float64(used); used > limit/2 {
			worst = max(worst, ratio)
		}
	}
	stats := w.srv.known.Load().Stats()
	t.Logf("at most %.2f times what it said; %+v", worst, stats)
	assert.Positive(t, stats.Evicted)
	assert.LessOrEqual(t, worst, 1.5)
}
