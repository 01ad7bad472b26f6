// Usage as backends report it, in an answer or at the end of a stream.

package openai

import "github.com/helixflow/helixflow"

// maxTokenCount is the largest count believed; larger ones are cut down to it, so
// that sums of them cannot overflow.
const maxTokenCount = 1 << 40

// readUsage steps over a usage object. The names of chat/completions and those of
// Responses mean the same, and backends mix them. A side that is not reported
// follows from the total, if that is.
func (w *walker) readUsage() (u helixflow.Usage) {
	in, out, total := int64(-1), int64(-1), int64(-1)
	for more := w.enter('{'); more; more = w.more('{') {
		switch string(w.key()) {
		case "prompt_tokens", "input_tokens":
			in = w.count(in)
		case "completion_tokens", "output_tokens":
			out = w.count(out)
		case "total_tokens":
			total = w.count(total)
		case "prompt_tokens_details", "input_tokens_details", "input_token_details": // the last one is Realtime's
			u.CachedTokens = w.detail("cached_tokens", u.CachedTokens)
		case "completion_tokens_details", "output_tokens_details", "output_token_details":
			u.ReasoningTokens = w.detail("reasoning_tokens", u.ReasoningTokens)
		default:
			w.value()
		}
	}
	u.Reported = in >= 0 || out >= 0 || total >= 0
	if in < 0 {
		in = total - max(out, 0)
	}
	if out < 0 {
		out = total - max(in, 0)
	}
	u.InputTokens, u.OutputTokens = max(in, 0), max(out, 0)
	return u
}

// detail steps over an object and returns the count under key, else old.
func (w *walker) detail(key string, old int64) int64 {
	if w.peek() != '{' {
		w.value()
		return old
	}
	for more := w.enter('{'); more; more = w.more('{') {
		if string(w.key()) == key {
			old = w.count(old)
			continue
		}
		w.value()
	}
	return old
}

// count steps over a value and returns it as a number of tokens, from 0 to
// maxTokenCount; old when it is not written as an integer.
func (w *walker) count(old int64) int64 {
	v := w.value()
	digits := v.In(w.b)
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return old
		}
		n = min(n*10+int64(c-'0'), maxTokenCount)
	}
	switch {
	case len(digits) == 0:
		return old
	case negative:
		return 0
	}
	return n
}
