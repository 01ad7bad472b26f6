package pressure

import (
	"errors"
	"os"
	"syscall"
)

const fds = "/proc/self/fd"

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
