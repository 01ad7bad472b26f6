//go:build unix && !(linux && (amd64 || arm64))

package backends

import "syscall"

// peek looks at what fd has unread: EAGAIN is nothing.
func (p *peeker) peek(fd uintptr) {
	_, _, err := syscall.Recvfrom(int(fd), p.byte[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	p.err, _ = err.(syscall.Errno)
}
