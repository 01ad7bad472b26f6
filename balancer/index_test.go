package balancer_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// matched returns how many blocks of the prompt each of n backends has.
func matched(x *balancer.Index, c *balancer.Chain, n int) []int {
	var m balancer.Matches
	x.Match(c, balancer.FirstN(n), &m)
	blocks := make([]int, n)
	for i := range blocks {
		blocks[i] = m.Blocks(i)
	}
	return blocks
}

func TestIndexMatchesAllBackendsAtOnce(t *testing.T) {
	x := balancer.NewIndex(1<<20, 4)
	prompt := text(1, 10_000)
	c := chainOf(1, prompt)
	require.Equal(t, []int{0, 0, 0, 0}, matched(x, c, 4))
	x.Insert(chainOf(1, prompt[:1024]), 1, 0)
	x.Insert(c, 2, 0)
	x.Insert(chainOf(1, prompt[:300]), 3, 0)
	require.Equal(t, []int{0, 4, 21, 1}, matched(x, c, 4))

	var m balancer.Matches
	open := balancer.FirstN(4)
	open.Clear(2)
	x.Match(c, open, &m)
	assert.Equal(t, 4, m.Best())
	assert.Zero(t, m.Blocks(2))

	x.Forget(1)
	assert.Equal(t, []int{0, 0, 21, 1}, matched(x, c, 4))
}
