//go:build !unix

package outside

import "net"

// Stop ends listening.
func Stop(l *net.TCPListener) { _ = l.Close() }
