package pressure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCgroupMemory: the tightest limit on the way up counts, with what its own
// cgroup uses, and hostile or odd files count as none.
func TestCgroupMemory(t *testing.T) {
	f := func(mounts, own string, files map[string]string, wantUsed, wantLimit uint64) {
		t.Helper()
		at := t.TempDir()
		for name, text := range files {
			path := filepath.Join(at, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		}
		list := hierarchiesIn(strings.ReplaceAll(mounts, "AT", at))
		used, limit, ok := cgroupMemoryOf(list, own)
		assert.Equal(t, wantLimit > 0, ok, own)
		assert.Equal(t, []uint64{wantUsed, wantLimit}, []uint64{used, limit}, own)
	}
	const v2 = "24 1 0:3 / / rw - ext4 /dev/x rw\n31 24 0:28 / AT rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	f(v2, "", nil, 0, 0)
	f(v2, "0::/\n", nil, 0, 0)
	f(v2, "0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "900\n"}, 900, 1000)
	f(v2, "0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 1\ninactive_file 300\nx 1\n"}, 600, 1000)
	f(v2, "0::/\n", map[string]string{"memory.max": "1000\n", "memory.current": "200\n", "memory.stat": "inactive_file 300\n"}, 0, 1000)
	f(v2, "0::/\n", map[string]string{"memory.max": "max\n", "memory.current": "900\n"}, 0, 0)
	f(v2, "0::/\n", map[string]string{"memory.max": "1000\n"}, 0, 0)
	f(v2, "0::/\n", map[string]string{"memory.max": "1000\n", "memory.high": "800\n", "memory.current": "700\n"}, 700, 800)
	f(v2, "0::/\n", map[string]string{"memory.max": "1000\n", "memory.high": "max\n", "memory.current": "700\n"}, 700, 1000)
	f(v2, "0::/\n", map[string]string{"memory.max": "max\n", "memory.high": "800\n", "memory.current": "700\n"}, 700, 800)
	f(v2, "0::/a/b\n", map[string]string{
		"memory.max": "max\n", "memory.current": "5000\n",
		"a/memory.max": "1000\n", "a/memory.current": "900\n",
		"a/b/memory.max": "max\n", "a/b/memory.current": "100\n",
	}, 900, 1000)
	f(v2, "0::/a/b\n", map[string]string{
		"a/memory.max": "1000\n", "a/memory.current": "900\n",
		"a/b/memory.max": "500\n", "a/b/memory.current": "100\n",
	}, 100, 500)
	f(v2, "0::/../../etc\n", map[string]string{"etc/memory.max": "-1", "etc/memory.current": "x"}, 0, 0)
	f(v2, "0::/\n", map[string]string{"memory.max": "99999999999999999999999", "memory.current": "1"}, 0, 0)
	f(v2, "0::/\n", map[string]string{"memory.max": "0", "memory.current": "1"}, 0, 0)
	f(v2, "0::/\n", map[string]string{"memory.max/x": "", "memory.current": "1"}, 0, 0)
	f(v2, "0:\n\n0", map[string]string{"memory.max": "1000", "memory.current": "1"}, 0, 0)

	// A container that sees the host's names, at its own mount.
	const bound = "31 24 0:28 /docker/abc AT ro - cgroup2 cgroup rw\n"
	own := map[string]string{"memory.max": "1000", "memory.current": "900", "below/memory.max": "500", "below/memory.current": "100"}
	f(bound, "0::/docker/abc\n", own, 900, 1000)
	f(bound, "0::/docker/abc/below\n", own, 100, 500)
	f(bound, "0::/docker/abcd/below\n", own, 900, 1000)
	f(bound, "0::/\n", own, 900, 1000)

	const v1 = "35 31 0:32 / AT/memory rw,relatime - cgroup cgroup rw,memory\n36 31 0:33 / AT/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
	none := "9223372036854771712\n"
	f(v1, "4:memory:/a\n1:cpu:/b\n0::/\n", map[string]string{
		"memory/memory.limit_in_bytes": none, "memory/memory.usage_in_bytes": "5000\n",
		"memory/a/memory.limit_in_bytes": "1000\n", "memory/a/memory.usage_in_bytes": "900\n",
		"memory/a/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
	}, 600, 1000)
	f(v1, "4:memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": none, "memory/a/memory.usage_in_bytes": "1"}, 0, 0)
	f(v1, "4:memory:/a\n", map[string]string{
		"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "800",
		"memory/a/memory.limit_in_bytes": none, "memory/a/memory.usage_in_bytes": "1",
	}, 800, 1000)
	f(v1, "4:cpu:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "1"}, 0, 0)
	f(v1, "4:name=memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "1"}, 0, 0)
	f(v1, "4:cpu,memory:/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "1"}, 1, 1000)

	// Both are mounted, and only one of them counts memory; or both are said to.
	both := v1 + "41 31 0:38 / AT/unified rw - cgroup2 cgroup2 rw\n"
	f(both, "4:memory:/a\n0::/a\n", map[string]string{"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "1"}, 1, 1000)
	f(both, "4:memory:/a\n0::/a\n", map[string]string{
		"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "1",
		"unified/a/memory.max": "500", "unified/a/memory.current": "2",
	}, 2, 500)

	f("", "0::/\n4:memory:/\n", nil, 0, 0)
	f("31 24 0:28 / AT rw - cgroup2\n\n - \nx - cgroup2 cgroup2 rw\n", "0::/\n", map[string]string{"memory.max": "1000", "memory.current": "1"}, 0, 0)
	f(strings.Replace(v2, "AT", `AT/a\040b`, 1), "0::/\n", map[string]string{"a b/memory.max": "1000", "a b/memory.current": "900"}, 900, 1000)
}
