package router

// The bounds of flights, and what becomes of those for whom there is no place.

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// only is the one flight that is under way.
func (t *flights) only(tb testing.TB) (f *flight) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	require.Len(tb, t.open, 1)
	for _, f = range t.open {
	}
	return f
}

// One that has lost its place before its client has read anything asks for itself.
func TestFlightMissed(t *testing.T) {
	f := func(body, want string, pieces ...string) {
		t.Helper()
		s, url := newStaged(t, pieces...)
		w := newWorld(t, remembering(url, ""))
		_, one := w.send(t, chat(body))
		w.followers(t, 1)
		_, two := w.send(t, chat(body))
		w.followers(t, 2)
		f := w.srv.flights.only(t)
		f.mu.Lock()
		second := f.seats[1]
		assert.False(t, second.first)
		second.at = -1 // as if the window had gone on
		f.mu.Unlock()
		second.ring()
		w.followers(t, 1)
		require.Eventually(t, func() bool { return s.asked.Load() == 2 }, 20*time.Second, time.Millisecond)
		for range 2 * (len(pieces) - 1) {
			s.steps <- struct{}{}
		}
		for _, br := range []*bufio.Reader{one, two} {
			a := readAnswer(t, br)
			require.Equal(t, 200, a.status)
			require.NoError(t, a.err)
			assert.Equal(t, want, a.body)
			assert.Equal(t, "miss", a.header.Get(cachedHeader))
		}
		assert.EqualValues(t, 1, w.srv.flights.lost.Load())
		assert.Equal(t, "hit", w.ask(t, chat(body)).header.Get(cachedHeader))
		assert.EqualValues(t, 2, s.asked.Load())
		w.assertLanded(t)
		w.assertBooksEmpty(t)
	}
	f(zero, whole, "", jsonAnswer(whole))
	f(zeroStream, ev1+ev2+evFin+evDone, "", sseHead+chunkOf(ev1)+chunkOf(ev2)+chunkOf(evFin)+chunkOf(evUse)+chunkOf(evDone)+lastChunk)
}

// Where there are as many flights as there may be, one asks for itself, and finds
// the answer the next time.
func TestFlightsFull(t *testing.T) {
	c, url := newCounted(t)
	c.answers(jsonAnswer(whole))
	w := newWorld(t, remembering(url, ""))
	t1 := &w.srv.flights
	add := func(n int) {
		t1.mu.Lock()
		defer t1.mu.Unlock()
		t1.underWay += n
	}
	require.Equal(t, "miss", w.ask(t, chat(zero+" ")).header.Get(cachedHeader)) // which makes the cache
	add(maxFlights)
	other := strings.Replace(zero, "hi", "full", 1)
	a := w.ask(t, chat(other))
	assert.Equal(t, "miss", a.header.Get(cachedHeader))
	assert.Equal(t, whole, a.body)
	assert.Equal(t, "hit", w.ask(t, chat(other)).header.Get(cachedHeader))
	assert.EqualValues(t, maxFlights, t1.stats().UnderWay, "it was on none")
	add(-maxFlights)
	w.assertLanded(t)
}

// A flight takes in as many as it may; who comes then begins another.
func TestFlightFull(t *testing.T) {
	var table flights
	k := flightKey{}
	srv := new(Server)
	first := &seat{parked: parked{call: make(chan struct{}, 1)}}
	require.Equal(t, boardFirst, table.board(k, first, false, srv, time.Now()))
	for range maxFollowers - 1 {
		st := &seat{}
		require.Equal(t, boardNext, table.board(k, st, false, srv, time.Now()))
		require.Same(t, first.flight, st.flight)
	}
	late := &seat{}
	require.Equal(t, boardFirst, table.board(k, late, false, srv, time.Now()))
	require.NotSame(t, first.flight, late.flight)
	require.Equal(t, boardNext, table.board(k, &seat{}, false, srv, time.Now()))
	require.Equal(t, 2, table.underWay)
	table.land(first.flight)
	require.Same(t, late.flight, table.open[k], "the end of one is not that of the other")
	table.land(late.flight)
	require.Empty(t, table.open)
	require.Zero(t, table.underWay)
}

// However much is on its way, what waits of it is within the cache's bound, and all
// of it arrives.
func TestFlightsMemory(t *testing.T) {
	const many, events = 12, 64
	event := `data: {"id":"1","choices":[{"index":0,"delta":{"content":"` + strings.Repeat("x", 16<<10) + `"}}]}` + "\n\n"
	url := newBackend(t, func(a *asked) bool {
		a.write(sseHead)
		for range events {
			a.write(chunkOf(event))
		}
		a.write(chunkOf(evFin) + chunkOf(evDone) + lastChunk)
		return true
	})
	w := newWorld(t, "cache: {memory: 1MiB}\n"+remembering(url, ", max_answer: 64KiB"))
	var peak atomic.Int64
	stop := make(chan struct{})
	var watch, ask sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				if c := w.srv.known.Load(); c != nil {
					peak.Store(max(peak.Load(), c.Stats().Bytes))
				}
			}
		}
	})
	for n := range many {
		ask.Go(func() {
			a := w.ask(t, chat(zeroStream[:len(zeroStream)-1]+fmt.Sprintf(`,"x":%d}`, n)))
			assert.NoError(t, a.err)
			assert.Len(t, a.body, events*len(event)+len(evFin+evDone))
		})
	}
	ask.Wait()
	close(stop)
	watch.Wait()
	assert.LessOrEqual(t, peak.Load(), int64(1<<20+many*largestBlock), "and what is asked for in vain at that moment")
	w.assertLanded(t)
}

// The backend hears at once that the last one has left: within 50 ms, as long as
// the machine has a moment for it.
func TestFlightLeftAtOnce(t *testing.T) {
	f := func(name string, pieces ...string) {
		t.Helper()
		var left atomic.Pointer[time.Time]
		url := newBackend(t, func(a *asked) bool {
			a.write(pieces[0])
			<-a.left
			now := time.Now()
			left.Store(&now)
			return false
		})
		w := newWorld(t, remembering(url, ""))
		fastest := time.Hour
		for range 20 {
			left.Store(nil)
			var conns []*net.TCPConn
			for n := range 3 {
				c, br := w.send(t, chat(zeroStream))
				conns = append(conns, c)
				w.followers(t, int64(n+1))
				if pieces[0] != "" {
					_, err := br.Peek(1)
					require.NoError(t, err)
				}
			}
			require.NoError(t, conns[0].Close())
			require.NoError(t, conns[1].Close())
			w.followers(t, 1)
			assert.Nil(t, left.Load(), name)
			began := time.Now()
			require.NoError(t, conns[2].Close())
			require.Eventually(t, func() bool { return left.Load() != nil }, 20*time.Second, time.Millisecond)
			fastest = min(fastest, left.Load().Sub(began))
			w.followers(t, 0)
		}
		t.Logf("%s: the fastest of 20 took %v", name, fastest)
		assert.Less(t, fastest, 50*time.Millisecond, name)
		w.assertLanded(t)
	}
	f("before the answer", "")
	f("in the answer", sseHead+chunkOf(ev1))
}

// What tenants ask makes no difference to each other's way through the router: not
// to whether a backend is asked, and not to what is answered.
func TestTenantsDoNotMeet(t *testing.T) {
	c, url := newCounted(t)
	config, keys := tenanted(t, remembering(url, ""))
	w := newWorld(t, config)
	n := 0
	f := func(text, body string) {
		t.Helper()
		c.answers(text)
		n++
		body = strings.Replace(body, `"hi"`, fmt.Sprintf(`"question %d"`, n), 1)
		unknown := strings.Replace(body, "question", "another", 1)
		as := func(key string, body string) (a answer, asked int32) {
			before := c.asked.Load()
			a = w.ask(t, chat(body, "Authorization: Bearer "+key))
			for _, name := range []string{"Date", "X-Request-Id", "Openai-Processing-Ms"} {
				a.header.Del(name)
			}
			return a, c.asked.Load() - before
		}
		as(keys[0], body)
		hit, asked := as(keys[0], body)
		require.Equal(t, "hit", hit.header.Get(cachedHeader))
		require.Zero(t, asked)
		knownToA, askedA := as(keys[2], body)
		knownToNone, askedNone := as(keys[2], unknown)
		assert.Equal(t, knownToNone, knownToA)
		assert.Equal(t, "miss", knownToA.header.Get(cachedHeader))
		assert.EqualValues(t, []int32{1, 1}, []int32{askedA, askedNone})
	}
	f(jsonAnswer(whole), zero)
	f(streamOf(ev1, evFin, evUse, evDone), zeroStream)
}
