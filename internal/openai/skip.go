// Stepping over JSON values without decoding them. The grammar is that of RFC
// 8259, held exactly, but that strings may carry bytes that are not UTF-8.

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

// skipContainer steps over the array or object that begins at i. It is one
// function, long as it is, because a call for each short string costs a fifth of
// the scan.
func skipContainer(b []byte, i int) (int, fault) {
	var (
		objects uint64                  // bit 0: the innermost container is an object; bit 1: the one around it; …
		outer   [maxDepth/64 - 1]uint64 // objects, each time it was full
		depth   int                     // of the containers open here; the root is one more
		key     bool                    // the string at hand is a member's key
		why     fault
	)
value:
	if i = skipSpace(b, i); i >= len(b) {
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
		if i = skipSpace(b, i+1); i >= len(b) {
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
	if i = skipSpace(b, i); i >= len(b) {
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
	if i = skipSpace(b, i); i >= len(b) {
		return i, faultEnd
	}
	if b[i] != '"' {
		return i, faultByte
	}
	key = true
text:
	i++
	if len(b)-i >= 8 {
		// As a sum, each string's place would wait for the length of the one before
		// it; as a jump it is predicted. Worth a third.
		switch bits.TrailingZeros64(stops(binary.LittleEndian.Uint64(b[i:]))) / 8 {
		case 1:
			i++
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
	if len(b)-i >= 2 { // what stands between nearly all strings
		switch two := binary.LittleEndian.Uint16(b[i:]); {
		case key && two == ':'|'"'<<8:
			i++
			key = false
			goto text
		case !key && two == ','|'"'<<8:
			i++
			key = objects&1 != 0
			goto text
		}
	}
	if !key {
		goto next
	}
	if i = skipSpace(b, i); i >= len(b) {
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
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	return i
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
	if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
		return i + len(word), sound
	}
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
