package router

// Policies in shadow, and those that go by sessions and tiers, behind a whole router.

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestShadowsDecideNothing: with shadows that would all go elsewhere, the pool's
// own policy still decides; what they would have done is counted.
func TestShadowsDecideNothing(t *testing.T) {
	var all []*counting
	var urls []string
	for range 3 {
		b := newCounting(t, someUsage)
		all, urls = append(all, b), append(urls, b.url)
	}
	config := strings.Replace(open("", urls...), "    backends:", "    shadow: [random, adaptive, chwbl, round_robin_of_old]\n    backends:", 1)
	config = strings.Replace(config, "round_robin_of_old", "session_affinity", 1)
	w := newWorld(t, config)
	const requests = 60
	for i := range requests {
		text := strings.Repeat(fmt.Sprintf("Prompt %d. ", i%4), 300)
		require.Equal(t, 200, w.ask(t, chat(message("m", text))).status)
	}
	for _, b := range all {
		assert.EqualValues(t, requests/3, b.count.Load(), "round robin, as if there were no shadows")
	}
	scrape := w.scrape(t)
	for _, policy := range []string{"random", "adaptive", "chwbl", "session_affinity"} {
		differs := sample(t, scrape, `helixflow_shadow_picks_total{pool="p",policy="`+policy+`",same="false"}`)
		agrees := sample(t, scrape, `helixflow_shadow_picks_total{pool="p",policy="`+policy+`",same="true"}`)
		assert.EqualValues(t, requests, differs+agrees, policy)
		assert.Positive(t, differs, policy)
	}
	better := sample(t, scrape, `helixflow_shadow_seconds_total{pool="p",policy="adaptive",side="better"}`)
	worse := sample(t, scrape, `helixflow_shadow_seconds_total{pool="p",policy="adaptive",side="worse"}`)
	assert.Greater(t, better, worse, "it knows where prompts were read, and round robin reads each of them three times")
	w.assertBooksEmpty(t)
}

// sample is the value of one series in a scrape.
func sample(t *testing.T, scrape, series string) (v float64) {
	t.Helper()
	for line := range strings.SplitSeq(scrape, "\n") {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			_, err := fmt.Sscan(rest, &v)
			require.NoError(t, err)
			return v
		}
	}
	t.Fatalf("no sample of %s", series)
	return 0
}

// TestSessionsByTheirNames: a header, or what the body says, keeps a session on its
// backend; names are a tenant's own.
func TestSessionsByTheirNames(t *testing.T) {
	var all []*counting
	var urls []string
	for range 4 {
		b := newCounting(t, someUsage)
		all, urls = append(all, b), append(urls, b.url)
	}
	w := newWorld(t, strings.Replace(open("", urls...), "balance: round_robin", "balance: session_affinity", 1))
	used := func(body func(session, turn int) string, headers func(session int) []string) int {
		t.Helper()
		backends := map[int]bool{}
		for session := range 12 {
			home := -1
			for turn := range 3 {
				var before [4]int64
				for i, b := range all {
					before[i] = b.count.Load()
				}
				require.Equal(t, 200, w.ask(t, chat(body(session, turn), headers(session)...)).status)
				for i, b := range all {
					if b.count.Load() != before[i] {
						assert.True(t, home < 0 || home == i, "session %d, turn %d", session, turn)
						home = i
					}
				}
			}
			backends[home] = true
		}
		return len(backends)
	}
	none := func(int) []string { return nil }
	assert.Greater(t, used(func(s, turn int) string { return message("m", fmt.Sprint(turn)) },
		func(s int) []string { return []string{fmt.Sprint("X-Session-Id: s", s)} }), 1)
	for _, key := range []string{"prompt_cache_key", "user"} {
		assert.Greater(t, used(func(s, turn int) string {
			return fmt.Sprintf(`{"model":"m","messages":["%d"],"%s":"s%d"}`, turn, key, s)
		}, none), 1, key)
	}
}

// TestTiers: the second tier is asked when nobody of the first can be.
func TestTiers(t *testing.T) {
	near, far := newCounting(t, someUsage), newCounting(t, someUsage)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := "http://" + dead.Addr().String()
	require.NoError(t, dead.Close())
	config := strings.Replace(open("", near.url), "balance: round_robin", "balance: priority", 1)
	config = strings.Replace(config, "models:", fmt.Sprintf("      - {url: %s, tier: 2}\nmodels:", far.url), 1)
	w := newWorld(t, config)
	for range 10 {
		require.Equal(t, 200, w.ask(t, chat(simple)).status)
	}
	assert.EqualValues(t, 10, near.count.Load())
	w.srv.Publish(w.compile(t, strings.Replace(config, near.url, url, 1)))
	for range 10 {
		require.Equal(t, 200, w.ask(t, chat(simple)).status)
	}
	assert.EqualValues(t, 10, far.count.Load())
}
