package balancer_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// chainOf is the chain of one span.
func chainOf(seed uint64, prompt []byte) *balancer.Chain {
	c := new(balancer.Chain)
	c.Reset(seed)
	c.Write(prompt)
	return c
}

// text is n bytes that are the same for the same seed.
func text(seed uint64, n int) []byte {
	b := make([]byte, 0, n+8)
	for rnd := rand.NewPCG(seed, 1); len(b) < n; {
		b = binary.BigEndian.AppendUint64(b, rnd.Uint64())
	}
	return b[:n]
}

func hashes(c *balancer.Chain) []uint64 {
	h := []uint64{}
	for i := range c.Len() {
		h = append(h, c.Hash(i))
	}
	return h
}

func TestChainBlocksGrow(t *testing.T) {
	f := func(bytes, blocks int, end int64) {
		t.Helper()
		c := chainOf(1, text(1, bytes))
		require.Equal(t, blocks, c.Len())
		if blocks > 0 {
			assert.Equal(t, end, c.End(blocks-1))
		}
		assert.EqualValues(t, bytes, c.Bytes())
		assert.Equal(t, blocks == 0, c.Root() == 0)
	}
	f(0, 0, 0)
	f(1, 0, 0)
	f(255, 0, 0)
	f(256, 1, 256)
	f(4095, 15, 3840)
	f(4096, 16, 4096)
	f(5119, 16, 4096)
	f(5120, 17, 5120)
	f(64<<10, 76, 64<<10)
	f(68<<10-1, 76, 64<<10)
	f(68<<10, 77, 68<<10)
	f(400<<10, 160, 400<<10)
	f(512<<10, 188, 512<<10)
	f(3<<20, 188, 512<<10)
}

// TestChainSharesWhatPromptsShare: two prompts have the blocks in common that end
// before they differ, and none behind.
func TestChainSharesWhatPromptsShare(t *testing.T) {
	const n = 100 << 10
	a := text(1, n)
	whole := chainOf(7, a)
	for _, at := range []int{0, 255, 256, 4095, 4096, 50_000, 64<<10 - 1, 64 << 10, n - 1} {
		b := bytes.Clone(a)
		b[at] ^= 1
		other := chainOf(7, b)
		require.Equal(t, whole.Len(), other.Len())
		for i := range whole.Len() {
			assert.Equal(t, whole.End(i) <= int64(at), whole.Hash(i) == other.Hash(i), "block %d, byte %d", i, at)
		}
	}
}

func TestChainOfIdenticalBlocksHasNoHashTwice(t *testing.T) {
	seen := map[uint64]bool{}
	for _, h := range hashes(chainOf(1, bytes.Repeat([]byte{'a'}, 512<<10))) {
		assert.False(t, seen[h])
		seen[h] = true
	}
}

func TestChainSeedsShareNothing(t *testing.T) {
	prompt := text(1, 10_000)
	a, b := hashes(chainOf(1, prompt)), hashes(chainOf(2, prompt))
	for i := range a {
		assert.NotEqual(t, a[i], b[i])
	}
	assert.NotEqual(t, balancer.Salt(1, []byte("acme")), balancer.Salt(1, []byte("other")))
	assert.NotEqual(t, balancer.Salt(1, []byte("acme")), balancer.Salt(2, []byte("acme")))
}

func TestChainSpansCannotTradeBytes(t *testing.T) {
	chain := func(spans ...string) []uint64 {
		var c balancer.Chain
		c.Reset(1)
		for _, s := range spans {
			c.Write([]byte(s))
			c.EndSpan()
		}
		c.Write(text(1, 4096)) // so that all of it is in blocks
		return hashes(&c)
	}
	all := [][]uint64{chain("ab", "c"), chain("a", "bc"), chain("abc"), chain("abc", ""), chain("", "abc"), chain("", "", "abc"), chain("a", "b"), chain("a\x00\x00\x00\x00\x00\x00\x00\x00b"), chain("a\x00\x00\x00\x00\x00\x00\x00\x01b")}
	for i := range all {
		for j := range i {
			assert.NotEqual(t, all[i][0], all[j][0], "%d and %d", i, j)
		}
	}
}

func FuzzChain(f *testing.F) {
	f.Add(uint64(1), 10_000, []byte{1, 200, 0, 255})
	f.Add(uint64(2), 600_000, []byte{255, 255, 3})
	f.Fuzz(func(t *testing.T, seed uint64, n int, cuts []byte) {
		prompt := text(seed, min(max(n, 0), 1<<20))
		want := hashes(chainOf(seed, prompt))
		var c balancer.Chain
		c.Reset(seed + 1)
		c.Write(prompt[:len(prompt)/2]) // what was before is forgotten
		c.Reset(seed)
		rest := prompt
		for i := 0; len(rest) > 0 && len(cuts) > 0; i++ {
			k := min(int(cuts[i%len(cuts)])*17+1, len(rest))
			c.Write(rest[:k])
			rest = rest[k:]
		}
		c.Write(rest)
		require.Equal(t, want, hashes(&c))
		require.EqualValues(t, len(prompt), c.Bytes())
	})
}
