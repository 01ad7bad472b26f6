package handover

// Sockets that systemd opened before it started this process: sd_listen_fds(3).

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	firstDescriptor = 3  // SD_LISTEN_FDS_START
	maxActivated    = 64 // a sane LISTEN_FDS
)

// Activated returns the listeners that systemd handed to this process, by name;
// none, and no error, when it handed none. The caller owns them.
//
// Sockets whose names (FileDescriptorName=) are among names go by them. When none
// is, as with one socket unit of several ListenStream= lines, they go by order: the
// first is names[0]. The environment variables are unset, so that it works once
// and children do not believe that they are meant.
func Activated(names ...string) (map[string]net.Listener, error) {
	pid, count, labels := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		_ = os.Unsetenv(name) // fails for invalid names only
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // nothing, or meant for another process
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxActivated {
		return nil, fmt.Errorf("cannot take sockets from systemd: LISTEN_FDS is %q", count)
	}
	if n == 0 {
		return nil, nil
	}
	roles, err := assign(n, labels, names)
	if err != nil {
		return nil, fmt.Errorf("cannot take sockets from systemd: %w", err)
	}
	listeners := make(map[string]net.Listener, n)
	for i, role := range roles {
		l, err := adopt(firstDescriptor+i, role)
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("cannot take socket %d of %d from systemd as %q: %w", i+1, n, role, err)
		}
		listeners[role] = l
	}
	return listeners, nil
}

// assign says which of names each of n sockets is, labelled "a:b:…" or not at all.
func assign(n int, labels string, names []string) ([]string, error) {
	var given []string
	if labels != "" {
		given = strings.Split(labels, ":")
		if len(given) != n {
			return nil, fmt.Errorf("%d sockets have %d names: LISTEN_FDNAMES is %q", n, len(given), labels)
		}
	}
	known := 0
	for i, label := range given {
		if !slices.Contains(names, label) {
			continue
		}
		if slices.Contains(given[:i], label) {
			return nil, fmt.Errorf("two sockets are named %q", label)
		}
		known++
	}
	switch {
	case known == n:
		return given, nil
	case known > 0:
		return nil, fmt.Errorf("some sockets have unknown names: %q; there are %q", labels, names)
	case n > len(names):
		return nil, fmt.Errorf("%d sockets without known names, and use for %d: %q", n, len(names), names)
	}
	return names[:n], nil
}

// Fits reports whether l listens where address, "host:port", says; port 0 fits
// any. A process that was handed a listener on another address than its
// configuration's opens its own instead.
func Fits(l net.Listener, address string) bool {
	have, ok := l.Addr().(*net.TCPAddr)
	want, err := net.ResolveTCPAddr("tcp", address)
	if !ok || err != nil || want.Port != 0 && want.Port != have.Port {
		return false
	}
	anywhere := want.IP == nil || want.IP.IsUnspecified()
	return anywhere && have.IP.IsUnspecified() || want.IP.Equal(have.IP)
}

func closeAll(listeners map[string]net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // nothing was served on it
	}
}
