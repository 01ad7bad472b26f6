package pressure

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// This file reads what the process's cgroups use and may use of memory: of cgroup
// v2, of v1, or of both where a system has one for this and the other for that.

// hierarchy is where cgroups of one version are mounted.
type hierarchy struct {
	*version
	dir  string // the mount point
	root string // the cgroup that is to be seen there
}

// version is how cgroups of v1 or v2 are called, and their files.
type version struct {
	fs         string   // the type of file system
	controller string   // that has to be mounted there; v2 has all in one place
	limits     []string // each may be missing, or say max
	used       string
	idle       string // a line of memory.stat
}

var versions = [...]version{
	// Beyond high a cgroup is slowed down until it hardly moves.
	{"cgroup2", "", []string{"memory.max", "memory.high"}, "memory.current", "inactive_file "},
	{"cgroup", "memory", []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file "},
}

// unlimited is what v1 says, about, where there is no limit.
const unlimited = 1 << 60

// hierarchies are those that are mounted when they are first asked for.
var hierarchies = sync.OnceValue(func() []hierarchy {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return hierarchiesIn(string(mounts))
})

// cgroupMemory is what the tightest of the process's cgroups uses and may use. Its
// file cache that nobody has open counts as free, as the kernel takes it back first.
func cgroupMemory() (used, limit uint64, ok bool) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, 0, false
	}
	return cgroupMemoryOf(hierarchies(), string(own))
}

// hierarchiesIn finds where a /proc/self/mountinfo has cgroups that count memory.
func hierarchiesIn(mounts string) (list []hierarchy) {
	for line := range strings.Lines(mounts) {
		// 35 32 0:32 /root /mount/point rw,relatime shared:1 - cgroup cgroup rw,memory
		before, after, _ := strings.Cut(line, " - ")
		at, is := strings.Fields(before), strings.Fields(after)
		if len(at) < 5 || len(is) < 3 {
			continue
		}
		for i := range versions {
			v := &versions[i]
			if is[0] == v.fs && (v.controller == "" || hasItem(is[2], v.controller)) {
				list = append(list, hierarchy{v, unescaped(at[4]), unescaped(at[3])})
			}
		}
	}
	return list
}

// hasItem reports whether a list with commas has the item.
func hasItem(list, item string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one == item {
			return true
		}
	}
	return false
}

// unescaped is a path as mountinfo writes it, without its octal escapes.
func unescaped(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// cgroupMemoryOf looks for a process whose /proc/self/cgroup says own.
func cgroupMemoryOf(list []hierarchy, own string) (used, limit uint64, ok bool) {
	for line := range strings.Lines(own) {
		// 4:memory:/of/v1, and 0::/of/v2
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		for i := range list {
			h := &list[i]
			if !hasItem(parts[1], h.controller) {
				continue
			}
			if u, l, found := h.tightest(parts[2]); found && (!ok || l < limit) {
				used, limit, ok = u, l, true
			}
		}
	}
	return used, limit, ok
}

// tightest is what the tightest cgroup uses and may use on the way from own up to
// the mount point. What is not to be seen from here has no say: a container sees its
// own cgroup as the root, or finds it at the mount point.
func (h *hierarchy) tightest(own string) (used, limit uint64, ok bool) {
	path := "/"
	if below, found := strings.CutPrefix(filepath.Clean("/"+own), strings.TrimSuffix(h.root, "/")); found && (below == "" || below[0] == '/') {
		path = filepath.Clean("/" + below)
	}
	for ; ; path = filepath.Dir(path) {
		dir := filepath.Join(h.dir, path)
		if most := h.limitOf(dir); most > 0 && (!ok || most < limit) {
			if now, isNumber := readNumber(filepath.Join(dir, h.used)); isNumber {
				used, limit, ok = now-min(statOf(dir, h.idle), now), most, true
			}
		}
		if path == "/" {
			return used, limit, ok
		}
	}
}

// limitOf is the lowest limit of one cgroup; 0: it has none.
func (v *version) limitOf(dir string) (limit uint64) {
	for _, name := range v.limits {
		if n, isNumber := readNumber(filepath.Join(dir, name)); isNumber && n > 0 && n < unlimited && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit
}

func readNumber(path string) (uint64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil
}

// statOf is the number behind a name in a cgroup's memory.stat.
func statOf(dir, name string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, found := bytes.CutPrefix(line, []byte(name)); found {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 64)
			return n
		}
	}
	return 0
}
