// Decoding the content of a JSON string into room that is already there.

package openai

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unescape appends s, the content of a sound JSON string, to dst with its escapes
// decoded. It reports false when dst has no room for it, or when an escape is
// half of a surrogate pair, of which parsers make different things.
func unescape(dst, s []byte) ([]byte, bool) {
	for i := 0; i < len(s); {
		if len(dst) == cap(dst) {
			return dst, false
		}
		if s[i] != '\\' {
			dst = append(dst, s[i])
			i++
			continue
		}
		if s[i+1] != 'u' {
			dst = append(dst, plainEscape(s[i+1]))
			i += 2
			continue
		}
		r, size := unicodeEscape(s[i:])
		if size == 0 || len(dst)+utf8.RuneLen(r) > cap(dst) {
			return dst, false
		}
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return dst, true
}

// plainEscape returns the character that a backslash and c stand for.
func plainEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unicodeEscape decodes the escape, or the pair of them, that s begins with, and
// returns its length; 0 for half a pair.
func unicodeEscape(s []byte) (rune, int) {
	r, _ := hex4(s[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(s) < 12 || s[6] != '\\' || s[7] != 'u' {
		return 0, 0
	}
	low, _ := hex4(s[8:])
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}
