//go:build !linux

package handover

// monotonic has no reader here: systemd is Linux' alone.
func monotonic() (usec int64, ok bool) { return 0, false }
