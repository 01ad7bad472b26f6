package accesslog

// Encoding: a Record as one line of JSON, appended by hand.

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// appendLine appends r to dst as one line with its end: a JSON object whatever the
// texts hold. Keys stand in one order; those that say nothing are left out.
func appendLine(dst []byte, r *Record) []byte {
	dst = append(dst, `{"time":"`...)
	dst = appendTime(dst, r.Time)
	dst = append(dst, `","request_id":`...)
	dst = appendText(dst, r.ID.bytes[:r.ID.n])
	if r.Client.IsValid() {
		dst = append(dst, `,"client":"`...)
		dst = closeText(r.Client.AppendTo(dst), len(dst))
	}
	dst = appendName(dst, `,"tenant":`, r.Tenant)
	dst = appendName(dst, `,"key":`, r.KeyName)
	dst = appendName(dst, `,"key_id":`, r.KeyID)
	dst = appendName(dst, `,"endpoint":`, r.Op.String())
	dst = appendName(dst, `,"prefix":`, r.Prefix)
	dst = appendName(dst, `,"model":`, r.Model)
	if r.Asked.n > 0 && string(r.Asked.bytes[:r.Asked.n]) != r.Model {
		dst = append(dst, `,"asked":`...)
		dst = appendText(dst, r.Asked.bytes[:r.Asked.n])
	}
	dst = appendName(dst, `,"backend":`, r.Backend)
	dst = append(dst, `,"stream":`...)
	dst = strconv.AppendBool(dst, r.Stream)
	dst = appendOutcome(dst, r)
	dst = appendFigures(dst, r)
	dst = appendChoice(dst, r)
	dst = appendShadows(dst, r)
	dst = appendHashes(dst, r.Hashes)
	return append(dst, "}\n"...)
}

// appendOutcome says how it went.
func appendOutcome(dst []byte, r *Record) []byte {
	dst = appendCount(dst, `,"status":`, int64(r.Status))
	if r.Problem {
		dst = appendName(dst, `,"error":`, r.Kind.String())
	}
	if r.Cut {
		dst = append(dst, `,"cut":true`...)
	}
	if r.Left {
		dst = append(dst, `,"left":true`...)
	}
	if r.Replay {
		dst = append(dst, `,"replay":true`...)
	}
	dst = appendName(dst, `,"cache":`, r.Cache)
	dst = appendCount(dst, `,"tries":`, int64(r.Tries))
	dst = appendName(dst, `,"hedge":`, r.Hedge)
	dst = appendName(dst, `,"end":`, r.End)
	dst = appendName(dst, `,"hook":`, r.Hook)
	return appendName(dst, `,"hook_result":`, r.HookResult)
}

// appendChoice says why the backend was chosen.
func appendChoice(dst []byte, r *Record) []byte {
	dst = appendName(dst, `,"balance":`, r.Policy)
	dst = appendName(dst, `,"reason":`, r.Reason)
	if !r.Costed {
		return dst
	}
	dst = appendCount(dst, `,"hit_expected":`, r.Hit)
	dst = appendMillis(dst, `,"ahead_ms":`, r.Ahead)
	dst = appendMillis(dst, `,"cost_ms":`, r.Cost)
	if r.Second > 0 {
		dst = appendMillis(dst, `,"second_ms":`, r.Second)
	}
	return dst
}

// appendShadows says where policies in shadow would have gone.
func appendShadows(dst []byte, r *Record) []byte {
	between := byte('{')
	for i := range r.Shadows {
		s := &r.Shadows[i]
		if s.Policy == "" {
			continue
		}
		if between == '{' {
			dst = append(dst, `,"shadows":`...)
		}
		dst = append(dst, between, '"')
		dst = closeText(append(dst, s.Policy...), len(dst))
		dst = append(dst, ':', '"')
		dst = closeText(append(dst, s.Backend...), len(dst))
		between = ','
	}
	if between == ',' {
		dst = append(dst, '}')
	}
	return dst
}

// appendFigures says how long it took and what it cost.
func appendFigures(dst []byte, r *Record) []byte {
	dst = appendCount(dst, `,"bytes_in":`, r.BytesIn)
	dst = appendCount(dst, `,"bytes_out":`, r.BytesOut)
	dst = appendMillis(dst, `,"total_ms":`, r.Total)
	if r.Queue > 0 {
		dst = appendMillis(dst, `,"queue_ms":`, r.Queue)
	}
	if r.Hooks > 0 {
		dst = appendMillis(dst, `,"hooks_ms":`, r.Hooks)
	}
	if r.Overhead > 0 {
		dst = appendMillis(dst, `,"overhead_ms":`, r.Overhead)
	}
	if r.FirstToken > 0 {
		dst = appendMillis(dst, `,"ttft_ms":`, r.FirstToken)
	}
	if u := &r.Usage; u.Reported {
		dst = appendCount(dst, `,"tokens_in":`, u.InputTokens)
		dst = appendCount(dst, `,"tokens_cached":`, u.CachedTokens)
		dst = appendCount(dst, `,"tokens_out":`, u.OutputTokens)
		dst = appendCount(dst, `,"tokens_reasoning":`, u.ReasoningTokens)
	}
	return dst
}

// appendHashes appends eight digits for each hash.
func appendHashes(dst []byte, hashes []uint32) []byte {
	if len(hashes) == 0 {
		return dst
	}
	dst = append(dst, `,"prefix_hashes":"`...)
	for _, h := range hashes {
		const hex = "0123456789abcdef"
		for shift := 28; shift >= 0; shift -= 4 {
			dst = append(dst, hex[h>>shift&15])
		}
	}
	return append(dst, '"')
}

func appendCount(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(dst, key...), n, 10)
}

// appendMillis appends d in milliseconds, to the microsecond; what is below zero,
// of a clock that was set back, as 0.
func appendMillis(dst []byte, key string, d time.Duration) []byte {
	micros := max(d.Microseconds(), 0)
	dst = appendCount(dst, key, micros/1000)
	rest := micros % 1000
	return append(dst, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

// appendTime appends t in UTC as RFC 3339 has it, to the millisecond. By hand it
// costs a third of what time.AppendFormat does.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	year = min(max(year, 0), 9999)
	dst = appendTwo(dst, year/100)
	dst = append(appendTwo(dst, year%100), '-')
	dst = append(appendTwo(dst, int(month)), '-')
	dst = append(appendTwo(dst, day), 'T')
	dst = append(appendTwo(dst, hour), ':')
	dst = append(appendTwo(dst, minute), ':')
	dst = append(appendTwo(dst, second), '.')
	millis := t.Nanosecond() / 1e6
	return append(dst, byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10), 'Z')
}

func appendTwo(dst []byte, n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

// appendName appends key and the string s, nothing when s is empty.
func appendName(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	dst = append(append(dst, key...), '"')
	return closeText(append(dst, s...), len(dst))
}

// appendText appends b as a JSON string with its quotes.
func appendText(dst, b []byte) []byte {
	dst = append(dst, '"')
	return closeText(append(dst, b...), len(dst))
}

// closeText makes what stands in dst from the offset from on, as it came, the
// content of a JSON string, and adds the closing quote. Nearly all texts are clean
// and stay where they are.
func closeText(dst []byte, from int) []byte {
	for i := from; i < len(dst); i++ {
		if c := dst[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return append(escape(dst[:i], string(dst[i:])), '"')
		}
	}
	return append(dst, '"')
}

// escape appends s to dst. Control characters are escaped, those beyond ASCII and
// the two line separators too, so that no terminal and no line reader obeys them;
// bytes that are not UTF-8 become U+FFFD.
func escape(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029':
			dst = append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
