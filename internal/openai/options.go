// What a request says of how its answer is sent, and what an answer of its state.

package openai

// PlainOptions reports whether stream_options say nothing but whether usage is
// wanted: other options change what a stream holds.
func PlainOptions(body []byte, c *Call) bool {
	v := c.StreamOptions.In(body)
	if v == nil || v[0] == 'n' {
		return true
	}
	w, plain := walker{b: v}, true
	for more := w.enter('{'); more; more = w.more('{') {
		plain = string(w.key()) == "include_usage" && plain
		w.value()
	}
	return plain && !w.bad
}

// Ended reports whether a Response, the body of an answer of Responses, is one that
// will not change any more, and not for a failure.
func Ended(body []byte) bool {
	w, ended := walker{b: body}, false
	for more := w.enter('{'); more; more = w.more('{') {
		if string(w.key()) != "status" {
			w.value()
			continue
		}
		switch string(w.value().In(body)) {
		case `"completed"`, `"incomplete"`:
			ended = true
		default:
			return false
		}
	}
	return ended && !w.bad
}
