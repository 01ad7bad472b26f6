package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Quantities as an operator writes them. The parsers return ok false, never an
// error with the text in it: the caller knows whether the text may be shown.

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
	{"", 1},
}

// parseSize reads a whole number of bytes with an optional unit: 32MiB, 1GB, 512.
func parseSize(s string) (bytes int64, ok bool) {
	for _, u := range sizeUnits {
		if digits, found := strings.CutSuffix(s, u.suffix); found {
			return multiply(strings.TrimSuffix(digits, " "), u.bytes)
		}
	}
	return 0, false
}

// parseCount reads a whole number, perhaps in thousands or millions: 64, 200k, 2M.
func parseCount(s string) (n int64, ok bool) {
	if digits, found := strings.CutSuffix(s, "k"); found {
		return multiply(digits, 1e3)
	}
	if digits, found := strings.CutSuffix(s, "M"); found {
		return multiply(digits, 1e6)
	}
	return multiply(s, 1)
}

func multiply(digits string, unit int64) (int64, bool) {
	sign := int64(1)
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		digits, sign = rest, -1
	}
	// ParseUint alone would take a sign or an underscore in some bases; base 10 takes digits only.
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/unit {
		return 0, false
	}
	return sign * int64(n) * unit, true
}

// parseDuration reads 250ms, 30s, 10m, 1h30m, or a bare 0.
func parseDuration(s string) (d time.Duration, ok bool) {
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// shareDigits are the digits after the point that a Share can hold.
const shareDigits = 4

// parseShare reads a percentage with up to four digits after the point: 20%,
// 0.5%.
func parseShare(s string) (share Share, ok bool) {
	digits, found := strings.CutSuffix(s, "%")
	whole, part, dotted := strings.Cut(strings.TrimSuffix(digits, " "), ".")
	if !found || dotted && part == "" || len(part) > shareDigits {
		return 0, false
	}
	part += strings.Repeat("0", shareDigits-len(part))
	n, ok := multiply(whole+part, 1)
	if !ok || whole == "" || whole == "-" || n > math.MaxInt32 || n < math.MinInt32 {
		return 0, false
	}
	return Share(n), true
}

// formatShare is the shortest text parseShare reads back.
func formatShare(s Share) string {
	whole, part := int64(s)/1e4, int64(s)%1e4
	if part == 0 {
		return strconv.FormatInt(whole, 10) + "%"
	}
	sign := ""
	if s < 0 {
		sign, whole, part = "-", -whole, -part
	}
	return sign + strconv.FormatInt(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%04d", part), "0") + "%"
}

// parseDate reads an RFC 3339 time, or a date, which is its first moment in UTC.
func parseDate(s string) (t time.Time, ok bool) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, true
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}

// isMoment reports whether a date can be one of this system's: none of them is
// the zero time, which means that there is no date.
func isMoment(t time.Time) bool { return t.Year() >= 1970 }

// formatSize is the shortest text parseSize reads back.
func formatSize(bytes int64) string {
	for _, u := range []int{2, 1, 0} {
		if unit := sizeUnits[u]; bytes != 0 && bytes%unit.bytes == 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// formatDuration is the text an operator would write: 10m, not 10m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
