package router

import (
	"net/netip"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
)

// This file answers whether who asks may, as far as headers tell.

// recognize finds the principal of the credential that came, or why there is
// none.
func (e *Exchange) recognize() (*authn.Principal, helixflow.AuthReason) {
	if len(e.client.credential) > 0 {
		return e.snap.keyring.Authenticate(e.client.credential, e.began)
	}
	if e.snap.anonymous == nil || e.client.credentialSent {
		return nil, helixflow.AuthMissing
	}
	return e.snap.anonymous, helixflow.AuthAccepted
}

// authorize reports whether the principal may be where it is, and may call what
// it calls.
func (e *Exchange) authorize() error {
	p := e.principal
	if p.From != nil && !p.MayCallFrom(e.clientAddr()) {
		return e.refuse(helixflow.AuthAddress)
	}
	if !p.MayCall(e.op) {
		return errEndpoint
	}
	return nil
}

// refuse counts a request that is not let in, and returns what the caller reads.
// The reason is not in it. Whoever brings too many credentials of no use is told
// to wait.
func (e *Exchange) refuse(reason helixflow.AuthReason) error {
	s := e.srv
	s.metrics.AuthFailure(reason)
	if reason == helixflow.AuthMissing {
		return errNoCredential
	}
	if wait := s.throttle.Failed(e.clientAddr(), e.snap.authFailures, e.began); wait > 0 {
		s.metrics.AuthThrottled()
		return &helixflow.Error{Kind: helixflow.KindAuthThrottled, RetryAfter: wait}
	}
	if reason == helixflow.AuthAddress {
		return errAddress
	}
	return authn.ErrUnauthenticated
}

// clientAddr is the client's address, behind the proxies that are trusted. It is
// looked for when something wants to know it, and then known.
func (e *Exchange) clientAddr() netip.Addr {
	if !e.from.IsValid() {
		e.from = e.snap.trusted.Client(e.conn.peer(), e.conn.head.PeekAll("X-Forwarded-For"))
	}
	return e.from
}
