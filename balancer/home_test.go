// These tests check what adaptive does where other routers send prompts to the same
// backends, and do not tell.
package balancer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// askAtHome is ask by a router that goes by homes.
func (k *known) askAtHome(prompt string) int {
	k.request.Home = 0
	k.ask(prompt) // makes the chain
	k.request.Home = k.chain.Home()
	return balancer.Choose(k.policy, &k.request, k.pool)
}

// Routers that have told each other nothing agree where a prompt belongs, and where
// what begins like it does, though their books differ a little; prompts belong to
// all backends alike.
func TestHomesAreAgreedOn(t *testing.T) {
	one, other := newKnown(t, 8), newKnown(t, 8)
	busy := one.pool[3].Load
	for range 3 {
		busy.Acquire(0)
	}
	got := make(map[int]int)
	for i := range 400 {
		prompt := prose(i, 2000)
		at := one.askAtHome(prompt)
		assert.Equal(t, balancer.ReasonSticky, one.request.Decision.Reason)
		assert.Zero(t, one.request.Decision.Hit, "it is a belief, and nothing to write on the book")
		require.Equal(t, at, other.askAtHome(prompt+prose(i+1000, 4000)))
		got[at]++
	}
	for i := range 8 {
		assert.InDelta(t, 50, got[i], 25, "backend %d", i)
	}
}

// What is known counts more than what is believed, and so does a long queue.
func TestHomeIsABelief(t *testing.T) {
	k := newKnown(t, 4)
	prompt := prose(1, 8000)
	home := k.askAtHome(prompt)
	away := (home + 1) % 4
	promise(&k.pool[home], 6000)
	assert.Equal(t, home, k.askAtHome(prompt), "0.6 s of others before it, and 0.72 s in favour of home")
	promise(&k.pool[home], 2000)
	assert.NotEqual(t, home, k.askAtHome(prompt))

	k = newKnown(t, 4)
	k.give(prompt, away)
	assert.Equal(t, away, k.askAtHome(prompt+prose(2, 100)))
	assert.Equal(t, balancer.ReasonPrefix, k.request.Decision.Reason)
}

// Who may not be asked is nobody's home; then the next one is, for all routers.
func TestHomeThatIsOut(t *testing.T) {
	one, other := newKnown(t, 5), newKnown(t, 5)
	prompt := prose(1, 8000)
	home := one.askAtHome(prompt)
	one.request.Eligible.Clear(home)
	other.request.Eligible.Clear(home)
	next := one.askAtHome(prompt)
	assert.NotEqual(t, home, next)
	assert.Equal(t, next, other.askAtHome(prompt))
	assert.Equal(t, balancer.ReasonSticky, other.request.Decision.Reason)
	one.request.Eligible.Set(home)
	assert.Equal(t, home, one.askAtHome(prompt))
}

// What everybody uses may lie everywhere: a home is worth no queue for it.
func TestHomeOfAHotPrompt(t *testing.T) {
	k := newKnown(t, 2)
	prompt := prose(1, 8000)
	home := k.askAtHome(prompt)
	for range 200 {
		k.give(prompt, 0)
		k.give(prompt, 1)
	}
	promise(&k.pool[home], 1500)
	assert.Equal(t, 1-home, k.askAtHome(prompt))
}

// Short prompts have no home, nor has any where the belief is turned off.
func TestNoHome(t *testing.T) {
	k := newKnown(t, 4)
	k.askAtHome("too short for a block")
	assert.Zero(t, k.request.Home)
	assert.Equal(t, balancer.ReasonTie, k.request.Decision.Reason)
	tuning := balancer.DefaultTuning()
	tuning.Home = 0
	var err error
	k.policy, err = balancer.New("adaptive", tuning)
	require.NoError(t, err)
	k.askAtHome(prose(1, 8000))
	assert.Equal(t, balancer.ReasonTie, k.request.Decision.Reason)
}

// A Coster costs homes as the policy does, and neither allocates.
func TestHomeIsCosted(t *testing.T) {
	k := newKnown(t, 3)
	home := k.askAtHome(prose(1, 8000))
	d := k.request.Decision
	c := balancer.NewCoster(balancer.DefaultTuning())
	assert.InDelta(t, d.Cost, c.Cost(&k.request, k.pool, home).Cost, 1e-6)
	assert.InDelta(t, d.Second, c.Cost(&k.request, k.pool, d.Next).Cost, 1e-6)
	assert.InDelta(t, 0.08*9, d.Second-d.Cost, 1e-3, "a tenth of the prompt, and eight times as much that it would displace elsewhere")
	assert.Zero(t, testing.AllocsPerRun(100, func() { balancer.Choose(k.policy, &k.request, k.pool) }))
}
