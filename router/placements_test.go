package router

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
	"github.com/helixflow/helixflow/internal/secret"
)

// replica is a router whose pool p is made of these backends, and which tells its
// placements to send.
func replica(t testing.TB, key string, send func([]byte), urls ...string) (*world, *Pool) {
	t.Helper()
	w := newWorld(t, adaptively("", urls...))
	w.indexes.Share(secret.New(key), send)
	snap := w.compile(t, adaptively("", urls...))
	w.srv.Publish(snap)
	return w, snap.pools[0]
}

func chainOf(p *Pool, prompt string) *balancer.Chain {
	var c balancer.Chain
	c.Reset(p.index.seed)
	c.Write([]byte(prompt))
	return &c
}

const (
	clusterKey         = "what the replicas of a test share"
	first, second, odd = "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"
)

func (p *Pool) matched(c *balancer.Chain) map[string]int {
	var m balancer.Matches
	p.index.table.Match(c, balancer.FirstN(balancer.MaxBackends), &m)
	blocks := make(map[string]int)
	for i, ep := range p.endpoints {
		if n := m.Blocks(p.candidates[i].Place); n > 0 {
			blocks[ep.URL()] = n
		}
	}
	return blocks
}

// What one replica gave to a backend, others know to be there, however their
// backends are ordered; nobody who does not know the secret does.
func TestPlacements(t *testing.T) {
	b, atB := replica(t, clusterKey, nil, odd, second, first)
	c, atC := replica(t, "another secret", nil, first, second)
	a, atA := replica(t, clusterKey, func(packet []byte) {
		assert.LessOrEqual(t, len(packet), packetSize)
		b.indexes.Hear(packet)
		c.indexes.Hear(packet)
	}, first, second)

	prompts := map[string]int{ // and how many blocks of it others hear of
		strings.Repeat("a conversation. ", 500):    19,
		strings.Repeat("a long document. ", 60000): placementBlocks,
		strings.Repeat("b", 256):                   1,
	}
	for prompt := range prompts {
		atA.index.given(chainOf(atA, prompt), atA.candidates[1].Place, atA.endpoints[1], 1)
	}
	atA.index.given(chainOf(atA, "short"), atA.candidates[0].Place, atA.endpoints[0], 1)
	a.indexes.placements.tell()
	for prompt, blocks := range prompts {
		assert.Equal(t, map[string]int{second: blocks}, atB.matched(chainOf(atB, prompt)))
		assert.Empty(t, atC.matched(chainOf(atC, prompt)))
	}
	assert.Equal(t, PlacementCounts{Told: 3}, a.indexes.PlacementCounts())
	assert.Equal(t, PlacementCounts{Heard: 3}, b.indexes.PlacementCounts())
	assert.Equal(t, PlacementCounts{Refused: 3}, c.indexes.PlacementCounts())

	// A reload keeps what was heard; backends and pools that are not here are passed over.
	next := b.compile(t, adaptively("", second, first))
	b.srv.Publish(next)
	prompt := strings.Repeat("a conversation. ", 500)
	assert.Equal(t, map[string]int{second: 19}, next.pools[0].matched(chainOf(next.pools[0], prompt)))
	b.indexes.Hear((&placement{pool: atA.index.seed, backend: 12345}).append([]byte{packetVersion}))
	b.indexes.Hear((&placement{pool: 12345}).append([]byte{packetVersion}))
	assert.EqualValues(t, 2, b.indexes.PlacementCounts().Refused)
}

// Who cannot tell as fast as prompts come tells what there is time for.
func TestPlacementsIsBounded(t *testing.T) {
	packets, bytes := 0, 0
	a, p := replica(t, clusterKey, func(packet []byte) { packets++; bytes += len(packet) }, first, second)
	chain := chainOf(p, strings.Repeat("a long document. ", 10000))
	note := func() { p.index.shared.note(p.index.seed, 1, chain) }
	for range 3 * placementsAhead {
		note()
	}
	a.indexes.placements.tell()
	assert.LessOrEqual(t, packets, packetsAtOnce+1)
	assert.LessOrEqual(t, bytes, (packetsAtOnce+1)*packetSize)
	assert.EqualValues(t, 2*placementsAhead, a.indexes.PlacementCounts().Dropped)
	for range placementsAhead {
		a.indexes.placements.tell()
	}
	assert.EqualValues(t, placementsAhead, a.indexes.PlacementCounts().Told)
	if !raceBuild {
		assert.Zero(t, testing.AllocsPerRun(100, note))
	}
}

// Routers that tell each other nothing send prompts to the same homes, as long as
// they are scattered, though one of them has something else to do there.
func TestScattered(t *testing.T) {
	var urls []string
	for i := range 3 {
		urls = append(urls, newBackend(t, func(a *asked) bool { a.write(jsonAnswer(fmt.Sprintf(`{"id":"b%d"}`, i))); return true }))
	}
	scattered := func(urls ...string) *world {
		config := strings.Replace(adaptively("", urls...), "    backends:", "    slow_start: 0s\n    backends:", 1)
		w := newWorld(t, config)
		w.indexes.Agree(secret.Text{})
		w.indexes.Scatter(true)
		w.srv.Publish(w.compile(t, config))
		return w
	}
	ask := func(w *world, prompt string) string {
		a := w.ask(t, chat(`{"model":"m","messages":[{"role":"user","content":"`+prompt+`"}]}`))
		require.Equal(t, 200, a.status)
		return a.body
	}
	one, other := scattered(urls...), scattered(urls[2], urls[0], urls[1])
	busy := one.srv.snapshot.Load().pools[0].candidates[0].Load
	for range 3 {
		busy.Acquire(0)
		defer busy.Release()
	}
	seen := make(map[string]int)
	for i := range 30 {
		prompt := strings.Repeat(strconv.Itoa(i)+" is a number. ", 400)
		at := ask(one, prompt)
		assert.Equal(t, at, ask(other, prompt+"Why?"))
		seen[at]++
	}
	assert.Len(t, seen, len(urls))
	one.indexes.Scatter(false)
	for i := range 10 {
		assert.NotContains(t, ask(one, strings.Repeat(strconv.Itoa(i)+" is not. ", 400)), "b0")
	}
}

// Tell ends when it is told to, and tells until then.
func TestTell(t *testing.T) {
	told := make(chan struct{}, 1)
	a, p := replica(t, clusterKey, func([]byte) { told <- struct{}{} }, first, second)
	p.index.shared.note(p.index.seed, 1, chainOf(p, strings.Repeat("x", 300)))
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { a.indexes.Tell(stop); close(ended) }()
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		require.Fail(t, "nothing was told")
	}
	close(stop)
	<-ended
}

// Whatever comes is taken in or refused, and what is taken in was whole.
func FuzzHear(f *testing.F) {
	_, p := replica(f, clusterKey, nil, first, second)
	good := placement{pool: p.index.seed, backend: p.endpoints[0].Mark(), blocks: 3, hashes: [placementBlocks]uint64{1, 2, 3}}
	f.Add(good.append([]byte{packetVersion}))
	f.Add(good.append(good.append([]byte{packetVersion})))
	f.Add(good.append([]byte{packetVersion + 1}))
	f.Add([]byte{})
	x := Indexes{}
	x.Share(secret.New(clusterKey), nil)
	x.pools["p"] = p.index
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := x.PlacementCounts()
		x.Hear(packet)
		after := x.PlacementCounts()
		taken, refused := after.Heard-before.Heard, after.Refused-before.Refused
		require.LessOrEqual(t, int(taken)*placementHead, len(packet))
		if len(packet) == 0 || packet[0] != packetVersion {
			require.Zero(t, taken)
			require.EqualValues(t, 1, refused)
		}
	})
}

func BenchmarkNote(b *testing.B) {
	_, p := replica(b, clusterKey, func([]byte) {}, first, second)
	chain := chainOf(p, strings.Repeat("a conversation. ", 500))
	b.ReportAllocs()
	for b.Loop() {
		p.index.shared.note(p.index.seed, 1, chain)
		p.index.shared.waiting.Next()
		p.index.shared.waiting.Done()
	}
}
