// These tests check the figures of the process: that they are there, and that
// odd text from the kernel is no figure.
package metric

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRuntimeFamiliesExist(t *testing.T) {
	got := scrape(t, New())
	for _, f := range runtimeFamilies {
		assert.Contains(t, got, f.name, "runtime/metrics has no %s", f.source)
	}
	assert.Contains(t, got, `go_info{version="`+runtime.Version()+`"}`)
	assert.Positive(t, got["go_goroutines"])
	assert.InDelta(t, time.Now().Unix(), got["process_start_time_seconds"], 60)
}

func TestProcessFigures(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		assert.NotContains(t, scrape(t, New()), "process_open_fds")
		return
	}
	m := New()
	before := scrape(t, m)
	assert.Greater(t, before["process_resident_memory_bytes"], 1e6)
	assert.GreaterOrEqual(t, before["process_virtual_memory_bytes"], before["process_resident_memory_bytes"])
	assert.Contains(t, before, "process_cpu_seconds_total")
	assert.Positive(t, before["process_max_fds"])
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	assert.Equal(t, before["process_open_fds"]+1, scrape(t, m)["process_open_fds"])
	require.NoError(t, f.Close())
}

func TestCPUSeconds(t *testing.T) {
	f := func(stat string, want float64, ok bool) {
		t.Helper()
		got, gotOK := cpuSeconds([]byte(stat))
		assert.Equal(t, ok, gotOK, stat)
		if ok {
			assert.InDelta(t, want, got, 1e-9, stat)
		}
	}
	f("1 (helixflow) S 2 3 4 5 6 7 8 9 10 11 150 50 0 0", 2, true)
	f("1 (a) b (c) 99) S 2 3 4 5 6 7 8 9 10 11 1 2 0 0", 0.03, true)
	f("1 (x) S 2 3 4 5 6 7 8 9 10 11 150", 0, false)
	f("1 (x) S 2 3 4 5 6 7 8 9 10 11 y z 0", 0, false)
	f("", 0, false)
}

func TestMaxFDs(t *testing.T) {
	f := func(limits string, want float64, ok bool) {
		t.Helper()
		got, gotOK := maxFDs([]byte(limits))
		assert.Equal(t, ok, gotOK, limits)
		if ok {
			assert.Equal(t, want, got, limits)
		}
	}
	f("Limit  Soft  Hard  Units\nMax open files            1024                 4096                 files     \n", 1024, true)
	f("Max open files            unlimited            unlimited            files\n", 0, false)
	f("Max open files", 0, false)
	f("", 0, false)
}
