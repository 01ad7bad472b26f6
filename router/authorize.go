package router

import (
	"net/netip"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/authn"
)

// This file answers whether who asks may, as far as headers tell.

// recognize finds the principal of what came, or why there is none. What a header
// brings is told by its form, and refused if it is no good: a certificate does not
// make up for a bad key, nor does having none.
func (e *Exchange) recognize() (*authn.Principal, helixflow.AuthReason) {
	s, credential := e.snap, e.client.credential
	if s.certificateFirst {
		if p, reason := e.certified(); reason == helixflow.AuthAccepted {
			return p, reason
		}
	}
	switch {
	case authn.IsToken(credential):
		return s.tokens.Authenticate(credential, e.began)
	case len(credential) > 0 && e.conn == nil: // who merely asks about it
		return s.keyring.Authenticate(credential, e.began)
	case len(credential) > 0:
		return e.conn.key.Authenticate(s.keyring, credential, e.began)
	case e.client.credentialSent:
		return nil, helixflow.AuthMissing
	}
	p, reason := e.certified()
	if reason == helixflow.AuthMissing && s.anonymous != nil {
		return s.anonymous, helixflow.AuthAccepted
	}
	return p, reason
}

// certified finds the principal of the connection's client certificate, where
// certificates say who asks.
func (e *Exchange) certified() (*authn.Principal, helixflow.AuthReason) {
	if !e.snap.certificateNames || e.conn == nil || len(e.conn.chain) == 0 {
		return nil, helixflow.AuthMissing
	}
	return e.identity().At(e.began)
}

// identity is what the connection's client certificate is worth under this plan.
// It is found out once for a connection and a plan.
func (e *Exchange) identity() *authn.Identity {
	c := e.conn
	if c.identityBy != e.snap.certificates {
		c.identityBy, c.identity = e.snap.certificates, e.snap.certificates.Identify(c.chain, e.began)
		if err := c.identity.Err; err != nil {
			e.srv.log.Debug("client certificate of nobody", "error", err)
		}
	}
	return &c.identity
}

// lacksCertificate reports whether the connection should have a good client
// certificate and does not: it may be older than the demand, or than what made
// its certificate good.
func (e *Exchange) lacksCertificate() bool {
	return e.snap.certificateRequired && !e.identity().Good(e.began)
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
	switch reason {
	case helixflow.AuthMissing:
		return errNoCredential
	case helixflow.AuthUnavailable: // which is not the caller's fault
		return errIdentity
	}
	if wait := s.throttle.Failed(e.clientAddr(), e.snap.authFailures, e.began); wait > 0 {
		s.metrics.AuthThrottled()
		return &helixflow.Error{Kind: helixflow.KindAuthThrottled, RetryAfter: wait}
	}
	switch {
	case reason == helixflow.AuthAddress:
		return errAddress
	case reason == helixflow.AuthCertificate:
		return errCertificate
	case authn.IsToken(e.client.credential):
		return errToken
	case len(e.client.credential) == 0: // a certificate's time is over
		return errCertificate
	}
	return authn.ErrUnauthenticated
}

// clientAddr is the client's address, behind the proxies that are trusted. It is
// looked for when something wants to know it, and then known.
func (e *Exchange) clientAddr() netip.Addr {
	if !e.from.IsValid() {
		e.from = e.conn.peer()
		if e.snap.trusted.Contains(e.from) {
			e.from = e.snap.trusted.Client(e.from, e.conn.head.PeekAll("X-Forwarded-For"))
		}
	}
	return e.from
}
