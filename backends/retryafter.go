package backends

// Retry-After in all its spellings.

import (
	"bytes"
	"net/http"
	"time"
)

// maxRest bounds how long a backend can ask to be left alone: what it says is
// not to be trusted further.
const maxRest = time.Minute

// RetryAfter reads the values of the headers Retry-After (RFC 9110, section
// 10.2.3: seconds, or a date, which is compared with now) and retry-after-ms
// (OpenAI's; it comes first where both stand). Fractions of a second or of a
// millisecond are understood too. The result is from 0 to a minute; ok is false
// where neither header makes sense, as when it is empty, negative or words.
func RetryAfter(retryAfter, retryAfterMS []byte, now time.Time) (wait time.Duration, ok bool) {
	if wait, ok = parseUnits(bytes.TrimSpace(retryAfterMS), time.Millisecond); ok {
		return wait, true
	}
	retryAfter = bytes.TrimSpace(retryAfter)
	if wait, ok = parseUnits(retryAfter, time.Second); ok {
		return wait, true
	}
	const longest = len("Wednesday, 09-Nov-94 08:49:37 GMT")
	if len(retryAfter) < len("Sun Nov 6 08:49:37 1994") || len(retryAfter) > longest {
		return 0, false
	}
	at, err := http.ParseTime(string(retryAfter))
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRest), true
}

// parseUnits reads a decimal number of units that may have a fraction. It is
// at most maxRest, however many digits it has.
func parseUnits(text []byte, unit time.Duration) (wait time.Duration, ok bool) {
	var digits int
	scale := unit
	fraction := false
	for _, c := range text {
		switch {
		case c == '.' && !fraction && digits > 0:
			fraction = true
		case c < '0' || c > '9':
			return 0, false
		case fraction:
			scale /= 10
			wait += time.Duration(c-'0') * scale
			digits++
		default:
			wait = min(wait*10+time.Duration(c-'0')*unit, 2*maxRest)
			digits++
		}
	}
	return min(wait, maxRest), digits > 0
}

// Backoff is how long to leave a backend alone that has no room and does not
// say for how long, after n times before: 1 s doubled n times, at most a minute.
func Backoff(n int) time.Duration {
	if n < 0 {
		n = 0
	}
	if n > 5 {
		return maxRest
	}
	return time.Second << n
}
