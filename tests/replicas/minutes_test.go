//go:build integration && linux && long

package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// 600 a minute, of which 50 times as much is asked for, for three minutes: from the
// second one on each lets pass what it should, to a hundredth. It takes a machine
// that is not busy with other things: who stalls at the end of a minute catches up
// in the next.
func TestMinutes(t *testing.T) {
	w := newWorld(t, rated, "{requests_per_minute: 600}")
	l := w.offer(125)
	time.Sleep(time.Minute) // the burst goes first
	for minute := 2; minute <= 3; minute++ {
		before, asked, began := w.served.Load(), w.operations(), time.Now()
		time.Sleep(time.Minute)
		passed, took := float64(w.served.Load()-before), time.Since(began).Seconds()
		operations := w.operations() - asked
		t.Logf("minute %d: %.0f passed, %.2f%% of the limit; %.1f operations a second", minute, passed, 100*passed/(10*took), operations/took)
		assert.GreaterOrEqual(t, passed, 0.99*10*took)
		assert.LessOrEqual(t, passed, 1.005*10*took)
		assert.LessOrEqual(t, operations, mostOperations(took))
	}
	l.stop()
	assert.Equal(t, l.all(), l.count(200)+l.count(429), "nothing but these")
}
