//go:build !linux

package backends

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing here; keep-alive probes still find a peer that
// vanished, unless bytes to it are outstanding.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }
