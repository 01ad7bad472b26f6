// walker: visiting the few members of a JSON value that matter, stepping over the
// rest.

package openai

// walker stands at a place in b. Once it has met a fault it is bad and every loop
// over it ends. A key with escapes is returned as written, so it matches nothing.
//
//	for more := w.enter('{'); more; more = w.more('{') {
//		switch string(w.key()) { … each case steps over the value … }
//	}
type walker struct {
	b     []byte
	i     int
	keyAt int // offset of the quote before the last key
	bad   bool
}

func (w *walker) fail() { w.bad, w.i = true, len(w.b) }

// peek returns the first byte of what comes next, 0 at the end.
func (w *walker) peek() byte {
	if w.i = skipSpace(w.b, w.i); w.i < len(w.b) {
		return w.b[w.i]
	}
	return 0
}

// enter steps into the container that open begins, '{' or '[', and reports whether
// it has a member. Of an empty one it steps out again.
func (w *walker) enter(open byte) bool {
	if w.peek() != open {
		w.fail()
		return false
	}
	w.i++
	if w.peek() != open+2 { // '}' and ']' stand two behind their openers
		return true
	}
	w.i++
	return false
}

// more steps over the comma before the container's next member, or out of it.
func (w *walker) more(open byte) bool {
	switch w.peek() {
	case ',':
		w.i++
		return true
	case open + 2:
		w.i++
	default:
		w.fail()
	}
	return false
}

// key steps over a member's key and colon and returns the key's content.
func (w *walker) key() []byte {
	if w.peek() != '"' {
		w.fail()
		return nil
	}
	w.keyAt = w.i
	start := w.i + 1
	end := skipText(w.b, start)
	if end+1 < len(w.b) && w.b[end] == '"' && w.b[end+1] == ':' { // as nearly all are written
		w.i = end + 2
		return w.b[start:end]
	}
	end, why := skipKey(w.b, w.i)
	if why != sound {
		w.fail()
		return nil
	}
	w.i = end
	for end--; w.b[end] != '"'; end-- {
	}
	return w.b[start:end]
}

// value steps over a value and returns its place, absent if it is broken.
func (w *walker) value() Span {
	w.peek()
	end, why := skipValue(w.b, w.i)
	if why != sound {
		w.fail()
		return Span{}
	}
	v := Span{int32(w.i), int32(end)}
	w.i = end
	return v
}

// filled steps over a value and reports whether it is a string, array or object
// that is not empty.
func (w *walker) filled() bool {
	switch c := w.peek(); c {
	case '"':
		return w.value().Len() > 2
	case '{', '[':
		v := w.value()
		return !w.bad && w.b[skipSpace(w.b, int(v.Start)+1)] != c+2
	}
	w.value()
	return false
}
