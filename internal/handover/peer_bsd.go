//go:build darwin || freebsd

package handover

import (
	"net"

	"golang.org/x/sys/unix"
)

const solLocal = 0 // SOL_LOCAL, unix(4)

// peer is who is at the other end, as the kernel says; it tells no process id.
func peer(c *net.UnixConn) (uid, pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Xucred
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED)
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return 0, 0, err
	}
	return int(cred.Uid), 0, nil
}
