// Framer: where an event of a stream ends.

package openai

import "bytes"

// EventEnd returns the length of the first whole event in b, its blank line
// included, and 0 when b holds none yet. Lines end in LF, CRLF or CR, as
// https://html.spec.whatwg.org/multipage/server-sent-events.html has it; so a CR
// at the end of b is not yet the end of anything, unless it is the second of two.
func EventEnd(b []byte) int {
	var f Framer
	return f.EventEnd(b)
}

// Framer is EventEnd for a buffer that grows at its end: it remembers how far it
// has looked, so that an event costs the same in however many pieces it comes.
// The zero value stands at the beginning of an event.
type Framer struct {
	looked int // all before it is not the end; a line begins there, or it lies in one
}

// Reset makes f stand at the beginning of an event again.
func (f *Framer) Reset() { f.looked = 0 }

// EventEnd is the function EventEnd of b, which begins with the bytes of the last
// call, if that returned 0 and Reset was not called since. When it finds an event,
// f stands at the beginning of the next one.
func (f *Framer) EventEnd(b []byte) int {
	i, lf := f.looked, -1
	for i < len(b) {
		if i == 0 || b[i-1] == '\n' || b[i-1] == '\r' { // a line begins at i
			end, known := blankLine(b, i)
			if !known {
				break
			}
			if end > 0 {
				f.looked = 0
				return end
			}
		}
		if lf < i { // once for each, or many short CR lines cost their square
			lf = indexByte(b, i, '\n')
		}
		cr := indexByte(b[:lf], i, '\r')
		if cr == lf {
			i = min(lf+1, len(b))
			continue
		}
		if i = cr; i+1 == len(b) {
			break
		}
		if i++; b[i] == '\n' {
			i++
		}
	}
	f.looked = i
	return 0
}

// indexByte returns the offset of the first c in b at or behind i, len(b) when
// there is none.
func indexByte(b []byte, i int, c byte) int {
	if n := bytes.IndexByte(b[i:], c); n >= 0 {
		return i + n
	}
	return len(b)
}

// blankLine returns the offset behind the line that begins at i if it is blank,
// else 0. A CR that ends b is known to be a blank line only behind a lone CR,
// where the stream uses it as its line end; elsewhere an LF may follow.
func blankLine(b []byte, i int) (end int, known bool) {
	switch {
	case b[i] == '\n':
		return i + 1, true
	case b[i] != '\r':
		return 0, true
	case i > 0 && b[i-1] == '\r':
		return i + 1, true
	case i+1 == len(b):
		return 0, false
	case b[i+1] == '\n':
		return i + 2, true
	}
	return i + 1, true
}
