// Package formdata finds one field of a multipart/form-data body while the body
// passes, piece by piece and in constant memory (RFC 7578, RFC 2046 section 5.1),
// and may show the other fields.
//
// It is strict where parsers are known to differ, so that the field it found is
// the one that the parser behind will find: lines end in CRLF, nothing stands
// before the first delimiter or behind the last, and the field has one spelling.
package formdata

import (
	"bytes"

	"github.com/helixflow/helixflow"
)

const (
	maxParts  = 1000 // as many as the engines' own parsers take
	maxHeader = 4 << 10
	maxValue  = 256
)

// Span is a half-open range of bytes in the whole body.
type Span struct{ Start, End int64 }

type state uint8

const (
	atStart   state = iota // before the first delimiter
	behindIt               // behind a delimiter: CRLF, or the "--" of the last one
	inHeader               // in a part's header
	inData                 // in a part's content
	inPadding              // behind the last delimiter
)

// Scanner is where the looking through one body stands. The zero Scanner is
// ready for Begin. Not safe for concurrent use.
type Scanner struct {
	delimiter []byte // "--" and the boundary
	field     string
	state     state
	offset    int64  // bytes seen
	matched   int    // of the delimiter, at the beginning of a line
	tail      string // what must follow, byte by byte
	last      byte   // the byte before the one looked at
	strict    bool   // a CRLF stands before the line, which may be the delimiter
	line      bool   // at the beginning of a line, or in what may be the delimiter
	sought    bool   // this part is the field
	found     bool
	parts     int
	header    []byte // of this part so far
	value     []byte // of the field; while sought, with what follows of its delimiter
	at        Span

	watch   func(name, value []byte) error
	watched bool   // this part is a field to show
	name    []byte // of it, in header
	other   []byte // its content, likewise with its delimiter
}

// Begin starts a body whose Content-Type is given, in which a field is sought; ""
// for none.
func (s *Scanner) Begin(contentType []byte, field string) error {
	boundary, err := boundaryOf(contentType)
	if err != nil {
		return err
	}
	*s = Scanner{
		delimiter: append(append(s.delimiter[:0], "--"...), boundary...), field: field,
		header: s.header[:0], value: s.value[:0], other: s.other[:0], line: true, strict: true,
	}
	return nil
}

// Watch has visit called, until the next Begin, for each field that is no file
// and not the one sought, as soon as it is there whole. Both arguments are
// borrowed; a content of more than 256 bytes is cut to 257. An error of visit is
// one of Scan's.
func (s *Scanner) Watch(visit func(name, value []byte) error) { s.watch = visit }

// Field returns the field's content and where it stands, once it is there whole.
// The content is borrowed until the next Begin.
func (s *Scanner) Field() (value []byte, at Span, ok bool) {
	if !s.found || s.sought {
		return nil, Span{}, false
	}
	return s.value, s.at, true
}

// Part returns a part that can stand before all others of the body.
func (s *Scanner) Part(name string, value []byte) []byte {
	p := append([]byte(nil), s.delimiter...)
	p = append(p, "\r\nContent-Disposition: form-data; name=\""+name+"\"\r\n\r\n"...)
	return append(append(p, value...), "\r\n"...)
}

// Ended returns an error if the body may not end here.
func (s *Scanner) Ended() error {
	if s.state == inPadding && len(s.tail) != 1 {
		return nil
	}
	return malformed("The form ends before its closing boundary.")
}

// Scan looks at the following bytes of the body. After an error nothing of p may
// be passed on.
func (s *Scanner) Scan(p []byte) error {
	for len(p) > 0 {
		var n int
		var err error
		switch s.state {
		case atStart:
			n, err = s.first(p)
		case behindIt:
			n, err = s.behind(p)
		case inHeader:
			n, err = s.scanHeader(p)
		case inData:
			n, err = s.scanData(p)
		default:
			n, err = s.padding(p)
		}
		if err != nil {
			return err
		}
		s.last = p[n-1]
		s.offset += int64(n)
		p = p[n:]
	}
	return nil
}

// first wants the delimiter as the body's very first bytes.
func (s *Scanner) first(p []byte) (int, error) {
	n := min(len(p), len(s.delimiter)-s.matched)
	if !bytes.Equal(p[:n], s.delimiter[s.matched:s.matched+n]) {
		return 0, malformed("The form does not begin with its boundary.")
	}
	if s.matched += n; s.matched == len(s.delimiter) {
		s.state = behindIt
	}
	return n, nil
}

// behind reads what follows a delimiter: a CRLF, or "--" if it is the last.
func (s *Scanner) behind(p []byte) (int, error) {
	c := p[0]
	switch {
	case s.tail == "" && c == '\r':
		s.tail = "\n"
	case s.tail == "" && c == '-':
		s.tail = "-"
	case s.tail == "\n" && c == '\n':
		s.tail, s.state, s.header = "", inHeader, s.header[:0]
		if s.parts++; s.parts > maxParts {
			return 0, malformed("The form has more than 1000 parts.")
		}
	case s.tail == "-" && c == '-':
		s.tail, s.state = "\r\n", inPadding
	default:
		return 0, malformed("A boundary of the form is followed by something else than the end of its line.")
	}
	return 1, nil
}

// padding takes one CRLF behind the last delimiter, and nothing else.
func (s *Scanner) padding(p []byte) (int, error) {
	if s.tail == "" || p[0] != s.tail[0] {
		return 0, malformed("Something follows the closing boundary of the form.")
	}
	s.tail = s.tail[1:]
	return 1, nil
}

var endOfHeader = []byte("\r\n\r\n")

// scanHeader gathers a part's header and reads it once it is whole.
func (s *Scanner) scanHeader(p []byte) (int, error) {
	seen := max(0, len(s.header)-len(endOfHeader)+1)
	n := min(len(p), maxHeader+1-len(s.header))
	s.header = append(s.header, p[:n]...)
	end := bytes.Index(s.header[seen:], endOfHeader)
	if bytes.HasPrefix(s.header, endOfHeader[:2]) {
		return 0, malformed("A part of the form has no header.")
	}
	if end < 0 {
		if len(s.header) > maxHeader {
			return 0, malformed("The header of a part of the form is above 4 KiB.")
		}
		return n, nil
	}
	end += seen + len(endOfHeader)
	n -= len(s.header) - end
	s.header = s.header[:end]
	part, err := readHeader(s.header[:end-2])
	if err != nil {
		return 0, err
	}
	sought := s.field != "" && string(part.name) == s.field
	s.watched, s.name = s.watch != nil && !sought && (!part.file || part.unnamed), part.name
	switch {
	case part.encoded && s.watched:
		return 0, malformed("A field of the form is encoded; it must be plain text.")
	case sought && (part.file || part.encoded):
		return 0, notPlain(s.field)
	}
	if sought && s.found {
		return 0, &helixflow.Error{
			Kind: helixflow.KindDuplicateKey, Param: s.field,
			Public: "The form has the field '" + s.field + "' twice.",
		}
	}
	s.sought, s.found = sought, s.found || sought
	if sought {
		s.at.Start = s.offset + int64(n)
	}
	// What follows directly would be a delimiter without a line of its own.
	s.state, s.line, s.strict, s.matched = inData, true, false, 0
	return n, nil
}

// scanData looks for the delimiter at the beginning of a line.
func (s *Scanner) scanData(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if !s.line {
			i := bytes.IndexByte(p[n:], '\n')
			if i < 0 {
				n = len(p)
				break
			}
			n += i
			before := s.last
			if n > 0 {
				before = p[n-1]
			}
			s.line, s.strict, s.matched = true, before == '\r', 0
			n++
			continue
		}
		if p[n] != s.delimiter[s.matched] {
			s.line = false
			continue
		}
		n++
		if s.matched++; s.matched == len(s.delimiter) {
			if !s.strict {
				return 0, malformed("A boundary of the form does not stand behind a CRLF.")
			}
			return n, s.endPart(p[:n])
		}
	}
	return n, s.gather(p[:n])
}

// gather keeps what may be a field's content.
func (s *Scanner) gather(p []byte) error {
	enough := maxValue + len(s.delimiter) + 4
	switch {
	case s.watched:
		s.other = append(s.other, p[:min(len(p), enough-len(s.other))]...)
	case s.sought:
		s.value = append(s.value, p[:min(len(p), enough)]...)
		if len(s.value) > maxValue+len(s.delimiter)+2 {
			return badValue(s.field)
		}
	}
	return nil
}

// endPart ends a part with p, at whose end its delimiter ends.
func (s *Scanner) endPart(p []byte) error {
	s.state = behindIt
	tail := len("\r\n") + len(s.delimiter)
	if err := s.gather(p); err != nil {
		return err
	}
	if s.watched {
		value := s.other[:min(len(s.other)-tail, maxValue+1)]
		if len(s.other) == maxValue+tail+2 { // cut, perhaps in front of its delimiter
			value = s.other[:maxValue+1]
		}
		s.other, s.watched = s.other[:0], false
		return s.watch(s.name, value)
	}
	if !s.sought {
		return nil
	}
	s.value = s.value[:len(s.value)-tail]
	s.at.End = s.at.Start + int64(len(s.value))
	s.sought = false
	if !validValue(s.value) {
		return badValue(s.field)
	}
	return nil
}
