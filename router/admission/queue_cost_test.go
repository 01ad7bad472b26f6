package admission

import (
	"container/heap"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counted is something in a pile that counts how often it is compared.
type counted struct {
	key      uint64
	at       int
	compared *int
}

func (c *counted) before(o *counted) bool { *c.compared++; return c.key < o.key }
func (c *counted) moved(to int)           { c.at = to }

// TestCancelCost: to leave a queue of many takes as many steps as the logarithm of
// how many they are, wherever one stands.
func TestCancelCost(t *testing.T) {
	const n = 1 << 14
	rnd := rand.New(rand.NewPCG(50, 50))
	compared := 0
	var p pile[*counted]
	var all []*counted
	for range n {
		c := &counted{key: rnd.Uint64(), compared: &compared}
		heap.Push(&p, c)
		all = append(all, c)
	}
	rnd.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, c := range all {
		compared = 0
		heap.Remove(&p, c.at)
		require.LessOrEqual(t, compared, 3*(bits.Len(n)+1))
		require.Equal(t, -1, c.at)
	}
}

// TestQueueAndClockSteps: whatever the clock does, everybody who waits is called,
// once.
func TestQueueAndClockSteps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(51, 51))
	var q Queue
	now, waiting := time.Unix(1e9, 0), map[*Waiter]bool{}
	step := func() time.Time {
		now = now.Add(time.Duration(rnd.Int64N(int64(2*time.Hour))) - time.Hour)
		return now
	}
	for i := range 5000 {
		w := &Waiter{Class: Class(rnd.IntN(int(NumClasses))), Tenant: strconv.Itoa(rnd.IntN(7)), Cost: 10, Work: 1}
		if i%3 == 0 {
			w.Deadline = step()
		}
		q.Offer(w, step())
		waiting[w] = true
		if i%2 == 0 {
			next := q.Next(step())
			require.True(t, waiting[next])
			delete(waiting, next)
		}
	}
	for range len(waiting) {
		next := q.Next(step())
		require.True(t, waiting[next])
		delete(waiting, next)
	}
	require.Empty(t, waiting)
	require.Nil(t, q.Next(now))
	require.Zero(t, q.Len())
}
