// Package deploy proves what deploy/ ships, with the tools that will use it: the
// units with systemd-analyze and systemd-socket-activate (Debian's package
// systemd; the machine need not have been started by it), the image's root
// filesystem by running the binary in it as the image's user, without a
// container engine. Linux alone. Run with
//
//	go test -tags integration ./tests/deploy/
//
// The binary is the one HELIXFLOW_BIN names, else the test builds it.
package deploy
