package ring

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// take returns all records of r.
func take[T any](r *Ring[T]) (all []T) {
	for v := r.Next(); v != nil; v = r.Next() {
		all = append(all, *v)
		r.Done()
	}
	return all
}

func TestRing(t *testing.T) {
	r := New[int](4)
	assert.Nil(t, r.Next())
	next := 0
	for round := range 40 { // each number of records at each place
		want := []int(nil)
		for range round % 5 {
			want = append(want, next)
			require.True(t, r.Push(&next))
			next++
		}
		require.Equal(t, want, take(r), "round %d", round)
	}
	require.Zero(t, r.Dropped())
}

func TestRingDropsTheNewest(t *testing.T) {
	r := New[int](4)
	for i := range 7 {
		require.Equal(t, i < 4, r.Push(&i))
	}
	assert.EqualValues(t, 3, r.Dropped())
	assert.Equal(t, 0, *r.Next())
	assert.Equal(t, 0, *r.Next(), "lent until Done")
	r.Done()
	seven, eight := 7, 8
	require.True(t, r.Push(&seven))
	require.False(t, r.Push(&eight))
	assert.Equal(t, []int{1, 2, 3, 7}, take(r))
	assert.EqualValues(t, 4, r.Dropped())
}

func TestRingCapacity(t *testing.T) {
	f := func(capacity, want int) {
		t.Helper()
		assert.Len(t, New[struct{}](capacity).slots, want)
	}
	f(-1, 2)
	f(0, 2)
	f(2, 2)
	f(3, 4)
	f(1000, 1024)
	f(1024, 1024)
	f(1<<62, MaxRecords)
}

func TestRingHoldsOnToNothing(t *testing.T) {
	r := New[*int](2)
	v := new(int)
	require.True(t, r.Push(&v))
	require.Equal(t, v, *r.Next())
	r.Done()
	for i := range r.slots {
		assert.Nil(t, r.slots[i].record)
	}
	assert.PanicsWithValue(t, "BUG: gave back a record that was not lent", r.Done)
}

// TestRingManyProducers checks that each record arrives whole, once, in its
// producer's order, or is counted as dropped.
func TestRingManyProducers(t *testing.T) {
	type record struct{ producer, number, copied int }
	const producers, each = 8, 2000
	r := New[record](64)
	var pushing sync.WaitGroup
	kept := make([]int, producers)
	for p := range producers {
		pushing.Go(func() {
			for n := range each {
				if r.Push(&record{p, n, p*each + n}) {
					kept[p]++
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { pushing.Wait(); close(done) }()

	last, got := make([]int, producers), make([]int, producers)
	for p := range last {
		last[p] = -1
	}
	check := func(v record) {
		require.Equal(t, v.producer*each+v.number, v.copied)
		require.Greater(t, v.number, last[v.producer])
		last[v.producer] = v.number
		got[v.producer]++
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			runtime.Gosched()
		}
		for _, v := range take(r) {
			check(v)
		}
	}
	sum := uint64(0)
	for _, n := range got {
		sum += uint64(n)
	}
	assert.Equal(t, kept, got)
	assert.EqualValues(t, producers*each, sum+r.Dropped())
}

func TestRingAllocates(t *testing.T) {
	type record struct {
		name string
		_    [500]byte
	}
	r := New[record](16)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		v := record{name: "x"}
		if !r.Push(&v) || r.Next().name != "x" {
			panic("lost")
		}
		r.Done()
	}))
}

func BenchmarkPush(b *testing.B) {
	type record struct {
		name string
		_    [500]byte
	}
	r, v := New[record](1<<12), record{name: "x"}
	b.ReportAllocs()
	for b.Loop() {
		if !r.Push(&v) {
			for r.Next() != nil {
				r.Done()
			}
		}
	}
}

func BenchmarkPushMany(b *testing.B) {
	type record struct {
		name string
		_    [500]byte
	}
	r := New[record](1 << 12)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for r.Next() != nil {
				r.Done()
			}
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		v := record{name: "x"}
		for pb.Next() {
			r.Push(&v)
		}
	})
	b.ReportMetric(float64(r.Dropped())/float64(b.N), "dropped/op")
	close(stop)
	<-done
}
