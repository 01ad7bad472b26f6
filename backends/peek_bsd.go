//go:build unix && !linux

package backends

import "syscall"

// peek looks at one byte. It never waits.
func peek(fd uintptr, into *[1]byte) error {
	_, _, err := syscall.Recvfrom(int(fd), into[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err
}
