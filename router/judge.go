package router

import (
	"errors"
	"time"

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

// maxTries bounds the tries of one request, the first included.
const maxTries = 3

// judge decides what follows from a try that failed with f, or did not fail
// (nil). It is pure. left says whether a backend that was not tried is left.
//
// A try is safe to repeat as long as no byte of an answer reached the client.
// That the backend may have begun to work is accepted for a connection that
// broke before a whole head came, and not for one that went quiet: a second
// prefill would only add to what made the first one slow.
func judge(f *backends.Failure, tries int, left bool) Verdict {
	switch {
	case f == nil:
		return Delivered
	case f.Gone:
		return ClientGone
	case tries >= maxTries || !left:
		return GiveUp
	case f.Phase == backends.PhaseConnect:
		return TryAnother
	case f.Timeout || f.Phase == backends.PhaseBody:
		return GiveUp
	default:
		return TryAnother
	}
}

// blame turns a failure into what the client reads.
func blame(f *backends.Failure) *helixflow.Error {
	switch {
	case f.Gone:
		return errClientGone
	case f.Phase == backends.PhaseConnect:
		return &helixflow.Error{Kind: helixflow.KindNoBackend, RetryAfter: time.Second, Cause: f}
	case f.Timeout:
		return &helixflow.Error{Kind: helixflow.KindBackendTimeout, Cause: f}
	default:
		return &helixflow.Error{Kind: helixflow.KindBackendBroken, Cause: f}
	}
}

// asFailure unwraps what a Lease returned.
func asFailure(err error) *backends.Failure {
	if err == nil {
		return nil
	}
	var f *backends.Failure
	if !errors.As(err, &f) {
		panic("BUG: a lease failed without a *Failure: " + err.Error())
	}
	return f
}
