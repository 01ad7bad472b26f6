//go:build !race

package balancer_test

// The prefix index against what it approximates: an exact list of each backend's
// blocks, the one last given first.

import (
	"container/list"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// recency is one backend's blocks, slow and exact.
type recency struct {
	order  list.List // of hash and size, the last given in front
	places map[uint64]*list.Element
	bytes  int64
}

type block struct {
	hash uint64
	size int64
}

func sizeOf(c *balancer.Chain, i int) int64 {
	if i == 0 {
		return c.End(0)
	}
	return c.End(i) - c.End(i-1)
}

// insert notes a prompt and forgets what is beyond horizon bytes, 0 for nothing.
func (r *recency) insert(c *balancer.Chain, horizon int64) {
	if r.places == nil {
		r.places = map[uint64]*list.Element{}
	}
	for i := range c.Len() {
		if e, ok := r.places[c.Hash(i)]; ok {
			r.order.MoveToFront(e)
			continue
		}
		r.places[c.Hash(i)] = r.order.PushFront(block{c.Hash(i), sizeOf(c, i)})
		r.bytes += sizeOf(c, i)
	}
	for horizon > 0 && r.bytes > horizon {
		last := r.order.Remove(r.order.Back()).(block)
		delete(r.places, last.hash)
		r.bytes -= last.size
	}
}

// match returns how many of the first blocks it has.
func (r *recency) match(c *balancer.Chain) int {
	for i := range c.Len() {
		if _, ok := r.places[c.Hash(i)]; !ok {
			return i
		}
	}
	return c.Len()
}

// within is match among the blocks last given, bytes of them.
func (r *recency) within(c *balancer.Chain, bytes int64) int {
	recent := map[uint64]bool{}
	for e := r.order.Front(); e != nil && bytes > 0; e = e.Next() {
		recent[e.Value.(block).hash] = true
		bytes -= e.Value.(block).size
	}
	for i := range c.Len() {
		if !recent[c.Hash(i)] {
			return i
		}
	}
	return c.Len()
}

// conversations makes prompts as clients of a chat do: sessions that begin with
// one of a few system prompts, and send all that was said with each turn.
type conversations struct {
	rnd      *rand.Rand
	systems  [][]byte
	sessions [][]byte
	next     uint64
}

func newConversations(seed uint64, sessions int) *conversations {
	c := &conversations{rnd: rand.New(rand.NewPCG(seed, 0)), next: seed << 32, sessions: make([][]byte, sessions)}
	for range 5 {
		c.systems = append(c.systems, c.text(1000+c.rnd.IntN(8000)))
	}
	return c
}

func (c *conversations) text(n int) []byte { c.next++; return text(c.next, n) }

// turn returns the next prompt of some session; now and then a session ends and
// another takes its place.
func (c *conversations) turn() (session int, prompt []byte) {
	i := c.rnd.IntN(len(c.sessions))
	s := c.sessions[i]
	if len(s) == 0 || len(s) > 100_000 || c.rnd.IntN(12) == 0 {
		s = append([]byte{}, c.systems[c.rnd.IntN(len(c.systems))]...)
	}
	s = append(s, c.text(50+int(c.rnd.ExpFloat64()*1500))...)
	c.sessions[i] = s
	return i, s
}

// TestIndexHitsAsOften: on conversations that do not all fit, the index predicts
// within a few points what exact recency over the same horizon would.
func TestIndexHitsAsOften(t *testing.T) {
	const backends, turns = 4, 8000
	f := func(sessions int, horizon int64, sticky bool) {
		t.Helper()
		x := balancer.NewIndex(balancer.IndexBytes(backends*horizon, backends), backends)
		exact := make([]recency, backends)
		for i := range exact {
			x.SetHorizon(i, horizon)
		}
		talk := newConversations(uint64(sessions), sessions)
		var c balancer.Chain
		var m balancer.Matches
		var bytes, predicted, have int64
		covered := func(blocks int) int64 {
			if blocks == 0 {
				return 0
			}
			return c.End(blocks - 1)
		}
		for i := range turns {
			session, prompt := talk.turn()
			c.Reset(1)
			c.Write(prompt)
			b := session % backends
			if !sticky {
				b = talk.rnd.IntN(backends)
			}
			x.Match(&c, balancer.FirstN(backends), &m)
			if i > turns/4 {
				bytes += c.Bytes()
				predicted += covered(m.Blocks(b))
				have += covered(exact[b].match(&c))
			}
			x.Insert(&c, b, int64(i)*1e7)
			exact[b].insert(&c, horizon)
		}
		p, h := float64(predicted)/float64(bytes), float64(have)/float64(bytes)
		t.Logf("%4d sessions, %4d KiB, sticky %v: predicted %.3f, exact %.3f, %+v", sessions, horizon>>10, sticky, p, h, x.Stats())
		assert.InDelta(t, h, p, 0.05)
	}
	f(40, 400<<10, true)
	f(200, 400<<10, true)
	f(200, 1<<20, true)
	f(200, 1<<20, false)
	f(800, 1<<20, true)
	f(800, 2<<20, false)
}

// TestIndexHoldsItsPromises plays random traffic through some sixty generations of
// each backend: nothing is predicted that the backend was not given since it was
// forgotten, and everything of the last half of its horizon is.
func TestIndexHoldsItsPromises(t *testing.T) {
	const backends, horizon = 3, 256 << 10
	for seed := range uint64(4) {
		x := balancer.NewIndex(4<<20, backends)
		exact := make([]recency, backends)
		away := make([]int, backends) // steps until what the backend is given is remembered again
		for i := range exact {
			x.SetHorizon(i, horizon)
		}
		rnd := rand.New(rand.NewPCG(seed, 9))
		talk := newConversations(seed, 1+rnd.IntN(50))
		var c balancer.Chain
		var m balancer.Matches
		for i := range 2000 {
			_, prompt := talk.turn()
			c.Reset(seed)
			c.Write(prompt[:min(len(prompt), 30_000)])
			x.Match(&c, balancer.FirstN(backends), &m)
			for b := range exact {
				require.LessOrEqual(t, m.Blocks(b), exact[b].match(&c), "seed %d, step %d", seed, i)
				require.GreaterOrEqual(t, m.Blocks(b), exact[b].within(&c, horizon/2), "seed %d, step %d", seed, i)
			}
			b := rnd.IntN(backends)
			x.Insert(&c, b, int64(i))
			if away[b] == 0 {
				exact[b].insert(&c, 0)
			}
			for j := range away {
				away[j] = max(away[j]-1, 0)
			}
			if rnd.IntN(300) == 0 {
				x.Forget(b)
				exact[b], away[b] = recency{}, 4<<20/256/1024 // buckets, of which each step sweeps 1024
			}
		}
		assert.Zero(t, x.Stats().Evictions)
	}
}

// TestIndexForgets: of a stream of prompts that never come again no more is kept
// than a third above the horizon.
func TestIndexForgets(t *testing.T) {
	const horizon = 512 << 10
	x := balancer.NewIndex(balancer.IndexBytes(2*horizon, 1), 1) // all blocks are small ones
	x.SetHorizon(0, horizon)
	var c balancer.Chain
	var most int64
	for i := range uint64(10_000) {
		c.Reset(i)
		c.Write(promptOf4K)
		x.Insert(&c, 0, 0)
		most = max(most, x.Stats().Entries*256)
	}
	assert.Less(t, most, int64(horizon*3/2))
	assert.Greater(t, most, int64(horizon))
}

// TestIndexIsForThoseInUse: places that nobody has, or has any more, take no part
// of the table from others.
func TestIndexIsForThoseInUse(t *testing.T) {
	const horizon, prompts = 1 << 20, 2000
	x := balancer.NewIndex(balancer.IndexBytes(4*horizon, 1), 64)
	x.SetHorizon(7, horizon)
	for b := range 64 {
		x.Insert(chainOf(1, promptOf4K), b, 0)
	}
	for b := range 64 {
		if b != 7 {
			x.Forget(b)
		}
	}
	for i := range uint64(prompts) {
		x.Insert(chainOf(i, promptOf4K), 7, 0)
	}
	for age := range uint64(horizon / 2 / len(promptOf4K)) {
		require.Equal(t, 16, matched(x, chainOf(prompts-1-age, promptOf4K), 64)[7], "%d ago", age)
	}
}

// TestIndexForgetsInOrder: a table too large to be swept in time makes generations
// longer, and never what is old young again.
func TestIndexForgetsInOrder(t *testing.T) {
	x := balancer.NewIndex(8<<20, 1) // 32768 buckets, of which a prompt sweeps 256: 128 prompts a generation
	x.SetHorizon(0, 64<<10)
	const prompts = 5000
	for i := range uint64(prompts) {
		x.Insert(chainOf(i, promptOf4K), 0, 0)
	}
	for i := range uint64(prompts) {
		blocks := matched(x, chainOf(i, promptOf4K), 1)[0]
		if age := prompts - i; age < 250 {
			require.Equal(t, 16, blocks, "%d ago", age)
		} else if age > 550 {
			require.Zero(t, blocks, "%d ago", age)
		}
	}
}
