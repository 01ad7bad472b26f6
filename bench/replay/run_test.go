//go:build !race

package replay

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/helixflow/helixflow/balancer"
)

// The digests of policies that hardly change: whatever else changes them is either
// a change of the engine's model, or something that is not the same twice.
func TestDigest(t *testing.T) {
	trace := traffic(t, "mixed", 400)
	f := func(policy string, want uint64) {
		t.Helper()
		c := New(trace, policy)
		c.Seed = 3
		assert.Equal(t, want, run(t, c).Digest, policy)
	}
	f("round_robin", 0x3ec5382755d5da5f)
	f("least_inflight", 0x6ea1a6d4f7d3f4b2)
}

func TestSameSeedSameResult(t *testing.T) {
	trace := traffic(t, "mixed", 120)
	for _, policy := range Policies() {
		c := New(trace, policy)
		c.Routers, c.Gossip, c.Noise, c.Leave = 2, 250*time.Millisecond, 0.3, 0.1
		c.Faults = []Fault{{At: 5 * time.Second, Kind: Crash}, {At: 15 * time.Second, Kind: Heal}}
		one, two := run(t, c), run(t, c)
		require.Equal(t, one.Digest, two.Digest, policy)
		require.Equal(t, one.Summary(), two.Summary())
		c.Seed++
		require.NotEqual(t, one.Digest, run(t, c).Digest, policy)
	}
}

// Whatever happens, every request ends once, and then nothing is left on any book.
func TestBooksBalance(t *testing.T) {
	f := func(name string, change func(*Config)) {
		t.Helper()
		for _, policy := range []string{"adaptive", "round_robin", nameCacheAwareLike} {
			c := New(traffic(t, "mixed", 300, func(p *Traffic) { p.Rate = 20 }), policy)
			c.Backends = 4
			change(&c)
			w, err := newWorld(c)
			require.NoError(t, err)
			r := w.run()
			require.Len(t, r.Requests, 300, "%s, %s", name, policy)
			for _, router := range w.routers {
				require.Zero(t, router.queue.Len())
				for i := range router.candidates {
					l := router.candidates[i].Load
					require.Zero(t, l.InFlight(), "%s, %s", name, policy)
					require.Zero(t, l.PrefillTokens())
					require.Zero(t, l.KVTokens())
					require.Zero(t, l.Ahead(w.now))
				}
			}
			for _, e := range w.backends {
				if c := e.model.Counters(); e.up {
					require.Zero(t, c.Running+c.Waiting)
					require.Zero(t, c.BlocksUsed)
				}
			}
		}
	}
	f("plain", func(*Config) {})
	f("no metrics", func(c *Config) { c.Scrape = 0 })
	f("clients leave", func(c *Config) { c.Leave = 0.5 })
	f("three routers", func(c *Config) { c.Routers, c.Gossip = 3, time.Second })
	f("a queue", func(c *Config) {
		c.MaxInflight, c.Queue, c.Leave = 4, Queue{Wait: 20 * time.Second, Size: 100}, 0.2
	})
	f("limits that are found out", func(c *Config) {
		c.FindLimits, c.Queue = true, Queue{Wait: 20 * time.Second, Size: 20}
	})
	f("a short queue", func(c *Config) {
		c.MaxInflight, c.Queue = 2, Queue{Wait: 20 * time.Second, Size: 5}
	})
	f("no queue", func(c *Config) { c.MaxInflight = 2 })
	f("faults", func(c *Config) {
		c.Leave, c.Routers = 0.2, 2
		c.Faults = []Fault{
			{At: 2 * time.Second, Backend: 0, Kind: Crash},
			{At: 3 * time.Second, Backend: 1, Kind: Slow, Speed: 0.1},
			{At: 4 * time.Second, Backend: 2, Kind: Crash},
			{At: 9 * time.Second, Backend: 0, Kind: Heal},
			{At: 10 * time.Second, Backend: 1, Kind: Heal},
		}
	})
	f("all die", func(c *Config) {
		for i := range c.Backends {
			c.Faults = append(c.Faults, Fault{At: 5 * time.Second, Backend: i, Kind: Crash})
		}
	})
	f("one backend", func(c *Config) { c.Backends = 1 })
	f("second tries", func(c *Config) {
		c.Hedge, c.Leave, c.MaxInflight = Hedge{0.5, 1}, 0.2, 20
		c.Faults = []Fault{
			{At: 5 * time.Second, Backend: 1, Kind: Slow, Speed: 0.01},
			{At: 7 * time.Second, Backend: 0, Kind: Crash},
			{At: 8 * time.Second, Backend: 1, Kind: Crash},
			{At: 9 * time.Second, Backend: 2, Kind: Slow, Speed: 0.01},
			{At: 12 * time.Second, Backend: 0, Kind: Heal},
			{At: 12 * time.Second, Backend: 1, Kind: Heal},
			{At: 13 * time.Second, Backend: 2, Kind: Heal},
		}
	})
}

// Routers that tell each other nothing find more by homes than without, and those
// that tell each other nearly as much as one.
func TestRouters(t *testing.T) {
	hits := func(routers int, gossip time.Duration, home float64) float64 {
		c := New(traffic(t, "documents", 800, func(p *Traffic) { p.Documents = 200 }), "adaptive")
		c.Routers, c.Gossip, c.Tuning.Home = routers, gossip, home
		c.Engine = c.Engine.WithKVTokens(1_000_000)
		return run(t, c).HitRatio
	}
	one := hits(1, -1, 0.1)
	assert.Equal(t, one, hits(1, -1, 0), "one router knows all")
	assert.Greater(t, hits(4, 250*time.Millisecond, 0.1), 0.9*one)
	without, by := hits(4, -1, 0), hits(4, -1, 0.1)
	assert.Less(t, without, 0.6*one)
	assert.Greater(t, by, 1.2*without)
}

// A tenant that fills the queue does not keep another one out of it: production's
// queue makes it give way.
func TestQueueIsShared(t *testing.T) {
	flood := traffic(t, "plain", 400, func(p *Traffic) { p.Rate = 8 })
	calm := traffic(t, "plain", 10, func(p *Traffic) { p.Rate = 0.2 })
	for i := range flood.Requests {
		flood.Requests[i].Tenant = 1
	}
	for i := range calm.Requests {
		calm.Requests[i].Tenant = 2
	}
	c := New(Merge(flood, calm), "adaptive")
	c.Backends, c.MaxInflight, c.Queue = 1, 4, Queue{Wait: time.Hour, Size: 30}
	refused := map[int32]int{}
	for _, o := range run(t, c).Requests {
		if o.Ending == Refused {
			refused[o.Tenant]++
		}
	}
	assert.Zero(t, refused[2])
	assert.Positive(t, refused[1])
}

// Means lie between the extremes, and one seed is its own mean.
func TestSpread(t *testing.T) {
	c := New(traffic(t, "mixed", 200), "adaptive")
	var results []*Result
	for seed := range uint64(4) {
		c.Seed = seed
		results = append(results, run(t, c))
	}
	one := SpreadOf(results[:1])
	assert.Equal(t, results[0].Summary(), one.Summary)
	assert.Equal(t, one.Low, one.High)
	s := SpreadOf(results)
	assert.Equal(t, 4, s.Seeds)
	for i, mean := range s.Summary.figures() {
		low, high := *s.Low.figures()[i], *s.High.figures()[i]
		assert.True(t, low <= *mean && *mean <= high, "%v, %v, %v", low, *mean, high)
	}
	assert.Less(t, s.Low.TTFTp90, s.High.TTFTp90)
}

// A backend that dies takes with it what it had begun to answer, and no other
// request; when it is back it gets its share again.
func TestCrash(t *testing.T) {
	trace := traffic(t, "plain", 1500)
	c := New(trace, "adaptive")
	c.Backends = 3
	c.Faults = []Fault{{At: 30 * time.Second, Kind: Crash}, {At: 60 * time.Second, Kind: Heal}}
	r := run(t, c)
	require.Greater(t, trace.Duration(), 150*time.Second)
	while, after := 0, 0
	for _, o := range r.Requests {
		if o.Ending == Failed {
			assert.NotZero(t, o.TTFT, "it had begun")
		}
		if o.Ending == Answered && o.Backend == 0 {
			switch at := time.Duration(o.Arrived); {
			case at > 31*time.Second && at < 60*time.Second:
				while++
			case at > 120*time.Second && at < 150*time.Second:
				after++
			}
		}
	}
	assert.Zero(t, while)
	assert.Greater(t, after, 20)
	assert.Less(t, r.Unserved, 60)
}

func TestConfigCheck(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		c := New(traffic(t, "plain", 10), "adaptive")
		change(&c)
		_, err := Run(c)
		require.ErrorContains(t, err, want)
	}
	f(func(c *Config) { c.Policy = "best" }, `cannot make balancing policy "best": the policies are adaptive,`)
	f(func(c *Config) { c.Backends = 0 }, "1 to 256 backends, not 0")
	f(func(c *Config) { c.Backends = balancer.MaxBackends + 1 }, "1 to 256 backends, not 257")
	f(func(c *Config) { c.Routers = 0 }, "1 to 64 routers, not 0")
	f(func(c *Config) { c.Scrape = time.Microsecond }, "each millisecond at most")
	f(func(c *Config) { c.Engine = c.Engine.WithKVTokens(3) }, "no room for a sequence")
	f(func(c *Config) { c.Faults = []Fault{{Backend: 8}} }, "a fault of backend 8")
	f(func(c *Config) { c.Trace = &Trace{} }, "the trace has no requests")
}

// The oracle against what one can count by hand.
func TestOracle(t *testing.T) {
	trace := &Trace{sizes: fixedPieces, Requests: []Request{
		{Prompt: 1024, Output: 1, Pieces: []uint64{1, 2}},
		{Prompt: 1024, Output: 1, Pieces: []uint64{1, 3}},
		{Prompt: 1024, Output: 1, Pieces: []uint64{4, 2}}, // 2 behind another beginning
		{Prompt: 1024, Output: 1, Pieces: []uint64{1, 2}},
	}}
	assert.InDelta(t, (512+0+1023)/4096.0, trace.Oracle(0), 1e-9)
	assert.InDelta(t, 512/4096.0, trace.Oracle(2000), 1e-9)
}

// TestInterferenceOfEngines: the book learns how much running requests prolong an
// engine's steps: as much as is taken of one that the defaults are of, and more of a
// slower one.
func TestInterferenceOfEngines(t *testing.T) {
	f := func(engine string, kvTokens int, speed, low, high float64) {
		t.Helper()
		trace := traffic(t, "plain", 1500)
		c := New(trace.Faster(speed), "adaptive")
		c.Engine = mustPreset(engine).WithKVTokens(kvTokens)
		w, err := newWorld(c)
		require.NoError(t, err)
		w.run()
		var list []float64
		for i := range w.backends {
			list = append(list, w.routers[0].pool.Endpoint(i).Load.Interference())
		}
		slices.Sort(list)
		middle := list[len(list)/2]
		assert.True(t, middle >= low && middle <= high, "%s: %.2f of %.2f", engine, middle, list)
	}
	f("h100-70b-tp4", 307_000, 5, 0.6, 1.7)
	f("l4-8b", 43_520, 0.8, 3, 13) // 3 times for each request, 13 times for its context
}

// While two tenants wait, one is served hardly more than the other, though it asks
// for twice as much.
func TestServiceGap(t *testing.T) {
	c := New(traffic(t, "plain", 900, func(p *Traffic) { p.Tenants, p.Rate = 2, 200 }), "adaptive")
	c.Backends, c.MaxInflight, c.Queue = 2, 4, Queue{Wait: time.Hour, Size: 1000}
	more := 0.0 // that the one asks for who asks for twice as much
	for i := range c.Trace.Requests {
		t := &c.Trace.Requests[i]
		t.Tenant = int32(min(i%3, 1))
		more += float64(2*t.Tenant-1) * float64(t.Prompt+outputWeight*t.Output)
	}
	r := run(t, c)
	require.Zero(t, r.Unserved)
	assert.Positive(t, r.ServiceGap)
	assert.Less(t, r.ServiceGap, r.ServiceBound)
	assert.Less(t, 2*r.ServiceBound, more, "or it would say nothing")

	for i := range c.Trace.Requests {
		c.Trace.Requests[i].Tenant = 0
	}
	assert.Zero(t, run(t, c).ServiceGap, "one tenant")
}

// Batches stand back when the queue is nearly full, and nobody else does.
func TestShedding(t *testing.T) {
	c := New(traffic(t, "plain", 900, func(p *Traffic) { p.Rate = 200 }), "adaptive")
	c.Backends, c.MaxInflight, c.Batch, c.Queue = 2, 4, 0.5, Queue{Wait: time.Hour, Size: 200}
	r := run(t, c)
	assert.Greater(t, r.Shed, 100)
	c.Batch, c.Queue.Size = 0, 1000
	assert.Zero(t, run(t, c).Shed)

	c.Batch, c.Queue, c.MaxInflight = 1, Queue{}, 100 // where nobody may wait places count
	some := run(t, c)
	assert.Positive(t, some.Shed)
	assert.Equal(t, some.Unserved, some.Shed, "all that is refused is refused early")
}

// A backend that stands still now and then costs those less that it lets wait, where
// a second one is asked; within the budget, and nothing is asked twice without need.
func TestHedging(t *testing.T) {
	c := New(traffic(t, "plain", 2000, func(p *Traffic) { p.Rate = 20 }), "round_robin")
	c.Backends = 4
	for at := 20 * time.Second; at < 90*time.Second; at += 10 * time.Second {
		c.Faults = append(c.Faults, Fault{At: at, Kind: Slow, Speed: 0.02}, Fault{At: at + time.Second, Kind: Heal})
	}
	without := run(t, c)
	assert.Zero(t, without.Hedges)
	c.Hedge = Hedge{Percentile: 0.95, Budget: 0.05}
	with := run(t, c)
	h := with.Hedges
	tries := h.Won + h.Lost + h.Failed
	assert.Positive(t, h.Won)
	assert.LessOrEqual(t, tries, 2000/20+10)
	assert.Less(t, with.TTFTp99, 0.7*without.TTFTp99)
	assert.Zero(t, with.Unserved)

	c.Faults, c.Hedge.Budget = nil, 0
	none := run(t, c).Hedges
	assert.Zero(t, none.Won+none.Lost+none.Failed)
}
