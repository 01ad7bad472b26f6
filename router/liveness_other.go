//go:build !unix

package router

import "syscall"

// peekEOF is not to be had here: a hang-up shows at the next write.
func peekEOF(syscall.RawConn) bool { return false }
