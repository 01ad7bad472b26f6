package router

import (
	"math/rand/v2"

	"github.com/helixflow/helixflow/balancer"
)

// This file tells the access log how a prompt begins, in hashes, so that what was
// served can be replayed under another policy.

// hashSeed is what the hashes begin with: secret, and this process's own.
var hashSeed = rand.Uint64()

// noteHashes keeps the hashes of the prompt's blocks, if the access log is to show
// them. The body is still there, and will not be sent again.
func (e *Exchange) noteHashes() {
	if e.body == nil || e.name == nil || e.hashes != nil || !e.op.Understood() || !e.srv.access.Load().Hashes() {
		return
	}
	p := placings.Get().(*placing)
	defer p.free()
	seed := balancer.Salt(hashSeed, []byte(e.name.route.model)) // caches are those of a model
	chainPrompt(&p.chain, seed, &e.call, e.body.B)
	e.hashes = make([]uint32, p.chain.Len())
	for i := range e.hashes {
		e.hashes[i] = uint32(p.chain.Hash(i))
	}
}
