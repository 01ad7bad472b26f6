//go:build integration && linux

package replicas

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
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
	w := newWorld(t, 2, wideLimits, "timeout: 20ms")
	f := func(name string, fail, heal func()) {
		t.Run(name, func(t *testing.T) { w.outage(t, fail, heal) })
	}
	f("halted", w.redis.Stop, w.redis.Continue)
	f("killed", w.redis.Kill, func() { w.redis.Run(t) })
	f("paused", func() {
		w.redis.Command(t, "CLIENT", "PAUSE", strconv.FormatInt((outageTime+5*time.Second).Milliseconds(), 10), "ALL")
	}, func() {})
	f("out of memory", func() { w.redis.Command(t, "CONFIG", "SET", "maxmemory", "1") }, func() { w.redis.Command(t, "CONFIG", "SET", "maxmemory", "0") })
	f("another password", func() {
		w.redis.Command(t, "CONFIG", "SET", "requirepass", "hunter2")
		w.redis.CommandAs(t, "hunter2", "CLIENT", "KILL", "TYPE", "normal")
	}, func() { w.redis.CommandAs(t, "hunter2", "CONFIG", "SET", "requirepass", "") })
}

func (w *world) outage(t *testing.T, fail, heal func()) {
	l := w.offer(outageOffered)
	defer l.stop()
	base := w.spent(outageTime)
	fail()
	require.Eventually(t, w.alone(true), patience, 20*time.Millisecond, "the shares count")
	during := w.spent(outageTime)
	heal()
	require.Eventually(t, w.alone(false), patience, 20*time.Millisecond, "the limits are shared again")
	l.stop()
	t.Logf("%d answers, %d of them above 50 ms, the slowest %s; processor %.2f of what it was, memory %+.1f MiB, %.1f lines of log a second",
		l.all(), l.slow.Load(), time.Duration(l.slowest.Load()), during.cpu/base.cpu, during.rss-base.rss, during.lines/outageTime.Seconds())
	assert.Equal(t, l.all(), l.count(http.StatusOK))
	assert.LessOrEqual(t, during.lines, 10*outageTime.Seconds())
	assert.LessOrEqual(t, during.cpu, outageCPU*base.cpu+0.2, "of which 0.2 s are a few ticks of the clock they are counted by")
	assert.LessOrEqual(t, during.rss-base.rss, 40.0, "of two routers")
}

// alone reports whether every router has leases that are, or none has.
func (w *world) alone(want bool) func() bool {
	return func() bool {
		for _, r := range w.routers {
			if s := r.limits().Sharing; (s.Alone > 0) != want {
				return false
			}
		}
		return true
	}
}

// cost is what all routers take together.
type cost struct {
	cpu   float64 // seconds of processors
	rss   float64 // MiB, at the end
	lines float64 // of log
}

// spent is what a time takes.
func (w *world) spent(d time.Duration) cost {
	before := w.cost()
	time.Sleep(d)
	after := w.cost()
	return cost{after.cpu - before.cpu, after.rss, after.lines - before.lines}
}

func (w *world) cost() (c cost) {
	for _, r := range w.routers {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
		require.NoError(w.t, err)
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest) // from the third on: state, …
		for _, i := range []int{11, 12} {
			n, err := strconv.ParseFloat(fields[i], 64)
			require.NoError(w.t, err)
			c.cpu += n / 100
		}
		pages, err := strconv.ParseFloat(fields[21], 64)
		require.NoError(w.t, err)
		c.rss += pages * float64(os.Getpagesize()) / (1 << 20)
		c.lines += float64(strings.Count(r.out.String(), "\n"))
	}
	return c
}
