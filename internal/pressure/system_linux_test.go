package pressure

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCgroupMemory: the tightest limit on the way up counts, with what its own
// cgroup uses, and hostile or odd files count as none.
func TestCgroupMemory(t *testing.T) {
	f := func(own string, files map[string]string, wantUsed, wantLimit uint64) {
		t.Helper()
		root := t.TempDir()
		for name, text := range files {
			path := filepath.Join(root, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		}
		used, limit, ok := cgroupMemoryOf(root, own)
		assert.Equal(t, wantLimit > 0, ok, own)
		assert.Equal(t, []uint64{wantUsed, wantLimit}, []uint64{used, limit}, own)
	}
	f("", nil, 0, 0)
	f("0::/\n", nil, 0, 0)
	f("0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "900\n"}, 900, 1000)
	f("0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 1\ninactive_file 300\nx 1\n"}, 600, 1000)
	f("0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "200\n", "memory.stat": "inactive_file 300\n"}, 0, 1000)
	f("0::/\n", map[string]string{"memory.max": "max\n", "memory.current": "900\n"}, 0, 0)
	f("0::/\n", map[string]string{"memory.max": "1000\n"}, 0, 0)
	f("0::/a/b\n", map[string]string{
		"memory.max": "max\n", "memory.current": "5000\n",
		"a/memory.max": "1000\n", "a/memory.current": "900\n",
		"a/b/memory.max": "max\n", "a/b/memory.current": "100\n",
	}, 900, 1000)
	f("12:memory:/v1\n0::/a\n", map[string]string{"a/memory.max": "500", "a/memory.current": "1"}, 1, 500)
	f("12:memory:/v1\n", map[string]string{"v1/memory.max": "500", "v1/memory.current": "1"}, 0, 0)
	f("0::/../../etc\n", map[string]string{"etc/memory.max": "-1", "etc/memory.current": "x"}, 0, 0)
}

// In a root without /proc nobody knows how many are open, and that is no pressure.
func TestDescriptorsWithoutProc(t *testing.T) {
	_, known := descriptorsIn(filepath.Join(t.TempDir(), "none"))
	assert.False(t, known)
	u, known := descriptorsIn(fds)
	assert.True(t, known)
	assert.Positive(t, u.Used)
	assert.Less(t, u.Used, u.Limit)
}
