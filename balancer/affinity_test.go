// These tests check how adaptive weighs what backends have cached against how busy
// they are.
package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// known is a pool whose index has been told of prompts.
type known struct {
	policy  balancer.Policy
	pool    []balancer.Candidate
	index   *balancer.Index
	request balancer.Request
	chain   balancer.Chain
	matches balancer.Matches
	rnd     *rand.Rand
}

func newKnown(tb testing.TB, n int) *known {
	k := &known{
		policy: newPolicy(tb, "adaptive"), pool: pool(n), index: balancer.NewIndex(16<<20, n),
		rnd: rand.New(rand.NewPCG(30, 30)),
	}
	for i := range k.pool {
		k.pool[i].Place = i
	}
	k.request = balancer.Request{Eligible: balancer.FirstN(n), Now: int64(time.Hour), Stream: true, Output: 100}
	return k
}

// ask picks for a prompt of four bytes to the token, by the time there is now.
func (k *known) ask(prompt string) int { return k.askBytes([]byte(prompt)) }

func (k *known) askBytes(prompt []byte) int {
	r := &k.request
	k.chain.Reset(1)
	k.chain.Write(prompt)
	k.chain.EndSpan()
	k.index.Match(&k.chain, r.Eligible, &k.matches)
	r.Index, r.Chain, r.Matches, r.Root = k.index, &k.chain, &k.matches, k.chain.Root()
	r.Tokens, r.Rand = int64(len(prompt)/4), k.rnd.Uint64()
	return balancer.Choose(k.policy, r, k.pool)
}

func (k *known) give(prompt string, backend int) {
	k.ask(prompt)
	k.index.Insert(&k.chain, backend, k.request.Now)
}

// prose is n tokens that no other seed has.
func prose(seed, tokens int) string {
	word := fmt.Sprintf("<%d>", seed)
	return strings.Repeat(word, tokens*4/len(word)+1)[:tokens*4]
}

// TestAffinityGoesToTheCache: whoever has the prompt gets it, and is told how much
// of it that is.
func TestAffinityGoesToTheCache(t *testing.T) {
	for want := range 4 {
		k := newKnown(t, 4)
		prompt := prose(want, 8000)
		k.give(prompt, want)
		for range 10 {
			require.Equal(t, want, k.ask(prompt+prose(99, 100)))
			d := k.request.Decision
			assert.Equal(t, balancer.ReasonPrefix, d.Reason)
			assert.InDelta(t, 8000, d.Hit, 300)
			assert.Equal(t, d.Hit, d.Predicted)
			assert.InDelta(t, 0.8*9, d.Second-d.Cost, 0.4, "to read it again, and eight times that for what it displaces")
		}
		assert.Equal(t, balancer.ReasonTie, func() balancer.Reason { k.ask(prose(7, 8000)); return k.request.Decision.Reason }())
	}
}

// TestAffinityHasItsPrice: a private prompt is left alone when its backend is
// busier than reading it again is worth, nine times over; and never for more than
// affinity_max_wait.
func TestAffinityHasItsPrice(t *testing.T) {
	f := func(tokens int, busy time.Duration, stays bool) {
		t.Helper()
		k := newKnown(t, 2)
		prompt := prose(1, tokens)
		k.give(prompt, 0)
		promise(&k.pool[0], int64(busy.Seconds()*balancer.PrefillRate))
		assert.Equal(t, stays, k.ask(prompt) == 0, "%d tokens, %s ahead", tokens, busy)
	}
	f(12_000, 8*time.Second, true)
	f(12_000, 13*time.Second, false)
	f(500, 300*time.Millisecond, true)
	f(500, time.Second, false)
	f(100_000, 22*time.Second, true)
	f(100_000, 27*time.Second, false) // 14 s and the 10 it takes to read
}

// TestAffinityOfPopularPrompts: what everybody begins with does not keep everybody
// on one backend.
func TestAffinityOfPopularPrompts(t *testing.T) {
	k := newKnown(t, 4)
	system := prose(1, 6000)
	var counts [4]int
	for i := range 400 {
		b := k.ask(system + prose(100+i, 200))
		k.index.Insert(&k.chain, b, k.request.Now)
		counts[b]++
		var c balancer.Charge
		require.True(t, k.pool[b].Load.Acquire(0))
		c.Take(k.pool[b].Load, &k.request)
		c.FirstToken(k.request.Now) // it decodes on
	}
	for i := range counts {
		assert.InDelta(t, 100, counts[i], 30, "%v", counts)
	}
}

// TestAffinityAmongOpenOnes: what a backend has that is out, or full, binds nobody.
func TestAffinityAmongOpenOnes(t *testing.T) {
	k := newKnown(t, 3)
	prompt := prose(1, 8000)
	k.give(prompt, 0)
	k.request.Eligible.Clear(0)
	assert.NotZero(t, k.ask(prompt))
	assert.Zero(t, k.request.Decision.Hit)
	assert.InDelta(t, 0.8, k.request.Decision.Cost, 0.05, "no surcharge for what nobody can have")
}

// TestAffinityIsDoubted: an engine that does not find what was predicted is
// believed less.
func TestAffinityIsDoubted(t *testing.T) {
	k := newKnown(t, 2)
	prompt := prose(1, 8000)
	k.give(prompt, 0)
	k.ask(prompt)
	for range 100 {
		k.index.Calibrate(0, 8000, 800)
	}
	k.ask(prompt)
	assert.InDelta(t, 7936, k.request.Decision.Predicted, 200)
	assert.InDelta(t, 800, k.request.Decision.Hit, 100)
}

// TestAffinityWithPlacesOfTheirOwn: a candidate's place in the index need not be
// its index in the pool.
func TestAffinityWithPlacesOfTheirOwn(t *testing.T) {
	k := newKnown(t, 3)
	k.pool[0].Place, k.pool[2].Place = 2, 0
	prompt := prose(1, 8000)
	k.give(prompt, 2)
	assert.Equal(t, 0, k.ask(prompt))
}

// BenchmarkPlace is a whole decision, from the prompt's bytes to the note of it in
// the index: a tenth of the prompt is known to nobody.
func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{8, 64, 256} {
		for _, tokens := range []int{2000, 100_000} {
			b.Run(fmt.Sprintf("%d/%dk", n, tokens/1000), func(b *testing.B) {
				k := newKnown(b, n)
				prompts := make([][]byte, 64)
				for i := range prompts {
					prompt := prose(i, tokens*9/10)
					for j := range 3 {
						k.give(prompt, (i+j)%n)
					}
					prompts[i] = []byte(prompt + prose(i+1000, tokens/10))
				}
				var c balancer.Charge
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					k.request.Now += 1000
					j := k.askBytes(prompts[i%64])
					k.index.Insert(&k.chain, j, k.request.Now)
					c.Take(k.pool[j].Load, &k.request)
					c.Settle(k.request.Now)
				}
			})
		}
	}
}
