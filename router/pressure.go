package router

import (
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/pressure"
	"github.com/helixflow/helixflow/router/admission"
)

// This file is what the edge does when the process runs short of memory or of
// descriptors. While it does not, that costs a look at a number here and there.

const (
	trimIdle    = 5 * time.Second // how long a connection may idle from pressure.Trim on
	leanBody    = 1 << 20         // the biggest body that is still taken in from pressure.Lean on
	trimAnswers = 2               // half of the memory for answers is left from pressure.Trim on,
	leanAnswers = 8               // and an eighth from pressure.Lean on
	pressedWait = 2 * time.Second // when to come back
)

// SetPressure has the edge act on a level: from now on, and on what is there.
func (s *Server) SetPressure(l pressure.Level) {
	before := pressure.Level(s.pressure.Swap(int32(l)))
	s.boundAnswers()
	if l > before {
		s.hangUpOn(connIdle)
	}
}

// under reports whether the process is as short as l, or more.
func (s *Server) under(l pressure.Level) bool { return s.pressure.Load() >= int32(l) }

// boundAnswers gives the answers that are kept, for idempotency keys and in the
// cache, as much memory as there is.
func (s *Server) boundAnswers() {
	snap := s.snapshot.Load()
	if snap == nil {
		return
	}
	part := int64(1)
	switch {
	case s.under(pressure.Lean):
		part = leanAnswers
	case s.under(pressure.Trim):
		part = trimAnswers
	}
	s.answers.SetLimit(snap.answersLimit / part)
	if c := s.known.Load(); c != nil && snap.cacheMemory > 0 {
		c.SetLimit(snap.cacheMemory / part)
	}
}

// idleFor is how long a connection may idle.
func (s *Server) idleFor() time.Duration {
	if s.under(pressure.Trim) {
		return trimIdle
	}
	return idleTime
}

// endure refuses e if the process is too short of memory for anybody.
func (e *Exchange) endure() error {
	if e.srv.under(pressure.Refuse) {
		return errExhausted
	}
	return nil
}

// endureClass refuses e if the process is too short of memory for its class.
func (e *Exchange) endureClass() error {
	if !e.srv.under(pressure.Shed) {
		return nil
	}
	class := e.snap.classOf(e.principal.Tenant)
	if class < admission.Default {
		return nil
	}
	e.srv.metrics.Shed(class.String())
	p := overloaded(pressedWait, reasonPressureClass)
	p.Public, p.Cause = "The router is short of memory, and requests of this priority are refused first.", errShed
	return p
}

// tooHeavy reports whether a body of so many bytes is too large for now, be it that
// it was let in before.
func (e *Exchange) tooHeavy(length int64) bool {
	return length > leanBody && e.srv.under(pressure.Lean) || length > heldFrom && e.srv.under(pressure.Refuse)
}

var (
	errExhausted = &helixflow.Error{Kind: helixflow.KindExhausted, RetryAfter: pressedWait}
	errHeavy     = &helixflow.Error{Kind: helixflow.KindExhausted, Reason: reasonPressureBody, RetryAfter: pressedWait, Public: "The router is short of memory, and takes no large request now."}
)
