package router

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/internal/idempotency"
	"github.com/helixflow/helixflow/internal/metric"
)

// This file answers a request that carries an Idempotency-Key, and that its
// tenant has sent before, from what was answered then. It is off unless the tenant
// has a lifetime for it.

const (
	maxIdempotencyKey = 255 // bytes
	soonestAskAgain   = time.Second
	latestAskAgain    = 30 * time.Second
)

// recall finds the answer to the same request of before, if there is one; else the
// right to give it. An error is what the client is to read.
//
// A backend never sees a key, not even where this is off. It is asked with the pool's
// credential, so to one that knows such keys those of all tenants would be one caller's,
// and one tenant could be given another's answer. And the key stands for what the client
// wrote: a fallback sends another model under it, a hedge asks twice at once.
func (e *Exchange) recall() error {
	if !e.client.idempotent || e.body == nil {
		return nil
	}
	lifetime := e.snap.lifetimes[e.principal.Tenant]
	if lifetime == 0 {
		return nil
	}
	key := e.client.idempotencyKey
	if !validIdempotencyKey(key) {
		return errIdempotencyKey
	}
	found := e.srv.answers.Ask(e.principal.Tenant, key, e.digest(), e.began)
	e.srv.metrics.Idempotent(results[found.Verdict])
	switch found.Verdict {
	case idempotency.Running:
		return &helixflow.Error{
			Kind:       helixflow.KindIdempotencyBusy,
			RetryAfter: min(max(found.Since, soonestAskAgain), latestAskAgain), // as long again
		}
	case idempotency.Other:
		return errIdempotencyReuse
	case idempotency.Kept:
		e.replay, e.status = found.Answer, found.Answer.Status
		e.freeRequest()
		return nil
	}
	e.claim, e.lifetime = found.Claim, lifetime
	return nil
}

var results = [...]metric.IdempotencyResult{
	idempotency.First:   metric.IdempotentFirst,
	idempotency.Running: metric.IdempotentRunning,
	idempotency.Kept:    metric.IdempotentReplayed,
	idempotency.Other:   metric.IdempotentReused,
}

// validIdempotencyKey accepts 1 to 255 bytes of printable ASCII.
func validIdempotencyKey(key []byte) bool {
	if len(key) == 0 || len(key) > maxIdempotencyKey {
		return false
	}
	for _, c := range key {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// digest stands for the request: its operation, the model that its path names, if
// it does, and its body.
func (e *Exchange) digest() (d idempotency.Digest) {
	h := sha256.New()
	var head [9]byte
	head[0] = byte(e.op)
	binary.BigEndian.PutUint64(head[1:], uint64(len(e.deployment)))
	h.Write(head[:])
	h.Write(e.deployment)
	h.Write(e.body.B)
	h.Sum(d[:0])
	return d
}

// keep ends the claim, if there is one, before the client reads the end of its
// answer: who asks again at once must not be told that it is under way.
func (e *Exchange) keep() {
	c := e.claim
	if c == nil {
		return
	}
	e.claim = nil
	if e.problem != nil || e.relay.failed || !worthKeeping(e.status) {
		c.Drop()
		return
	}
	c.Keep(time.Now().Add(e.lifetime))
}

// describe says what the answer is, while its attempt is there to ask.
func (e *Exchange) describe() {
	a := e.attempt
	if e.claim != nil && e.known.answer != nil {
		e.claim.Begin(idempotency.Answer{Status: e.status, ContentType: string(e.known.contentType()), Events: e.known.streams()})
	}
	if h := e.flown(); e.claim != nil && h != nil {
		e.claim.Begin(idempotency.Answer{Status: h.status, ContentType: string(h.contentType), Events: h.events})
	}
	if e.claim != nil && a != nil {
		e.claim.Begin(idempotency.Answer{Status: e.status, ContentType: string(a.contentType()), Events: a.events})
	}
}

// forgo ends the claim, if there is one, with nothing: who asks again has the work
// done again.
func (e *Exchange) forgo() {
	if e.claim != nil {
		e.claim.Drop()
		e.claim = nil
	}
}
