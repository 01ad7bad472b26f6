//go:build unix

package outside

import (
	"net"
	"syscall"
)

// Stop ends listening at once, and for good. A process that is just being started
// has a copy of every socket until it runs its program: closing ours alone would
// leave the port taken until then, and connections to it accepted by nobody.
func Stop(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
	}
	_ = l.Close()
}
