package router

import (
	"encoding/binary"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/openai"
)

// This file turns a request into the hash chain of its prompt.

// chainPrompt fills the chain with what the model of the call will read, in the
// order of chat templates whatever the body's: so requests share blocks as their
// prompts share a beginning. The seed is the pool's and the model's. Of several
// prompts in one request the first is hashed.
func chainPrompt(chain *balancer.Chain, seed uint64, c *openai.Call, body []byte) {
	if c.CacheSalt.Present() { // the engine keeps apart what differs in it
		chain.Reset(balancer.Salt(seed, c.CacheSalt.In(body)))
	} else {
		chain.Reset(seed)
	}
	for _, part := range c.PromptParts() {
		first, others := part.In(body), []byte(nil)
		if part == c.Input || part == c.Prompt {
			first, others = openai.CutBatch(first)
		}
		for len(first) > 0 {
			text, data, rest := openai.CutEmbedded(first)
			chain.Write(text)
			sampleInto(chain, data)
			first = rest
		}
		chain.EndSpan()
		chain.Skip(int64(len(others)))
	}
}

const (
	samplePiece  = 128
	samplePieces = 24 // so that an image counts about as many bytes as the text of as many tokens would
)

// sampleInto writes to the chain what tells an image apart from others without
// reading all of it: its length and pieces spread evenly. Compressed data that
// differs anywhere differs from there on.
func sampleInto(chain *balancer.Chain, data []byte) {
	if len(data) <= samplePiece*samplePieces {
		chain.Write(data)
		return
	}
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(data)))
	chain.Write(length[:])
	for i := range samplePieces {
		at := (len(data) - samplePiece) * i / (samplePieces - 1)
		chain.Write(data[at : at+samplePiece])
	}
}
