//go:build !unix

package backends

import "net"

// peeker cannot look here: a dead connection shows when it is used.
type peeker struct{}

func newPeeker(net.Conn) *peeker { return nil }

func (p *peeker) silent() bool { return true }
