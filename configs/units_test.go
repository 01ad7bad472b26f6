package configs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestParseSize(t *testing.T) {
	f := func(s string, want int64, ok bool) {
		t.Helper()
		got, good := parseSize(s)
		assert.Equal(t, ok, good, s)
		assert.Equal(t, want, got, s)
	}
	f("0", 0, true)
	f("512", 512, true)
	f("512B", 512, true)
	f("16KiB", 16<<10, true)
	f("64 KiB", 64<<10, true)
	f("32MiB", 32<<20, true)
	f("2GiB", 2<<30, true)
	f("1kB", 1000, true)
	f("1KB", 1000, true)
	f("3MB", 3e6, true)
	f("1GB", 1e9, true)
	f("-5MiB", -5<<20, true)
	f("8589934591GiB", 8589934591<<30, true)
	f("8589934592GiB", 0, false)
	f("9223372036854775808", 0, false)
	for _, s := range []string{"", "B", "MiB", "1.5MiB", "1e3", "0x10", "1_000", "+1", "--1", "32mib", "32Mi", " 1", "1  KiB", "1KiB "} {
		f(s, 0, false)
	}
}

func TestParseCount(t *testing.T) {
	f := func(s string, want int64, ok bool) {
		t.Helper()
		got, good := parseCount(s)
		assert.Equal(t, ok, good, s)
		assert.Equal(t, want, got, s)
	}
	f("0", 0, true)
	f("64", 64, true)
	f("200k", 200_000, true)
	f("2M", 2_000_000, true)
	f("-3", -3, true)
	f("9223372036854775807", 9223372036854775807, true)
	f("9223372036854775807k", 0, false)
	for _, s := range []string{"", "k", "1.5k", "1K", "2m", "1e3", "1_000", "+1", "kk", "1 k"} {
		f(s, 0, false)
	}
}

func TestParseDuration(t *testing.T) {
	f := func(s string, want time.Duration, ok bool) {
		t.Helper()
		got, good := parseDuration(s)
		assert.Equal(t, ok, good, s)
		assert.Equal(t, want, got, s)
	}
	f("0", 0, true)
	f("250ms", 250*time.Millisecond, true)
	f("30s", 30*time.Second, true)
	f("1h30m", 90*time.Minute, true)
	f("-5s", -5*time.Second, true)
	for _, s := range []string{"", "5", "soon", "10d", "1 s", "9999999999h"} {
		f(s, 0, false)
	}
}

func TestParseDate(t *testing.T) {
	f := func(s string, want time.Time, ok bool) {
		t.Helper()
		got, good := parseDate(s)
		assert.Equal(t, ok, good, s)
		assert.True(t, want.Equal(got), s)
	}
	f("2027-01-01", time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), true)
	f("2027-01-01T10:00:00+02:00", time.Date(2027, 1, 1, 8, 0, 0, 0, time.UTC), true)
	for _, s := range []string{"", "2027-02-30", "2027-1-1", "01/02/2027", "2027-01-01 10:00:00", "2027-01-01T10:00:00"} {
		f(s, time.Time{}, false)
	}
}

func TestFormat(t *testing.T) {
	f := func(want, got string) {
		t.Helper()
		assert.Equal(t, want, got)
	}
	f("32MiB", formatSize(32<<20))
	f("1GiB", formatSize(1<<30))
	f("1025", formatSize(1025))
	f("0", formatSize(0))
	f("10m", formatDuration(10*time.Minute))
	f("1h30m", formatDuration(90*time.Minute))
	f("24h", formatDuration(24*time.Hour))
	f("250ms", formatDuration(250*time.Millisecond))
	f("0s", formatDuration(0))
	f("10s", formatDuration(10*time.Second))
}

func TestSuggest(t *testing.T) {
	f := func(word, want string) {
		t.Helper()
		got := suggest(word, []string{"listen", "admin", "max_body", "tls"})
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		assert.Equal(t, want, got, word)
	}
	f("listne", "listen")
	f("Listen", "listen")
	f("max-body", "max_body")
	f("maxbody", "max_body")
	f("adm", "admin")
	f("ad", "")
	f("listener", "listen")
	f("admn", "admin")
	f("tsl", "tls")
	f("zzz", "")
	f("", "")
}

func TestDistance(t *testing.T) {
	f := func(a, b string, want int) {
		t.Helper()
		assert.Equal(t, want, distance(a, b))
		assert.Equal(t, want, distance(b, a))
	}
	f("", "", 0)
	f("", "abc", 3)
	f("abc", "abc", 0)
	f("abc", "acb", 1)
	f("kitten", "sitting", 3)
	f("ca", "abc", 3)
}

func TestParseShare(t *testing.T) {
	f := func(s string, want Share, ok bool) {
		t.Helper()
		got, good := parseShare(s)
		assert.Equal(t, ok, good, s)
		assert.Equal(t, want, got, s)
	}
	f("0%", 0, true)
	f("20%", 200_000, true)
	f("20 %", 200_000, true)
	f("100%", Whole, true)
	f("0.5%", 5_000, true)
	f("12.50%", 125_000, true)
	f("0.0001%", 1, true)
	f("99.9999%", Whole-1, true)
	f("101%", Whole+10_000, true)
	f("-5%", -50_000, true)
	f("-0.5%", -5_000, true)
	for _, s := range []string{"", "%", "20", "0.2", ".5%", "5.%", "-.5%", "0.00001%", "1e1%", "+5%", "5%%", "5  %", " 5%", "1_0%", "--1%", "0.-5%", "214749%", "99999999999999999999%"} {
		f(s, 0, false)
	}
}

func TestFormatShare(t *testing.T) {
	for _, s := range []string{"0%", "20%", "100%", "0.5%", "12.5%", "0.0001%", "99.9999%", "-5%", "-0.5%", "101%"} {
		share, ok := parseShare(s)
		assert.True(t, ok, s)
		assert.Equal(t, s, share.String())
	}
	assert.InDelta(t, 0.2, (Whole / 5).Float(), 0)
}
