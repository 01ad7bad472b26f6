package backends

import (
	"bytes"
	"io"
)

// This file takes an answer's body out of its framing, in place: no copy, and a
// cut is never taken for an end.

type framing uint8

const (
	byLength  framing = iota // Content-Length
	byChunks                 // Transfer-Encoding: chunked
	untilGone                // until the peer closes
)

const (
	maxChunkLine = 1 << 10 // size, extension and line end of one chunk
	maxTrailer   = 8 << 10
)

// body is where in its framing the reading stands.
type body struct {
	framing   framing
	length    int64 // of the whole body, by its Content-Length
	left      int64 // bytes of the body, or of the chunk, still to come
	lent      int   // bytes lent by next, discarded by the following call
	inChunk   bool  // a chunk was begun: its CRLF is due when left is 0
	inTrailer bool  // the last chunk was read
	trailer   int   // bytes of trailer read so far
	done      bool  // the proper end was read
}

// next lends the following bytes, waiting for at least one. io.EOF is the
// proper end, io.ErrUnexpectedEOF a cut. After a timeout it can be called again.
func (l *Lease) next() ([]byte, error) {
	b := &l.body
	if b.lent > 0 {
		_, _ = l.conn.br.Discard(b.lent)
		b.left -= int64(b.lent)
		b.lent = 0
	}
	if b.done {
		return nil, io.EOF
	}
	switch b.framing {
	case byLength:
		if b.left == 0 {
			b.done = true
			return nil, io.EOF
		}
		return l.lend()
	case byChunks:
		if b.left == 0 {
			if err := l.beginChunk(); err != nil {
				return nil, err
			}
		}
		return l.lend()
	default:
		p, err := l.lend()
		if err == io.ErrUnexpectedEOF { // closing is how this body ends
			b.done = true
			err = io.EOF
		}
		return p, err
	}
}

// More reports whether Next has a piece, or the end, to give without waiting
// for the network. It consumes nothing.
func (l *Lease) More() bool {
	b, br := &l.body, l.conn.br
	rest, _ := br.Peek(br.Buffered())
	rest = rest[b.lent:]
	switch {
	case b.done || b.framing == byLength && b.left == int64(b.lent):
		return true
	case b.framing != byChunks || b.left > int64(b.lent):
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

// lend waits for a byte and lends what is buffered of the current run.
func (l *Lease) lend() ([]byte, error) {
	br := l.conn.br
	if _, err := br.Peek(1); err != nil {
		return nil, cut(err)
	}
	n := int64(br.Buffered())
	if l.body.framing != untilGone {
		n = min(n, l.body.left)
	} else {
		l.body.left = n
	}
	p, err := br.Peek(int(n))
	l.body.lent = len(p)
	return p, err
}

// beginChunk reads the end of the last chunk and the size of the next. At the
// last chunk it reads the trailer and returns io.EOF.
func (l *Lease) beginChunk() error {
	b, br := &l.body, l.conn.br
	if b.inChunk {
		end, err := br.Peek(2)
		if err != nil {
			return cut(err)
		}
		if end[0] != '\r' || end[1] != '\n' {
			return errChunkEnd
		}
		_, _ = br.Discard(2)
		b.inChunk = false
	}
	if !b.inTrailer {
		line, err := l.line(maxChunkLine, errChunkSize)
		if err != nil {
			return err
		}
		size, ok := parseChunkSize(line)
		if !ok {
			return errChunkSize
		}
		_, _ = br.Discard(len(line) + 2)
		if size > 0 {
			b.left, b.inChunk = size, true
			return nil
		}
		b.inTrailer = true
	}
	for {
		line, err := l.line(maxTrailer, errTrailer)
		if err != nil {
			return err
		}
		_, _ = br.Discard(len(line) + 2)
		if b.trailer += len(line) + 2; b.trailer > maxTrailer {
			return errTrailer
		}
		if len(line) == 0 {
			b.done = true
			return io.EOF
		}
	}
}

// line peeks at the next line without its CRLF, consuming nothing, so that a
// timeout in the middle of it loses nothing.
func (l *Lease) line(limit int, malformed error) ([]byte, error) {
	br := l.conn.br
	for seen := 0; ; {
		p, _ := br.Peek(br.Buffered())
		if i := bytes.IndexByte(p[seen:], '\n'); i >= 0 {
			end := seen + i
			if end == 0 || end > limit || p[end-1] != '\r' || bytes.IndexByte(p[:end-1], '\r') >= 0 {
				return nil, malformed
			}
			return p[:end-1], nil
		}
		if seen = len(p); seen >= min(limit, br.Size()) {
			return nil, malformed
		}
		if _, err := br.Peek(seen + 1); err != nil {
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
