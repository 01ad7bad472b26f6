//go:build unix && !linux

package router

import "syscall"

// peekEOF reports whether the peer has closed its side.
func peekEOF(rc syscall.RawConn) bool {
	eof := false
	_ = rc.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		eof = n == 0 && err == nil || err == syscall.ECONNRESET
	})
	return eof
}
