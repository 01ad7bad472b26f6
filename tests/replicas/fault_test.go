//go:build integration && linux

package replicas

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wideLimits are limits of every kind that let everything of a test pass.
const wideLimits = "{requests_per_minute: 6M, tokens_per_minute: 600M, tokens_per_day: 6000M, concurrent: 10k, budget: {usd: 1000000}}"

// Whatever happens to Redis, no request fails of it, few wait for it, little is
// said of it, and limits are shared again when it is back.
func TestRedisFails(t *testing.T) {
	w := newWorld(t, 2, wideLimits)
	f := func(name string, fail, heal func()) {
		t.Run(name, func(t *testing.T) {
			said := 0
			for _, r := range w.routers {
				said -= strings.Count(r.out.String(), "\n")
			}
			l := w.offer(50)
			settled := func(alone bool) func() bool {
				return func() bool {
					for _, r := range w.routers {
						if s := r.limits().Sharing; (s.Alone > 0) != alone {
							return false
						}
					}
					return true
				}
			}
			fail()
			require.Eventually(t, settled(true), patience, 20*time.Millisecond, "the shares count")
			time.Sleep(2 * time.Second)
			heal()
			require.Eventually(t, settled(false), patience, 20*time.Millisecond, "the limits are shared again")
			l.stop()
			assert.Equal(t, l.all(), l.count(http.StatusOK))
			for _, r := range w.routers {
				said += strings.Count(r.out.String(), "\n")
			}
			assert.LessOrEqual(t, said, 20, "lines of log")
			t.Logf("%d answers, %d of them above 50 ms, the slowest %s; %d lines of log", l.all(), l.slow.Load(), time.Duration(l.slowest.Load()), said)
		})
	}
	f("halted", w.redis.Stop, w.redis.Continue)
	f("killed", w.redis.Kill, func() { w.redis.Run(t) })
	f("paused", func() { w.redis.Command(t, "CLIENT", "PAUSE", "2500", "ALL") }, func() {})
	f("out of memory", func() { w.redis.Command(t, "CONFIG", "SET", "maxmemory", "1") }, func() { w.redis.Command(t, "CONFIG", "SET", "maxmemory", "0") })
	f("another password", func() {
		w.redis.Command(t, "CONFIG", "SET", "requirepass", "hunter2")
		w.redis.CommandAs(t, "hunter2", "CLIENT", "KILL", "TYPE", "normal")
	}, func() { w.redis.CommandAs(t, "hunter2", "CONFIG", "SET", "requirepass", "") })
}
