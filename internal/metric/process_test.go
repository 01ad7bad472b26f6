// This test checks that the figures of the process and the Go runtime are there.
package metric

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProcessFigures(t *testing.T) {
	m := New()
	before := scrape(t, m)
	assert.Positive(t, before["go_goroutines"])
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return // the kernel tells nothing here
	}
	assert.Greater(t, before["process_resident_memory_bytes"], 1e6)
	assert.Contains(t, before, "process_cpu_seconds_total")
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	assert.Equal(t, before["process_open_fds"]+1, scrape(t, m)["process_open_fds"])
	require.NoError(t, f.Close())
}
