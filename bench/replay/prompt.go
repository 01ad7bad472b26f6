package replay

// What a prompt is to the engine, and to the router's prefix index.

import (
	"encoding/binary"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/bench/sim"
)

// prompts turns a trace's requests into hashes of KV blocks and into bytes.
type prompts struct {
	trace *Trace
	own   uint64 // names what is nobody else's
	text  []byte // reused
}

// names calls f for each piece of request i with its name, which stands for all
// before it too, and its tokens; the last one may be cut short.
func (p *prompts) each(i int, f func(name uint64, tokens int)) {
	r := &p.trace.Requests[i]
	name, left := uint64(0), int(r.Prompt)
	for j, id := range r.Pieces {
		n := min(p.trace.sizes(j), left)
		name = mix(name ^ mix(id+1))
		f(name, n)
		left -= n
	}
	if left > 0 {
		f(mix(p.own^uint64(i)<<1|1), left)
	}
}

// blocks appends the hashes of request i's full KV blocks.
func (p *prompts) blocks(dst []uint64, i int) []uint64 {
	h, filled := uint64(0), 0
	p.each(i, func(name uint64, tokens int) {
		h = mix(h ^ name)
		end := filled + tokens
		for b := filled/sim.BlockTokens + 1; b*sim.BlockTokens <= end; b++ {
			dst = append(dst, max(mix(h+uint64(b)), 1))
		}
		filled = end
	})
	return dst
}

// chain makes c the chain of request i: of pseudo-text that is the same for the
// same pieces.
func (p *prompts) chain(c *balancer.Chain, seed uint64, i int) {
	c.Reset(seed)
	p.each(i, func(name uint64, tokens int) {
		want := tokens * bytesPerToken
		for s := stream(name); want > 0; {
			n := min(want, cap(p.text))
			text := p.text[:0]
			for len(text) < n {
				text = binary.LittleEndian.AppendUint64(text, s.next())
			}
			c.Write(text[:n])
			want -= n
		}
	})
	c.EndSpan()
}

func newPrompts(t *Trace, seed uint64) *prompts {
	return &prompts{trace: t, own: streamOf(seed, "own").next(), text: make([]byte, 0, mooncakePiece*bytesPerToken)}
}
