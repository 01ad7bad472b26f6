package pressure

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	cgroups = "/sys/fs/cgroup"
	fds     = "/proc/self/fd"
)

// cgroupMemory is what the tightest of the process's cgroups uses and may use. Its
// file cache that nobody has open counts as free, as the kernel takes it back first.
func cgroupMemory() (used, limit uint64, ok bool) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, 0, false
	}
	return cgroupMemoryOf(cgroups, string(own))
}

// cgroupMemoryOf reads the hierarchy at root for a process whose /proc/self/cgroup
// says own.
func cgroupMemoryOf(root, own string) (used, limit uint64, ok bool) {
	path := ""
	for line := range strings.Lines(own) {
		if p, found := strings.CutPrefix(strings.TrimSpace(line), "0::"); found {
			path = filepath.Clean("/" + p)
		}
	}
	if path == "" {
		return 0, 0, false
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		most, isNumber := readNumber(filepath.Join(root, dir, "memory.max"))
		if isNumber && most > 0 && (!ok || most < limit) {
			if now, isNumber := readNumber(filepath.Join(root, dir, "memory.current")); isNumber {
				used, limit, ok = now-min(inactiveFile(filepath.Join(root, dir)), now), most, true
			}
		}
		if dir == "/" {
			return used, limit, ok
		}
	}
}

func readNumber(path string) (uint64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil
}

func inactiveFile(dir string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if rest, found := bytes.CutPrefix(line, []byte("inactive_file ")); found {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(rest)), 10, 64)
			return n
		}
	}
	return 0
}

// descriptors is how many files and sockets are open. Kernels since 6.2 say so as
// the size of the directory; on others it is read.
func descriptors() (Use, bool) { return descriptorsIn(fds) }

// descriptorsIn counts those that dir lists. Without a /proc nobody knows.
func descriptorsIn(dir string) (Use, bool) {
	var most syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most) != nil {
		return Use{}, false
	}
	if info, err := os.Stat(dir); err == nil && info.Size() > 0 {
		return Use{"descriptors", uint64(info.Size()), most.Cur}, true
	}
	d, err := os.Open(dir)
	switch {
	case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
		return Use{"descriptors", most.Cur, most.Cur}, true // none is left even for this
	case err != nil:
		return Use{}, false
	}
	defer func() { _ = d.Close() }()
	n := uint64(0)
	for {
		names, err := d.Readdirnames(1024)
		if n += uint64(len(names)); err != nil {
			return Use{"descriptors", n, most.Cur}, true
		}
	}
}
