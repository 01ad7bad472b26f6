// Tools: who runs the tools that a request names.

package openai

// OnlyFunctions reports whether every tool of an array, raw JSON, is one that the
// client runs: a function, or a custom one. It does not allocate.
func OnlyFunctions(tools []byte) bool {
	w := walker{b: tools}
	for more := w.enter('['); more; more = w.more('[') {
		if w.peek() != '{' {
			return false
		}
		kind := Span{}
		for more := w.enter('{'); more; more = w.more('{') {
			if string(w.key()) == "type" {
				if kind.Present() {
					return false // which of the two counts is not for us to say
				}
				kind = w.value()
				continue
			}
			w.value()
		}
		switch string(kind.In(tools)) {
		case `"function"`, `"custom"`:
		default:
			return false
		}
	}
	return !w.bad
}
