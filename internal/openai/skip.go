// Stepping over JSON values without decoding them, eight bytes at a time where
// they are text. The grammar is that of RFC 8259, held exactly, but that strings
// may carry bytes that are not UTF-8.

package openai

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep arrays and objects may be nested, the root included.
const maxDepth = 512

// fault says why bytes are not JSON; sound means they are.
type fault uint8

const (
	sound        fault = iota
	faultEnd           // the body ends too early
	faultByte          // a byte that cannot stand here
	faultControl       // a raw control character in a string
	faultEscape        // an unknown escape in a string
	faultNumber        // a number as JSON does not write it
	faultDepth         // nested too deep
)

// skipValue steps over the value that begins at or, after whitespace, behind i,
// and returns the offset of the byte behind it; with a fault, the offset of the
// byte at fault.
func skipValue(b []byte, i int) (int, fault) {
	if i = skipSpace(b, i); i >= len(b) {
		return i, faultEnd
	}
	switch b[i] {
	case '"':
		return skipString(b, i+1)
	case '{', '[':
		return skipContainer(b, i)
	}
	return skipScalar(b, i)
}

// skipContainer steps over the array or object that begins at i. It is one loop
// without calls for what is short, because most bodies are made of that.
func skipContainer(b []byte, i int) (int, fault) {
	var (
		objects uint64                  // bit 0: the innermost container is an object; bit 1: the one around it; …
		outer   [maxDepth/64 - 1]uint64 // objects, each time it was full
		depth   int                     // of the containers open here; the root is one more
		key     bool                    // the string at hand is a member's key
		why     fault
	)
value:
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	if i >= len(b) {
		return i, faultEnd
	}
	switch c := b[i]; c {
	case '"':
		key = false
		goto text
	case '{', '[':
		if depth == maxDepth-1 {
			return i, faultDepth
		}
		if depth%64 == 0 && depth > 0 {
			outer[depth/64-1] = objects
		}
		depth++
		objects = objects<<1 | uint64(c>>5&1) // '{' is 0x7b, '[' is 0x5b
		for i++; i < len(b) && b[i] <= ' ' && isSpace(b[i]); i++ {
		}
		if i >= len(b) {
			return i, faultEnd
		}
		if b[i] == c+2 { // '}' and ']' stand two behind their openers
			goto shut
		}
		if objects&1 != 0 {
			goto member
		}
		goto value
	}
	if i, why = skipScalar(b, i); why != sound {
		return i, why
	}
next:
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	if i >= len(b) {
		return i, faultEnd
	}
	if b[i] == ',' {
		i++
		if objects&1 != 0 {
			goto member
		}
		goto value
	}
	if b[i] != ']'|byte(objects&1)<<5 {
		return i, faultByte
	}
shut:
	i++
	if depth--; depth%64 != 0 {
		objects >>= 1
	} else if depth > 0 {
		objects = outer[depth/64-1]
	} else {
		return i, sound
	}
	goto next
member:
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	if i >= len(b) {
		return i, faultEnd
	}
	if b[i] != '"' {
		return i, faultByte
	}
	key = true
text:
	i++
	if len(b)-i >= 8 {
		switch bits.TrailingZeros64(stops(binary.LittleEndian.Uint64(b[i:]))) / 8 {
		case 1:
			i += 1
		case 2:
			i += 2
		case 3:
			i += 3
		case 4:
			i += 4
		case 5:
			i += 5
		case 6:
			i += 6
		case 7:
			i += 7
		case 8:
			i += 8
		}
	}
	if i < len(b) && b[i] != '"' {
		i = skipText(b, i)
	}
	if i < len(b) && b[i] == '"' {
		i++
	} else if i, why = skipString(b, i); why != sound {
		return i, why
	}
	if !key {
		goto next
	}
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	if i >= len(b) {
		return i, faultEnd
	}
	if b[i] != ':' {
		return i, faultByte
	}
	i++
	goto value
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skipKey steps over a member's key and its colon.
func skipKey(b []byte, i int) (int, fault) {
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	if i >= len(b) {
		return i, faultEnd
	}
	if b[i] != '"' {
		return i, faultByte
	}
	i, why := skipString(b, i+1)
	if why != sound {
		return i, why
	}
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	if i >= len(b) {
		return i, faultEnd
	}
	if b[i] != ':' {
		return i, faultByte
	}
	return i + 1, sound
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

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

// skipScalar steps over a number, true, false or null.
func skipScalar(b []byte, i int) (int, fault) {
	switch b[i] {
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	}
	return skipNumber(b, i)
}

func skipWord(b []byte, i int, word string) (int, fault) {
	for j := range len(word) {
		if i+j >= len(b) {
			return len(b), faultEnd
		}
		if b[i+j] != word[j] {
			return i + j, faultByte
		}
	}
	return i + len(word), sound
}

func skipNumber(b []byte, i int) (int, fault) {
	start := i
	if b[i] == '-' {
		i++
	}
	digits := i
	i = skipDigits(b, i)
	switch {
	case i == digits && i == start:
		return i, faultByte
	case i == digits, i > digits+1 && b[digits] == '0':
		return start, faultNumber
	}
	if i < len(b) && b[i] == '.' {
		digits = i + 1
		if i = skipDigits(b, digits); i == digits {
			return start, faultNumber
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		digits = i
		if i = skipDigits(b, digits); i == digits {
			return start, faultNumber
		}
	}
	return i, sound
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}
