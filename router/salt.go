package router

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"github.com/helixflow/helixflow"
)

// This file keeps tenants apart in the prefix caches of engines that can: what is
// salted otherwise shares nothing there, so that the time to the first token tells
// nobody what another tenant asked.

// tenantSalt is what edits put into bodies; they borrow it.
type tenantSalt struct {
	member []byte // ,"cache_salt":"…"
	value  []byte // "…"
}

// saltOf is a tenant's salt: the same on every router that has the
// secret, and after a restart, so that a tenant's own prompts stay cached.
func saltOf(secret []byte, tenant string) *tenantSalt {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("helixflow cache_salt\x00" + tenant))
	value := `"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)) + `"`
	return &tenantSalt{member: []byte(`,"cache_salt":` + value), value: []byte(value)}
}

// salt has the body name the tenant's salt, in the place of the client's if it
// names one.
func (e *Exchange) salt(p *Pool) {
	if !p.saltsCache || e.principal == nil {
		return
	}
	with := e.snap.salts[e.principal.Tenant]
	if with == nil {
		with = saltOf(e.snap.saltSecret, e.principal.Tenant)
	}
	switch at := e.call.CacheSalt; {
	case at.Present():
		e.edits.Replace(at, with.value)
	case takesSalt(e.op) && e.call.Members > 0:
		e.edits.Insert(e.call.Close, with.member)
	}
}

// takesSalt reports whether requests of the operation have a salt.
func takesSalt(op helixflow.Op) bool {
	switch op {
	case helixflow.OpChatCompletions, helixflow.OpCompletions, helixflow.OpResponses:
		return true
	}
	return false
}
