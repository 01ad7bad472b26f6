// Package secret holds text that must never be printed: a Text formats,
// marshals and logs as "[redacted]", and only Reveal gives it away.
package secret

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a secret string. The zero value is empty. Immutable, safe for
// concurrent use. Not comparable by ==: compare what Reveal returns.
type Text struct {
	// A pointer, since fmt prints an unexported field of another struct by
	// reflection, past every method: then it shows an address.
	v *string
}

// New wraps v.
func New(v string) Text { return Text{v: &v} }

// Reveal returns the secret itself; whoever calls it answers for where it goes.
func (t Text) Reveal() string {
	if t.v == nil {
		return ""
	}
	return *t.v
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.v == nil || *t.v == "" }

// String returns "[redacted]", or nothing for an empty secret.
func (t Text) String() string {
	if t.Empty() {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (t Text) GoString() string { return t.String() }

// Format is String for every verb and flag.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// MarshalText is String, for encoders.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue is String, for slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }
