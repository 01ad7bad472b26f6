// Edits: the list of permitted changes, laid around the bytes a client sent.

package openai

import "github.com/helixflow/helixflow"

const maxEdits = 24

type edit struct {
	at   Span
	with []byte
}

// Edits is a short list of changes to one body, kept sorted by place. The zero
// value changes nothing. The bytes put in are borrowed until the edited body has
// been written. Edits that overlap, and a twenty-fifth one, are faults of the
// caller: they panic.
type Edits struct {
	n    int
	list [maxEdits]edit
}

// Reset forgets all edits and what they borrowed.
func (e *Edits) Reset() {
	clear(e.list[:e.n])
	e.n = 0
}

// Empty reports whether there is nothing to change.
func (e *Edits) Empty() bool { return e.n == 0 }

// Replace puts with in the place of the bytes at; an empty with deletes them.
func (e *Edits) Replace(at Span, with []byte) {
	if e.n == maxEdits {
		panic("BUG: too many edits of one body")
	}
	if at.Start < 0 || at.End < at.Start {
		panic("BUG: edit of an impossible range")
	}
	i := e.n
	for i > 0 && after(e.list[i-1].at, at) {
		i--
	}
	if i > 0 && e.list[i-1].at.End > at.Start || i < e.n && at.End > e.list[i].at.Start {
		panic("BUG: overlapping edits")
	}
	copy(e.list[i+1:e.n+1], e.list[i:e.n])
	e.list[i] = edit{at, with}
	e.n++
}

// after reports whether a must come behind a later edit at b. Insertions at one
// place keep their order and stand before a replacement that begins there.
func after(a, b Span) bool {
	if a.Start != b.Start {
		return a.Start > b.Start
	}
	return b.Len() == 0 && a.Len() > 0
}

// Insert puts with before the byte at the offset at.
func (e *Edits) Insert(at int32, with []byte) { e.Replace(Span{at, at}, with) }

// Size returns the length of body once edited.
func (e *Edits) Size(body []byte) int {
	size := len(body)
	for i := range e.list[:e.n] {
		size += len(e.list[i].with) - e.list[i].at.Len()
	}
	return size
}

// AppendTo appends the edited body to dst, which must not share memory with body.
func (e *Edits) AppendTo(dst, body []byte) []byte {
	from := int32(0)
	for i := range e.list[:e.n] {
		ed := &e.list[i]
		dst = append(dst, body[from:ed.at.Start]...)
		dst = append(dst, ed.with...)
		from = ed.at.End
	}
	return append(dst, body[from:]...)
}

// Segments appends the edited body to dst as a list of non-empty pieces, for a
// vectored write: parts of body and of what the edits borrowed. It allocates only
// when dst has no room for 2n+1 more, of n edits.
func (e *Edits) Segments(dst [][]byte, body []byte) [][]byte {
	from := int32(0)
	for i := range e.list[:e.n] {
		ed := &e.list[i]
		if from < ed.at.Start {
			dst = append(dst, body[from:ed.at.Start:ed.at.Start])
		}
		if len(ed.with) > 0 {
			dst = append(dst, ed.with)
		}
		from = ed.at.End
	}
	if int(from) < len(body) {
		dst = append(dst, body[from:])
	}
	return dst
}

// InjectUsage adds the edit that makes a backend report usage at the end of the
// stream c asks for, by the cheapest splice. It reports whether it added one: not
// when the client asks for usage itself, does not stream, or the operation
// reports usage anyway. After true, the chunk that Event.UsageOnly marks was not
// asked for by the client.
func InjectUsage(c *Call, e *Edits) (injected bool) {
	if !c.Stream || c.IncludeUsage || c.Op != helixflow.OpChatCompletions && c.Op != helixflow.OpCompletions {
		return false
	}
	switch {
	case c.IncludeUsageValue.Present():
		e.Replace(c.IncludeUsageValue, rawTrue)
	case !c.StreamOptions.Present():
		// "stream" stands before it, so the comma is right.
		e.Insert(c.Close, rawOptionsMember)
	case c.optionsNull:
		e.Replace(c.StreamOptions, rawOptions)
	case c.optionsEmpty:
		e.Insert(c.StreamOptions.Start+1, rawInclude)
	default:
		e.Insert(c.StreamOptions.Start+1, rawIncludeComma)
	}
	return true
}

// What InjectUsage splices in; edits only ever read what they borrow.
var (
	rawTrue          = []byte(`true`)
	rawOptions       = []byte(`{"include_usage":true}`)
	rawOptionsMember = []byte(`,"stream_options":{"include_usage":true}`)
	rawInclude       = []byte(`"include_usage":true`)
	rawIncludeComma  = []byte(`"include_usage":true,`)
)
