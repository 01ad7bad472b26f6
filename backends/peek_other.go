//go:build !unix

package backends

import (
	"net"
	"time"
)

// peeker cannot look here: a dead connection shows when it is used.
type peeker struct{}

func newPeeker(net.Conn) *peeker { return nil }

func (p *peeker) silent() bool { return true }

func (p *peeker) write([]byte) (n int, at time.Time, looked, silent bool) { return }
