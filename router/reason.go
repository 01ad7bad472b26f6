package router

import (
	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/router/admission"
)

// This file is the words in which a refusal says what it is for, beside its status
// and code: several things make a 429. They are for programs, and stay. None says
// anything of another tenant. A limit's is its scope and name: limitReason.
const (
	reasonAuthFailures  = "auth_failures"  // too many useless credentials came from the address
	reasonNoBackend     = "no_backend"     // none is usable
	reasonBackendsBusy  = "backends_busy"  // each is at its limit, and nobody may wait
	reasonBackendsAsked = "backends_asked" // each has asked to be left alone
	reasonQueueFull     = "queue_full"     // as many wait as may
	reasonQueueWait     = "queue_wait"     // the wait would be longer than it may be
	reasonQueueDeadline = "queue_deadline" // it would be longer than the client's patience
	reasonQueueShare    = "queue_share"    // the tenant that had most waiting made way
	reasonQueueExpired  = "queue_expired"  // it was as long as it may be
	reasonDeadline      = "deadline"       // the client's patience ended meanwhile
	reasonPriority      = "priority"       // more urgent requests go first
	reasonPressure      = "pressure"       // the process is short of memory or descriptors
	reasonPressureClass = "pressure_priority"
	reasonPressureBody  = "pressure_body"
	reasonPressureGiven = "pressure_given_up"
	reasonSpool         = "upload_storage"
	reasonWebsockets    = "websockets"
	reasonDraining      = "draining"
)

// kindReasons are those of kinds that have one alone.
var kindReasons = [helixflow.NumKinds]string{
	helixflow.KindAuthThrottled:  reasonAuthFailures,
	helixflow.KindNoBackend:      reasonNoBackend,
	helixflow.KindOverloaded:     reasonBackendsAsked,
	helixflow.KindDeadline:       reasonDeadline,
	helixflow.KindExhausted:      reasonPressure,
	helixflow.KindNoSpool:        reasonSpool,
	helixflow.KindWebsocketLimit: reasonWebsockets,
	helixflow.KindDraining:       reasonDraining,
}

// limitReason is the reason of a limit: tenant.requests_per_minute.
func limitReason(no *admission.Refusal) string {
	return no.Scope.Level.String() + "." + no.Kind.String()
}

// appendReason appends what a refusal is for.
func appendReason(dst []byte, p *helixflow.Error) []byte {
	reason := p.Reason
	if reason == "" {
		reason = kindReasons[p.Kind]
	}
	if reason == "" {
		return dst
	}
	return append(append(append(dst, helixflow.HeaderReason+": "...), reason...), "\r\n"...)
}
