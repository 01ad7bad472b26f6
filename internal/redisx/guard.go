package redisx

import (
	"errors"
	"net"
	"syscall"
)

// What a reply may claim to hold: the library makes room for it before it comes.
const (
	maxBulk  = 64 << 20 // bytes of one text
	maxItems = 1 << 16  // of one list
	maxDepth = 8        // of lists in lists
)

var errHuge = errors.New("redis: a reply claims to be larger than any that was asked for")

// guard is a connection that reads no reply which claims too much. It follows the
// structure of the Redis serialization protocol, and nothing else of it.
type guard struct {
	net.Conn
	reply
}

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if !g.follow(p[:n]) {
		return 0, errHuge
	}
	return n, err
}

// guarded is c behind a guard.
func guarded(c net.Conn) net.Conn {
	if raw, ok := c.(syscall.Conn); ok {
		return &plainGuard{guard{Conn: c}, raw}
	}
	return &guard{Conn: c}
}

// plainGuard also lets the library look whether an idle connection has ended, or
// has bytes that nobody asked for; over TLS it sees that at the next read.
type plainGuard struct {
	guard
	syscall.Conn
}

// reply is how far into a reply one is.
type reply struct {
	kind   byte  // of the line; 0: it begins
	number int64 // on it
	minus  bool
	skip   int64 // bytes of a text that are yet to come
	open   [maxDepth]int64
	depth  int // lists that have begun; open is what they lack
}

// follow goes on with what was read, and tells whether it may be passed on.
func (r *reply) follow(b []byte) bool {
	for len(b) > 0 {
		if r.skip > 0 {
			n := min(r.skip, int64(len(b)))
			r.skip, b = r.skip-n, b[n:]
			continue
		}
		c := b[0]
		b = b[1:]
		switch {
		case r.kind == 0:
			r.kind, r.number, r.minus = c, 0, false
		case c == '\n':
			if !r.endLine() {
				return false
			}
			r.kind = 0
		case c == '-':
			r.minus = true
		case c >= '0' && c <= '9' && r.number <= maxBulk:
			r.number = 10*r.number + int64(c-'0')
		}
	}
	return true
}

// endLine takes in a line, which may be all of an item or its beginning.
func (r *reply) endLine() bool {
	switch r.kind {
	case '$', '=', '!':
		if !r.minus {
			if r.number > maxBulk {
				return false
			}
			r.skip = r.number + 2
		}
	case '*', '~', '>', '%', '|':
		if r.number > maxItems && !r.minus {
			return false
		}
		if r.kind == '%' || r.kind == '|' {
			r.number *= 2
		}
		if r.number > 0 && !r.minus {
			if r.depth == maxDepth {
				return false
			}
			r.open[r.depth] = r.number
			r.depth++
			return true
		}
	}
	for r.depth > 0 {
		if r.open[r.depth-1]--; r.open[r.depth-1] > 0 {
			break
		}
		r.depth--
	}
	return true
}
