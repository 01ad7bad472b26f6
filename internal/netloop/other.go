//go:build !linux

package netloop

import (
	"net"
	"time"
)

// Loop does not exist here.
type Loop struct{}

// Start returns none.
func Start() (*Loop, error) { return nil, nil }

// Take is not called.
func (*Loop) Take(*net.TCPConn) (*Conn, error) { panic("BUG: there is no loop here") }

// Close is not called.
func (*Loop) Close() error { panic("BUG: there is no loop here") }

// Conn does not exist here.
type Conn struct{ net.Conn }

// Run is not called.
func (*Conn) Run(func() bool, time.Time) error { panic("BUG: there is no loop here") }
