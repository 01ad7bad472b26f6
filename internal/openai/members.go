// Members: visiting the members of any JSON object, for whoever reads others'
// JSON as strictly as a request's.

package openai

// Members calls visit for each member of the JSON object b, in order, with its
// key as written between the quotes and its value as raw JSON, both parts of b,
// until visit returns false. It reports whether b is one whole object, in the
// grammar and up to the depth that Scan holds, and visit never said false. It
// does not allocate.
func Members(b []byte, visit func(key, value []byte) bool) bool {
	w := walker{b: b}
	for more := w.enter('{'); more; more = w.more('{') {
		key := w.key()
		value := w.value()
		if w.bad || !visit(key, value.In(b)) {
			return false
		}
	}
	return !w.bad && skipSpace(b, w.i) == len(b)
}

// IsObject reports whether b is one whole JSON object, in the grammar and up to
// the depth that Scan holds. It does not allocate.
func IsObject(b []byte) bool {
	i := skipSpace(b, 0)
	if i == len(b) || b[i] != '{' {
		return false
	}
	end, why := skipValue(b, i)
	return why == sound && skipSpace(b, end) == len(b)
}
