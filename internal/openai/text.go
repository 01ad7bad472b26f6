// The content of JSON strings: stepped over eight bytes at a time, and decoded
// into room that is already there.

package openai

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// skipString steps over the rest of a string, its quote included; i is the offset
// of its first character or of one further on, not inside an escape.
func skipString(b []byte, i int) (int, fault) {
	for {
		i = skipText(b, i)
		switch {
		case i >= len(b):
			return len(b), faultEnd
		case b[i] == '"':
			return i + 1, sound
		case b[i] != '\\':
			return i, faultControl
		}
		var why fault
		if i, why = skipEscape(b, i); why != sound {
			return i, why
		}
	}
}

// skipText returns the offset of the first byte at or behind i that cannot stand
// in a string as it is: a quote, a backslash or a control character.
func skipText(b []byte, i int) int {
	if len(b)-i >= 8 {
		if stop := stops(binary.LittleEndian.Uint64(b[i:])); stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
		i += 8
	}
	for len(b)-i >= 32 {
		p := b[i : i+32]
		w0 := marks(binary.LittleEndian.Uint64(p))
		w1 := marks(binary.LittleEndian.Uint64(p[8:]))
		w2 := marks(binary.LittleEndian.Uint64(p[16:]))
		w3 := marks(binary.LittleEndian.Uint64(p[24:]))
		if (w0|w1|w2|w3)&highs != 0 {
			// One bit per byte, so that no branch depends on the string's length.
			found := gather(w0) | gather(w1)<<8 | gather(w2)<<16 | gather(w3)<<24
			return i + bits.TrailingZeros64(found)
		}
		i += 32
	}
	for len(b)-i >= 8 {
		if stop := stops(binary.LittleEndian.Uint64(b[i:])); stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
		i += 8
	}
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// stops returns a word whose lowest set bit lies in the first byte of w that is a
// quote, a backslash or a control character; 0 when there is none.
func stops(w uint64) uint64 { return marks(w) & highs }

// marks sets the top bit of the bytes that stop a string; the other bits mean
// nothing. Exchanging 0x20 and 0x22 (^2) makes control characters and the quote
// one range, below 0x21, so one subtraction finds both; borrows run upwards, so
// the lowest mark is exact. See Hacker's Delight, 6-1.
func marks(w uint64) uint64 {
	return (((w ^ 0x02*ones) - 0x21*ones) | ((w ^ '\\'*ones) - ones)) &^ w
}

// gather packs the top bits of the eight bytes of w into the low eight bits.
func gather(w uint64) uint64 { return w & highs >> 7 * 0x0102040810204080 >> 56 }

// skipEscape steps over the escape whose backslash is at i.
func skipEscape(b []byte, i int) (int, fault) {
	if i+1 >= len(b) {
		return len(b), faultEnd
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, sound
	case 'u':
	default:
		return i, faultEscape
	}
	if len(b)-i < 6 {
		return len(b), faultEnd
	}
	if _, ok := hex4(b[i+2 : i+6]); !ok {
		return i, faultEscape
	}
	return i + 6, sound
}

// hex4 returns the value of four hexadecimal digits.
func hex4(b []byte) (v rune, ok bool) {
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	return v, true
}

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
