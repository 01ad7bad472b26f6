// Package framing takes the body of an HTTP/1.1 message out of its framing, in
// place and piece by piece, for both sides of the router: a cut is never taken
// for an end (RFC 9112, section 6).
package framing

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// Kind is how a body says where it ends.
type Kind uint8

// The kinds.
const (
	ByLength   Kind = iota // Content-Length
	ByChunks               // Transfer-Encoding: chunked
	UntilClose             // the peer closes; for answers only
)

const (
	maxChunkLine = 1 << 10 // size, extension and line end of one chunk
	maxTrailer   = 8 << 10
)

// Malformed bodies. After one of them the connection is of no more use.
var (
	ErrChunkSize = errors.New("malformed chunk size")
	ErrChunkEnd  = errors.New("malformed end of a chunk")
	ErrTrailer   = errors.New("malformed or oversized trailer")
)

// Body is where the reading of one body stands. The zero Body is one that was
// read to its end. Not safe for concurrent use.
type Body struct {
	r         *bufio.Reader
	kind      Kind
	length    int64 // of the whole body, by its Content-Length; else -1
	left      int64 // bytes of the body, or of the chunk, still to come
	lent      int   // bytes lent by Next, discarded by the following call
	inChunk   bool  // a chunk was begun: its CRLF is due when left is 0
	inTrailer bool  // the last chunk was read
	trailer   int   // bytes of trailer read so far
	unread    bool  // the proper end was not read yet
}

// Begin starts a body whose bytes follow in r. length matters for ByLength only.
func (b *Body) Begin(r *bufio.Reader, kind Kind, length int64) {
	*b = Body{r: r, kind: kind, length: -1, unread: true}
	if kind == ByLength {
		b.length, b.left = length, length
	}
}

// Length is the body's length if its head told it, else -1.
func (b *Body) Length() int64 { return b.length }

// Kind is how the body says where it ends.
func (b *Body) Kind() Kind { return b.kind }

// Next lends the following bytes until the next call, waiting for at least one.
// io.EOF is the proper end, io.ErrUnexpectedEOF a cut. After an error of the
// connection that passes, a deadline, it can be called again.
func (b *Body) Next() ([]byte, error) {
	if err := b.advance(); err != nil {
		return nil, err
	}
	n, err := b.wait()
	if err != nil {
		return nil, err
	}
	p, err := b.r.Peek(n)
	b.lent = len(p)
	return p, err
}

// Read is Next for bytes that are wanted elsewhere: it fills p, and reads past
// the buffer, straight from the connection, if p is the larger one. It returns
// what one reading gives.
func (b *Body) Read(p []byte) (int, error) {
	if err := b.advance(); err != nil {
		return 0, err
	}
	if b.kind != UntilClose {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.r.Read(p)
	if b.kind != UntilClose {
		b.left -= int64(n)
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.ending(err)
}

// advance gives back what was lent and goes on to where bytes of the body lie.
func (b *Body) advance() error {
	if b.lent > 0 {
		_, _ = b.r.Discard(b.lent)
		b.left -= int64(b.lent)
		b.lent = 0
	}
	if !b.unread {
		return io.EOF
	}
	if b.left > 0 || b.kind == UntilClose {
		return nil
	}
	if b.kind == ByLength {
		b.unread = false
		return io.EOF
	}
	return b.beginChunk()
}

// wait waits for a byte and tells how many of the current run are here.
func (b *Body) wait() (int, error) {
	if _, err := b.r.Peek(1); err != nil {
		return 0, b.ending(err)
	}
	n := int64(b.r.Buffered())
	if b.kind == UntilClose {
		b.left = n
		return int(n), nil
	}
	return int(min(n, b.left)), nil
}

// ending is what the end of the connection means here.
func (b *Body) ending(err error) error {
	if err == io.EOF && b.kind == UntilClose { // closing is how this body ends
		b.unread = false
		return io.EOF
	}
	return cut(err)
}

// More reports whether Next has a piece, or the end, to give without waiting
// for the network. It consumes nothing.
func (b *Body) More() bool {
	if !b.unread {
		return true
	}
	rest, _ := b.r.Peek(b.r.Buffered())
	rest = rest[b.lent:]
	switch {
	case b.kind == ByLength && b.left == int64(b.lent):
		return true
	case b.kind != ByChunks || b.left > int64(b.lent):
		return len(rest) > 0
	case b.inTrailer:
		return bytes.HasPrefix(rest, []byte("\r\n")) || bytes.Contains(rest, []byte("\r\n\r\n"))
	case b.inChunk && len(rest) < 2:
		return false
	case b.inChunk:
		rest = rest[2:] // the CRLF that ends the lent chunk
	}
	i := bytes.IndexByte(rest, '\n')
	if i > 0 && rest[0] == '0' {
		return bytes.Contains(rest, []byte("\r\n\r\n"))
	}
	return i > 0 && len(rest) > i+1
}

// Finish gives back what was lent and reports whether the body was read whole,
// so that what follows in the reader is the next message.
func (b *Body) Finish() bool {
	if b.lent > 0 {
		_, _ = b.r.Discard(b.lent)
		b.left -= int64(b.lent)
		b.lent = 0
	}
	return !b.unread || b.kind == ByLength && b.left == 0
}

// beginChunk reads the end of the last chunk and the size of the next. At the
// last chunk it reads the trailer and returns io.EOF.
func (b *Body) beginChunk() error {
	if b.inChunk {
		end, err := b.r.Peek(2)
		if err != nil {
			return cut(err)
		}
		if end[0] != '\r' || end[1] != '\n' {
			return ErrChunkEnd
		}
		_, _ = b.r.Discard(2)
		b.inChunk = false
	}
	if !b.inTrailer {
		line, err := b.line(maxChunkLine, ErrChunkSize)
		if err != nil {
			return err
		}
		size, ok := parseChunkSize(line)
		if !ok {
			return ErrChunkSize
		}
		_, _ = b.r.Discard(len(line) + 2)
		if size > 0 {
			b.left, b.inChunk = size, true
			return nil
		}
		b.inTrailer = true
	}
	for {
		line, err := b.line(min(maxTrailer, b.r.Size()), ErrTrailer)
		if err != nil {
			return err
		}
		_, _ = b.r.Discard(len(line) + 2)
		if b.trailer += len(line) + 2; b.trailer > maxTrailer {
			return ErrTrailer
		}
		if len(line) == 0 {
			b.unread = false
			return io.EOF
		}
	}
}

// line peeks at the next line without its CRLF, consuming nothing, so that a
// deadline in the middle of it loses nothing.
func (b *Body) line(limit int, malformed error) ([]byte, error) {
	for seen := 0; ; {
		p, _ := b.r.Peek(b.r.Buffered())
		if i := bytes.IndexByte(p[seen:], '\n'); i >= 0 {
			end := seen + i
			if end == 0 || end > limit || p[end-1] != '\r' || bytes.IndexByte(p[:end-1], '\r') >= 0 {
				return nil, malformed
			}
			return p[:end-1], nil
		}
		if seen = len(p); seen >= min(limit, b.r.Size()) {
			return nil, malformed
		}
		if _, err := b.r.Peek(seen + 1); err != nil {
			return nil, cut(err)
		}
	}
}

// parseChunkSize reads 1 to 15 hex digits, then nothing or an extension.
func parseChunkSize(line []byte) (size int64, ok bool) {
	digits := 0
	for _, c := range line {
		var d int64
		switch {
		case '0' <= c && c <= '9':
			d = int64(c - '0')
		case 'a' <= c && c <= 'f':
			d = int64(c-'a') + 10
		case 'A' <= c && c <= 'F':
			d = int64(c-'A') + 10
		case c == ';' && digits > 0:
			return size, true
		default:
			return 0, false
		}
		if digits++; digits > 15 {
			return 0, false
		}
		size = size<<4 | d
	}
	return size, digits > 0
}

// cut turns an end of the connection where none belongs into a cut.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
