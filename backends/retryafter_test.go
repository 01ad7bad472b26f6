package backends

import (
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	f := func(header, ms string, want time.Duration, ok bool) {
		t.Helper()
		wait, got := RetryAfter([]byte(header), []byte(ms), now)
		assert.Equal(t, ok, got, "%q %q", header, ms)
		assert.Equal(t, want, wait, "%q %q", header, ms)
	}
	f("", "", 0, false)
	f("0", "", 0, true)
	f("1", "", time.Second, true)
	f(" 7 ", "", 7*time.Second, true)
	f("1.5", "", 1500*time.Millisecond, true)
	f("0.0005", "", 500*time.Microsecond, true)
	f("5.", "", 5*time.Second, true)
	f("60", "", time.Minute, true)
	f("61", "", time.Minute, true)
	f("1000000000", "", time.Minute, true)
	f("99999999999999999999999999999999999999", "", time.Minute, true)
	f("0.99999999999999999999999999999999999999", "", time.Second-1, true)

	f("", "250", 250*time.Millisecond, true)
	f("30", "250", 250*time.Millisecond, true)
	f("30", "12.5", 12500*time.Microsecond, true)
	f("30", "junk", 30*time.Second, true)
	f("junk", "1e3", 0, false)
	f("", "1000000000000", time.Minute, true)

	f("Mon, 23 Nov 2026 06:00:20 GMT", "", 20*time.Second, true)
	f("Mon, 23 Nov 2026 05:00:00 GMT", "", 0, true)
	f("Mon, 23 Nov 2037 06:00:20 GMT", "", time.Minute, true)
	f("Monday, 23-Nov-26 06:00:20 GMT", "", 20*time.Second, true)
	f("Mon Nov 23 06:00:20 2026", "", 20*time.Second, true)
	f("Sun, 06 Nov 1994 08:49:37 GMT", "", 0, true)
	f("Mon, 23 Nov 2026 06:00:20 GMT and so on", "", 0, false)
	f("Mon, 99 Nov 2026 06:00:20 GMT", "", 0, false)

	f("-1", "", 0, false)
	f("-1", "-5", 0, false)
	f("+1", "", 0, false)
	f("1.2.3", "", 0, false)
	f(".5", "", 0, false)
	f(".", "", 0, false)
	f("1s", "", 0, false)
	f("0x10", "", 0, false)
	f("NaN", "Inf", 0, false)
	f("soon", "", 0, false)
	f("1, 2", "", 0, false)
	f("\x00", "\xff", 0, false)
}

func TestBackoff(t *testing.T) {
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute}
	for n, d := range want {
		assert.Equal(t, d, Backoff(n), n)
	}
	assert.Equal(t, time.Second, Backoff(-1))
	assert.Equal(t, time.Minute, Backoff(math.MaxInt))
}

// slowRetryAfter reads the spellings with the standard library.
func slowRetryAfter(text string, unit time.Duration, now time.Time) (time.Duration, bool) {
	text = trimSpaces(text)
	plain := text != "" && text[0] >= '0' && text[0] <= '9'
	for _, c := range text {
		plain = plain && (c >= '0' && c <= '9' || c == '.')
	}
	if plain {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(n, 0) {
			return 0, false
		}
		return time.Duration(min(n*float64(unit), float64(maxRest))), true
	}
	if unit != time.Second {
		return 0, false
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRest), true
}

func trimSpaces(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "1", "1.5", "-1", "1e9", "1000000000000000000000", "Mon, 23 Nov 2026 06:00:20 GMT", "Mon Nov 23 06:00:20 2026", " 3\t", "1..2"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		for i := range len(text) {
			if text[i] == '\v' || text[i] == '\f' || text[i] == '\r' || text[i] == '\n' || text[i] >= 0x80 {
				return // no header has them; what counts as a space differs
			}
		}
		check := func(unit time.Duration, got time.Duration, ok bool) {
			want, wantOK := slowRetryAfter(text, unit, now)
			if ok != wantOK || (got-want).Abs() > time.Microsecond {
				t.Fatalf("%q: got %v %v, want %v %v", text, got, ok, want, wantOK)
			}
		}
		got, ok := RetryAfter([]byte(text), nil, now)
		check(time.Second, got, ok)
		got, ok = RetryAfter(nil, []byte(text), now)
		check(time.Millisecond, got, ok)
	})
}

func TestRetryAfterDoesNotAllocate(t *testing.T) {
	now, header, ms := time.Now(), []byte("1.5"), []byte("1500")
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		RetryAfter(header, nil, now)
		RetryAfter(nil, ms, now)
	}))
}
