// View: the members of a request's root object, in an order of their own.

package openai

import (
	"bytes"
	"iter"
)

// maxViewed is how many members a View has room for.
const maxViewed = 64

// View is the members of a request's root object, sorted by their keys. The zero
// value has none. It means nothing without the body, and dies with it.
type View struct {
	n    int
	list [maxViewed]viewed
}

type viewed struct{ key, value Span }

// Read makes v the members of body, in which Scan found c. It reports false, and v
// is empty, when there are more than it has room for, or one of them stands twice:
// parsers disagree about what that says. It does not allocate.
func (v *View) Read(body []byte, c *Call) bool {
	v.n = 0
	r := ruling{walker: walker{b: body}, call: c} // for its step
	for more := r.enter('{'); more; more = r.more('{') {
		key := r.key()
		at := viewed{key: Span{int32(r.keyAt + 1), int32(r.keyAt + 1 + len(key))}}
		at.value = r.step()
		if v.n == maxViewed || !v.insert(body, at) {
			v.n = 0
			return false
		}
	}
	return !r.bad
}

// insert puts m in its place; not if its key is there.
func (v *View) insert(body []byte, m viewed) bool {
	i := v.n
	for ; i > 0; i-- {
		switch bytes.Compare(v.list[i-1].key.In(body), m.key.In(body)) {
		case 0:
			return false
		case 1:
			continue
		}
		break
	}
	copy(v.list[i+1:v.n+1], v.list[i:v.n])
	v.list[i] = m
	v.n++
	return true
}

// Members are keys as written between the quotes and values as raw JSON, both
// parts of body.
func (v *View) Members(body []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for _, m := range v.list[:v.n] {
			if !yield(m.key.In(body), m.value.In(body)) {
				return
			}
		}
	}
}

// Get is the raw value of a member; nil when it is missing or null.
func (v *View) Get(body []byte, key string) []byte {
	for _, m := range v.list[:v.n] {
		if string(m.key.In(body)) == key {
			if value := m.value.In(body); value[0] != 'n' {
				return value
			}
			return nil
		}
	}
	return nil
}
