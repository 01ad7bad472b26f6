package helixflow

import "time"

// Error is a failure with two texts: Public for the caller, Cause for the
// operator. Errors of the hot path are predeclared values; nobody changes an
// Error after making it, so one may be shared freely.
type Error struct {
	Kind       Kind
	Public     string        // what the caller reads; empty means the kind's own text
	Code       string        // for the caller's program; empty means the kind's own code
	Reason     string        // which of the things that a refusal of this kind may be for, in a word; empty means the kind's own
	Param      string        // the field of the request that is at fault, if one is
	RetryAfter time.Duration // when asking again may help; 0 says nothing
	Cause      error         // what the operator reads; never shown to the caller
}

// Error returns the operator's text.
func (e *Error) Error() string {
	text := e.Kind.String()
	if e.Public != "" {
		text += ": " + e.Public
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns Cause.
func (e *Error) Unwrap() error { return e.Cause }
