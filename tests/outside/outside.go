// Package outside is what the tests that drive the built binary share: addresses
// for it to listen on, and what it prints.
package outside

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports below the range that systems take outgoing connections' ports from
// (32768 on Linux): one that is free now is not taken by a connection before the
// binary listens on it.
const (
	firstPort = 10000
	ports     = 22000
)

// Address returns an address on loopback that nobody listens on. That it stays
// so is all but certain.
func Address() (string, error) {
	l, err := Listen()
	if err != nil {
		return "", err
	}
	Stop(l)
	return l.Addr().String(), nil
}

// Listen listens on loopback, where one may listen again after closing it.
func Listen() (*net.TCPListener, error) {
	var last error
	for range 100 {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: firstPort + rand.IntN(ports)})
		if err == nil {
			return l, nil
		}
		last = err
	}
	return nil, fmt.Errorf("cannot find a free port: %w", last)
}

// Output collects what a process prints while others read it. The zero value is
// ready; safe for concurrent use.
type Output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
