package formdata

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/helixflow/helixflow"
)

// This file reads the two headers that matter: the body's Content-Type and a
// part's Content-Disposition.

const maxBoundary = 70 // RFC 2046, section 5.1.1

// IsForm reports whether a Content-Type is that of a form.
func IsForm(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	return bytes.EqualFold(bytes.TrimSpace(media), []byte("multipart/form-data"))
}

// boundaryOf is the boundary that a Content-Type names.
func boundaryOf(contentType []byte) ([]byte, error) {
	_, params := cutParameters(contentType)
	params.loose = true // some boundaries lack their quotes
	var boundary []byte
	for params.next() {
		if !bytes.EqualFold(params.name, []byte("boundary")) {
			continue
		}
		if boundary != nil {
			return nil, malformed("The Content-Type names two boundaries.")
		}
		boundary = params.value
	}
	if params.bad || len(boundary) == 0 || len(boundary) > maxBoundary {
		return nil, malformed("The Content-Type names no boundary of 1 to 70 characters.")
	}
	for i, c := range boundary {
		if !isBoundaryByte(c) || c == ' ' && i == len(boundary)-1 {
			return nil, malformed("The boundary in the Content-Type has characters that none may have.")
		}
	}
	return boundary, nil
}

func isBoundaryByte(c byte) bool {
	return isAlphanumeric(c) || bytes.IndexByte([]byte("'()+_,-./:=? "), c) >= 0
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// partHeader is what a part's header says of it.
type partHeader struct {
	name    []byte // borrowed from the header
	file    bool   // a file's name is given
	unnamed bool   // but an empty one, which some parsers take for none
	encoded bool
}

// readHeader reads a part's header, line by line with their CRLF.
func readHeader(header []byte) (h partHeader, err error) {
	var disposition []byte
	given := false
	for line := range bytes.SplitSeq(bytes.TrimSuffix(header, []byte("\r\n")), []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || bytes.ContainsAny(line, "\r\n\x00") {
			return h, malformed("A part of the form has a malformed header.")
		}
		switch {
		case bytes.EqualFold(name, []byte("Content-Disposition")):
			if given {
				return h, malformed("A part of the form has two Content-Disposition headers.")
			}
			disposition, given = bytes.TrimSpace(value), true
		case bytes.EqualFold(name, []byte("Content-Transfer-Encoding")):
			h.encoded = h.encoded || !isIdentity(bytes.TrimSpace(value))
		}
	}
	kind, params := cutParameters(disposition)
	if !bytes.EqualFold(bytes.TrimSpace(kind), []byte("form-data")) {
		return h, malformed("A part of the form has no Content-Disposition of form-data.")
	}
	return h, h.readName(params)
}

// readName reads the parameters of a Content-Disposition: the name, and whether
// there is a file's.
func (h *partHeader) readName(params parameters) error {
	names := 0
	for params.next() {
		switch {
		case bytes.EqualFold(params.name, []byte("name*")):
			return malformed("A part of the form has a name in an encoding of its own.")
		case bytes.EqualFold(params.name, []byte("name")):
			if names++; names > 1 || bytes.IndexByte(params.value, '\\') >= 0 {
				return malformed("A part of the form has two names, or one with a backslash.")
			}
			h.name = params.value
		case bytes.EqualFold(params.name, []byte("filename")), bytes.EqualFold(params.name, []byte("filename*")):
			h.unnamed = len(params.value) == 0 && (h.unnamed || !h.file)
			h.file = true
		}
	}
	if params.bad || names == 0 {
		return malformed("A part of the form has no name.")
	}
	return nil
}

func isIdentity(encoding []byte) bool {
	for _, plain := range [...]string{"7bit", "8bit", "binary"} {
		if bytes.EqualFold(encoding, []byte(plain)) {
			return true
		}
	}
	return false
}

// parameters walks over ; name=value pairs. A quoted value is given without its
// quotes, its backslashes left as they are.
type parameters struct {
	rest        []byte
	name, value []byte
	loose       bool // without quotes a value may have some characters that need them
	bad         bool
}

// cutParameters splits a header's value into what stands before its parameters,
// and these, their first semicolon included.
func cutParameters(v []byte) ([]byte, parameters) {
	i := bytes.IndexByte(v, ';')
	if i < 0 {
		return v, parameters{}
	}
	return v[:i], parameters{rest: v[i:]}
}

func (p *parameters) next() bool {
	p.rest = bytes.TrimLeft(bytes.TrimPrefix(p.rest, []byte(";")), " \t") // one: of ";;" parsers make different things
	if len(p.rest) == 0 {
		return false
	}
	name, rest, ok := bytes.Cut(p.rest, []byte("="))
	if !ok || !isToken(name) {
		p.bad = true
		return false
	}
	p.name = name
	if len(rest) > 0 && rest[0] == '"' {
		return p.quoted(rest[1:])
	}
	end := bytes.IndexAny(rest, "; \t")
	if end < 0 {
		end = len(rest)
	}
	p.value, p.rest = rest[:end], rest[end:]
	for _, c := range p.value {
		if !isTokenByte(c) && !(p.loose && bytes.IndexByte([]byte("=/:?,"), c) >= 0) {
			p.bad = true
			return false
		}
	}
	return p.separated()
}

// quoted reads a value behind its opening quote.
func (p *parameters) quoted(rest []byte) bool {
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '\\':
			i++
		case c < ' ' || c == 0x7f:
			p.bad = true
			return false
		case c == '"':
			p.value, p.rest = rest[:i], rest[i+1:]
			return p.separated()
		}
	}
	p.bad = true
	return false
}

// separated wants the end, or a semicolon, behind a value.
func (p *parameters) separated() bool {
	p.rest = bytes.TrimLeft(p.rest, " \t")
	if len(p.rest) > 0 && p.rest[0] != ';' {
		p.bad = true
		return false
	}
	return true
}

func isToken(name []byte) bool {
	for _, c := range name {
		if !isTokenByte(c) {
			return false
		}
	}
	return len(name) > 0
}

func isTokenByte(c byte) bool {
	return isAlphanumeric(c) || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}

func validValue(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return len(v) > 0 && len(v) <= maxValue && utf8.Valid(v)
}

func badValue(field string) error {
	return &helixflow.Error{
		Kind: helixflow.KindInvalidForm, Param: field,
		Public: fmt.Sprintf("The field '%s' of the form must be 1 to %d bytes of UTF-8 without control characters.", field, maxValue),
	}
}

func notPlain(field string) error {
	return &helixflow.Error{
		Kind: helixflow.KindInvalidForm, Param: field,
		Public: fmt.Sprintf("The field '%s' of the form must be plain text, neither a file nor encoded.", field),
	}
}

func malformed(text string) error {
	return &helixflow.Error{Kind: helixflow.KindInvalidForm, Public: text}
}
