//go:build integration && linux

// Backends that die and backends that storm: whom it costs an answer.

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/tests/fakellm"
)

// three starts three backends and the configuration of a pool of them.
func three(t *testing.T) (fakes []*fakellm.Server, config func(hash string) string) {
	t.Helper()
	var list []string
	for range 3 {
		f, err := fakellm.Start(fakellm.Options{})
		require.NoError(t, err)
		t.Cleanup(f.Close)
		fakes = append(fakes, f)
		list = append(list, fmt.Sprintf("{url: %q}", "http://"+f.Addr()))
	}
	return fakes, func(hash string) string {
		return fmt.Sprintf(`
tenants: [{name: t, keys: [{name: k, hash: %q}]}]
pools: [{name: p, backends: [%s]}]
models: [{name: m, targets: [{pool: p}]}]
`, hash, strings.Join(list, ", "))
	}
}

// wait lets the load run for a while.
func wait(d time.Duration) { <-time.After(d) }

// until polls a condition and returns how long it took to hold.
func until(t *testing.T, limit time.Duration, why string, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	require.Eventually(t, ok, limit, 10*time.Millisecond, why)
	return time.Since(begin)
}

// Under 500 requests a second and 200 streams one of three backends is killed:
// no client has an error but for the streams that ran there, and those are told.
func TestKill(t *testing.T) {
	fakes, config := three(t)
	r := startRouter(t, config)
	l := newLoad(t, r)
	victim := fakes[0]
	l.pace(500)
	l.streams(200, "events=60,gap=50ms")
	until(t, patience, "the streams run", func() bool { return len(victim.Conns()) >= 50 })
	calm := time.Now()
	wait(phase)

	killed := time.Now()
	victim.Down(true)
	running := openAt(victim) // for ever: nobody else ended them
	ejected := until(t, patience, "it is not taken out", func() bool { s := r.state(victim.Addr()); return s == "ejected" || s == "unhealthy" })
	wait(phase)
	healed := time.Now()
	victim.Forget()
	require.NoError(t, victim.Up())
	back := until(t, patience, "it does not come back", func() bool { return len(victim.Requests()) > 0 })
	wait(time.Second)
	l.stop()

	list := l.snapshot()
	before, n := p99(list, calm, killed)
	during, m := p99(list, killed, killed.Add(time.Second))
	after, k := p99(list, killed.Add(time.Second), healed)
	unary, streams := ends(list, isUnary), ends(list, isStream)
	t.Logf("ejected after %v, back %v after healing; %d unary and %d streamed answers, %d streams cut of %d that ran there",
		ejected, back, unary[whole], streams[whole], streams[told], running)
	t.Logf("p99 of unary requests: %v before (%d), %v in the second after the kill (%d), %v then (%d)", before, n, during, m, after, k)
	assert.LessOrEqual(t, ejected, ejectedWithin)
	assert.LessOrEqual(t, back, 5*ejectedWithin)
	delete(unary, whole)
	assert.Empty(t, unary, "errors")
	assert.LessOrEqual(t, streams[told], running, "streams were cut that did not run there")
	delete(streams, whole)
	delete(streams, told)
	assert.Empty(t, streams, "errors")
	assert.Less(t, after, before+killFelt, "the kill is felt")
}

// openAt is how many requests run at f.
func openAt(f *fakellm.Server) int {
	n := 0
	for _, r := range f.Requests() {
		if r.Open() {
			n++
		}
	}
	return n
}

// One of three backends answers 500 to everything: no client sees it, and it
// costs no more than the budget allows.
func TestStorm(t *testing.T) {
	fakes, config := three(t)
	r := startRouter(t, config)
	l := newLoad(t, r)
	l.pace(300)
	wait(time.Second)
	fakes[0].Queue(fakellm.MustParse("status=500,times=100000"))
	begin := time.Now()
	wait(2 * phase)
	l.stop()
	counted := ends(l.snapshot(), isUnary)
	asked, tries, stormed := 0, 0, 0
	for _, n := range counted {
		asked += n
	}
	for i, f := range fakes {
		list := f.Requests()
		tries += len(list)
		for _, req := range list {
			if i == 0 && req.Arrived.After(begin) {
				stormed++
			}
		}
	}
	t.Logf("%d requests, %d tries (%.3f each), %d of them met the storm", asked, tries, float64(tries)/float64(asked), stormed)
	delete(counted, whole)
	assert.Empty(t, counted, "errors")
	assert.LessOrEqual(t, float64(tries), 1.2*float64(asked))
	assert.NotZero(t, stormed)
}
