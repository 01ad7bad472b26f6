package backends

import (
	"syscall"
	"unsafe"
)

// peek looks at one byte. It never waits, and so does not tell the scheduler that
// it might, which costs as much again as the look.
func peek(fd uintptr, into *[1]byte) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(into)), uintptr(len(into)),
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
