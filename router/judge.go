package router

import (
	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/backends"
)

// Verdict is what follows from one try.
type Verdict uint8

// The verdicts.
const (
	Delivered  Verdict = iota // an answer is in hand: relay it
	TryAnother                // nothing reached the client: another backend may do
	GiveUp                    // the error is the answer
	ClientGone                // nobody is left to answer
)

// trial is one try as judge sees it.
type trial struct {
	failure *backends.Failure // nil when an answer is in hand
	status  int               // of the answer
	tooLong bool              // the prompt does not fit there, and may elsewhere
}

// judge decides what follows from a try. It is pure. more says whether another
// try is allowed: that one is left of the request's tries, that a backend is
// left that was not tried, and that the deadline leaves time.
//
// A try is safe to repeat as long as no byte of an answer reached the client.
// That the backend may have begun to work is accepted for a connection that
// broke before a whole head came, and not for one that went quiet: a second
// prefill would only add to what made the first one slow.
func judge(t trial, more bool) Verdict {
	f := t.failure
	switch {
	case f == nil && more && (repeats(t.status) || t.tooLong):
		return TryAnother
	case f == nil:
		return Delivered
	case f.Gone:
		return ClientGone
	case !more || f.Asker != nil:
		return GiveUp
	case f.Phase == backends.PhaseConnect:
		return TryAnother
	case f.Timeout || f.Phase == backends.PhaseBody:
		return GiveUp
	default:
		return TryAnother
	}
}

// repeats reports whether an answer of this status speaks of its backend, or of
// the credential, rather than of the request: another backend may do better.
func repeats(status int) bool {
	switch status {
	case 401, 404, 408, 425, 429, 500, 502, 503, 504, 529:
		return true
	}
	return false
}

// blame turns a failure into what the client reads.
func blame(f *backends.Failure) *helixflow.Error {
	switch {
	case f.Gone:
		return errClientGone
	case f.Asker != nil:
		return asProblem(f.Asker)
	case f.Phase == backends.PhaseConnect:
		return &helixflow.Error{Kind: helixflow.KindNoBackend, RetryAfter: retrySoon, Cause: f}
	case f.Timeout:
		return &helixflow.Error{Kind: helixflow.KindBackendTimeout, Cause: f}
	default:
		return &helixflow.Error{Kind: helixflow.KindBackendBroken, Cause: f}
	}
}

// asProblem is err as an error that the client may read.
func asProblem(err error) *helixflow.Error {
	if p, ok := err.(*helixflow.Error); ok {
		return p
	}
	return &helixflow.Error{Kind: helixflow.KindInternal, Cause: err}
}

// asFailure unwraps what a Lease returned.
func asFailure(err error) *backends.Failure {
	if err == nil {
		return nil
	}
	f, ok := err.(*backends.Failure)
	if !ok {
		panic("BUG: a lease failed without a *Failure: " + err.Error())
	}
	return f
}
