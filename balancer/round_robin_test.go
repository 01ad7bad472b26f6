// This test reaches into the cursor, which no other can bring to its end.
package balancer

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRoundRobinSurvivesTheEndOfItsCursor(t *testing.T) {
	p, pool := &roundRobin{}, []Candidate{{Load: &Load{}}, {Load: &Load{}}, {Load: &Load{}}}
	for i := range p.cursors {
		p.cursors[i].Store(math.MaxUint64 - 30)
	}
	var counts [3]int
	for range 60 {
		counts[p.Pick(&Request{Eligible: FirstN(3)}, pool)]++
	}
	for i, n := range counts {
		assert.InDelta(t, 20, n, 1, "backend %d", i)
	}
}
