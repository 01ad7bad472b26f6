// These tests check that nothing breaks when the clock does.
package balancer_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow"
	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/testtiming"
)

// TestClockSteps: time goes back by hours, stands still and leaps forward, in the
// middle of requests: costs stay numbers, somebody is always picked, and at the end
// nothing is left on any book.
func TestClockSteps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(40, 40))
	steps := []time.Duration{0, time.Nanosecond, time.Millisecond, time.Second, time.Hour, 100 * 24 * time.Hour}
	for _, name := range balancer.Names() {
		k := newKnown(t, 4)
		k.policy = newPolicy(t, name)
		var held []*balancer.Charge
		for i := range testtiming.Rounds(2000) {
			step := steps[rnd.IntN(len(steps))]
			if rnd.IntN(2) == 0 {
				step = -step
			}
			k.request.Now = max(k.request.Now+int64(step), 0)
			k.request.Stream = i%2 == 0
			c := k.ask(prose(i%50, 500))
			require.GreaterOrEqual(t, c, 0, name)
			d := k.request.Decision
			for _, x := range []float64{d.Cost, d.Second, d.Wait} {
				require.False(t, math.IsNaN(x) || math.IsInf(x, 0) || x < 0, "%s: %+v", name, d)
			}
			k.index.Insert(&k.chain, c, k.request.Now)
			k.pool[c].Signals.SetWaiting(float64(rnd.IntN(9)), k.request.Now)
			k.pool[c].Signals.SetKV(rnd.Float64(), k.request.Now)
			charge := new(balancer.Charge)
			charge.Take(k.pool[c].Load, &k.request)
			held = append(held, charge)
			if j := rnd.IntN(len(held)); rnd.IntN(3) > 0 {
				held[j].FirstToken(k.request.Now)
				held[j].Learn(helixflow.Usage{Reported: true, InputTokens: 500, OutputTokens: 10}, k.request.Now)
				held[j].Settle(k.request.Now)
				held[j] = held[len(held)-1]
				held = held[:len(held)-1]
			}
		}
		for _, c := range held {
			c.Settle(k.request.Now)
		}
		for i := range k.pool {
			l := k.pool[i].Load
			assert.Zero(t, l.PrefillTokens(), name)
			assert.Zero(t, l.KVTokens(), name)
			for _, x := range []float64{l.PrefillRate(), l.Factor(), l.Base(k.request.Now)} {
				assert.False(t, math.IsNaN(x) || math.IsInf(x, 0) || x < 0, name)
			}
		}
	}
}
