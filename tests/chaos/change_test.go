//go:build integration && linux

// Reloads under load, and the end under load: nothing torn, nothing dropped
// without a word.

package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/tests/fakellm"
)

// Each plan renames the model and adds a header, both with its number: a request
// that was torn between two plans shows two numbers.
func TestReloads(t *testing.T) {
	f, err := fakellm.Start(fakellm.Options{})
	require.NoError(t, err)
	t.Cleanup(f.Close)
	numbered := func(n int, hash string) string {
		return fmt.Sprintf(`
tenants: [{name: t, keys: [{name: k, hash: %q}]}]
pools: [{name: p, headers: {x-plan: "plan-%d"}, backends: [{url: %q}]}]
models: [{name: m, targets: [{pool: p, model: plan-%d}]}]
`, hash, n, "http://"+f.Addr(), n)
	}
	r := startRouter(t, func(hash string) string { return numbered(0, hash) })
	l := newLoad(t, r)
	l.pace(200)
	l.streams(50, "events=30,gap=30ms")
	counters, early := r.counters(), 0.0
	torn, seen := 0, map[string]bool{}
	begin := time.Now()
	for n := 1; n <= reloads; n++ {
		r.configure(numbered(n, r.hash))
		code, said := r.ask(http.MethodPost, "/-/reload")
		require.Equal(t, 200, code, said)
		if n == reloads/4 {
			early = r.rss()
		}
		if n%10 == 0 {
			next := r.counters()
			for series, value := range counters {
				require.GreaterOrEqual(t, next[series], value, "%s after %d reloads", series, n)
			}
			counters = next
		}
		torn += tornAt(t, f, seen)
		wait(20 * time.Millisecond)
	}
	took := time.Since(begin)
	late := r.rss()
	wait(time.Second)
	l.stop()
	torn += tornAt(t, f, seen)
	unary, streams := ends(l.snapshot(), isUnary), ends(l.snapshot(), isStream)
	t.Logf("%d reloads in %v; %d unary and %d streamed answers under %d plans; RSS %.1f MiB after a quarter, %.1f MiB at the end",
		reloads, took, unary[whole], streams[whole], len(seen), early, late)
	assert.Zero(t, torn, "requests torn between two plans")
	assert.Greater(t, len(seen), reloads/4, "plans were in force")
	delete(unary, whole)
	delete(streams, whole)
	assert.Empty(t, unary, "errors")
	assert.Empty(t, streams, "streams dropped")
	assert.Less(t, late, early+16, "memory grows with reloads")
}

// tornAt counts the requests that show two plans, and forgets what it has seen.
func tornAt(t *testing.T, f *fakellm.Server, seen map[string]bool) (torn int) {
	t.Helper()
	list := f.Requests()
	f.Forget()
	for _, req := range list {
		var body struct{ Model string }
		require.NoError(t, json.Unmarshal([]byte(req.Body), &body))
		seen[body.Model] = true
		if plan := req.Header.Get("X-Plan"); plan != body.Model {
			torn++
			t.Logf("a request for %s with the header of %s", body.Model, plan)
		}
	}
	return torn
}

// SIGTERM with many streams open: some end by themselves, the others are told,
// and the process ends well and in time.
func TestTerm(t *testing.T) {
	const limit = 5 * time.Second
	f, err := fakellm.Start(fakellm.Options{})
	require.NoError(t, err)
	t.Cleanup(f.Close)
	r := startRouter(t, func(hash string) string {
		return fmt.Sprintf(`
server: {lame_duck: 500ms, drain_timeout: %v}
tenants: [{name: t, keys: [{name: k, hash: %q}]}]
pools: [{name: p, backends: [{url: %q}]}]
models: [{name: m, targets: [{pool: p}]}]
`, limit, hash, "http://"+f.Addr())
	})
	l := newLoad(t, r)
	for i := range openStreams {
		script := "events=8,gap=250ms" // 2 s
		if i%2 == 1 {
			script = "events=1000,gap=250ms"
		}
		l.clients.Go(func() { l.oneStream(script) })
	}
	until(t, patience, "not all streams run", func() bool { return len(f.Requests()) == openStreams })
	var unready time.Duration
	var watch sync.WaitGroup
	watch.Go(func() {
		begin := time.Now()
		for {
			resp, err := r.adminClient.Get(r.admin + "/readyz")
			if err != nil {
				return // it ended without a word
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				unready = time.Since(begin)
				return
			}
		}
	})
	took := r.terminate(limit + patience)
	watch.Wait()
	l.clients.Wait()
	counted := ends(l.snapshot(), isStream)
	t.Logf("%d streams: %d ended whole, %d were told; not ready after %v, exit 0 after %v", openStreams, counted[whole], counted[told], unready, took)
	assert.LessOrEqual(t, took, limit+endsWithin)
	assert.NotZero(t, unready, "it never said that it is not ready")
	assert.Equal(t, map[string]int{whole: openStreams / 2, told: openStreams / 2}, counted)
}
