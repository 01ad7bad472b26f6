//go:build integration && linux && long

package replicas

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// 600 a minute, of which 50 times as much is asked for, for three minutes: the
// second and the third let pass what they should, to a hundredth; and no window
// whatever lets pass more than the burst and its share. When everything stalls for a
// moment, what is not used then is used later: on a machine that is busy with other
// things some minute in between may let pass a little more, which is logged.
func TestMinutes(t *testing.T) {
	w := newWorld(t, rated, "{requests_per_minute: 600, "+others+"}")
	began := time.Since(w.began)
	l := w.offer(125)
	time.Sleep(time.Minute) // the burst goes first
	asked, second := w.operations(), time.Now()
	time.Sleep(2 * time.Minute)
	took := time.Since(second).Seconds()
	operations := w.operations() - asked
	l.stop()
	list := w.passages()
	require.NotEmpty(t, list)
	fewest, most := len(list), 0
	for s := range 61 {
		from := began + time.Minute + time.Duration(s)*time.Second
		certain, possible := within(list, from, from+time.Minute)
		fewest, most = min(fewest, possible), max(most, certain)
		if s%60 == 0 {
			assert.GreaterOrEqual(t, possible, 594)
			assert.LessOrEqual(t, certain, 603)
		}
	}
	worst := excess(list, 10)
	t.Logf("a minute lets pass %d to %d; in the worst window %.1f above the rate; %.1f operations a second; %.0f too late, breakers opened %.0f times",
		fewest, most, worst, operations/took, w.sum(`helixflow_redis_errors_total{kind="timeout"}`), w.sum("helixflow_redis_breaker_opened_total"))
	assert.LessOrEqual(t, worst, 600.0+rated+20, "the burst, a lease of each, and what one is asked for while an answer is late")
	assert.LessOrEqual(t, operations, mostOperations(took))
	assert.Equal(t, l.all(), l.count(200)+l.count(429), "nothing but these")
}
