package main

// G5 to G9: one hot prompt, stale metrics, several routers, failures, tenants.

import (
	"fmt"
	"math"
	"time"

	"github.com/helixflow/helixflow/bench/replay"
)

func others(s *sheet) error {
	for _, measure := range []func(*sheet) error{hot, stale, routers, slow, crash, tenants, limits, hedged} {
		if err := measure(s); err != nil {
			return err
		}
	}
	return nil
}

// on is a run on generated traffic, faster by speed.
func on(t *replay.Trace, policy string, speed float64, kv int) replay.Config {
	w := workload{trace: t}
	return w.config(policy, speed, kv)
}

// hot measures G5: everybody has one prompt, and answers are long.
func hot(s *sheet) error {
	t, err := generated("hot", 3000, nil)
	if err != nil {
		return err
	}
	fmt.Println("\none hot prompt of 6k tokens, long answers, 16 a second")
	r := runs(on(t, "adaptive", 2, smallKV), on(t, "least_inflight", 2, smallKV), on(t, "sticky-token-gate-like", 2, smallKV))
	s.atMost("G5", gated, "E2E p50 over least_inflight's", r[0].E2Ep50/r[1].E2Ep50, 1.05)
	s.atMost("G5", gated, "tokens computed by the busiest over the mean", r[0].Imbalance, 1.2)
	fmt.Printf("   E2E p50: adaptive %.1f s, least_inflight %.1f s, sticky-token-gate-like %.1f s\n", r[0].E2Ep50, r[1].E2Ep50, r[2].E2Ep50)
	return nil
}

// stale measures G6: how old metrics are does not matter.
func stale(s *sheet) error {
	t, err := generated("documents", 3000, nil)
	if err != nil {
		return err
	}
	every := []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second, 0}
	p90 := func(policy string, d time.Duration, seeds int) (mean float64) {
		var configs []replay.Config
		for seed := range uint64(seeds) {
			c := on(t, policy, 1.2, smallKV)
			c.Scrape, c.Seed = d, seed
			configs = append(configs, c)
		}
		for _, r := range runs(configs...) {
			mean += r.TTFTp90 / float64(seeds)
		}
		return mean
	}
	fmt.Println("\nmetrics read every so often, 0 is never: TTFT p90, ours the mean of 4 seeds")
	usual, worst := p90("adaptive", time.Second, 4), 0.0
	for _, d := range every {
		ours := p90("adaptive", d, 4)
		worst = max(worst, math.Abs(ours/usual-1))
		fmt.Printf("   %-8v adaptive %6.2f s  weighted-score-like %6.2f s\n", d, ours, p90("weighted-score-like", d, 1))
	}
	s.atMost("G6", gated, "the largest part by which TTFT p90 differs from that at 1 s", worst, 0.05)
	return nil
}

// routers measures G7: what several routers lose of the hits. Those that are not
// told go by homes; what they would find without is printed beside.
func routers(s *sheet) error {
	t, err := generated("documents", 3000, nil)
	if err != nil {
		return err
	}
	one, alone, told := on(t, "adaptive", 0.8, largeKV), on(t, "adaptive", 0.8, largeKV), on(t, "adaptive", 0.8, largeKV)
	alone.Routers, told.Routers, told.Gossip = 4, 4, 250*time.Millisecond
	homeless := alone
	homeless.Tuning.Home = 0
	r := runs(one, told, alone, homeless)
	fmt.Printf("\n4 routers: hits %.1f %% with one, %.1f %% with placements told within 250 ms, %.1f %% untold by homes, %.1f %% untold without\n",
		100*r[0].HitRatio, 100*r[1].HitRatio, 100*r[2].HitRatio, 100*r[3].HitRatio)
	s.atLeast("G7", gated, "hits of 4 routers that tell each other, over one router's", r[1].HitRatio/r[0].HitRatio, 0.9)
	s.atLeast("G7", gated, "hits of 4 routers that do not, over one router's", r[2].HitRatio/r[0].HitRatio, 0.6)
	return nil
}

// slow measures the first half of G8: a backend at a quarter of its speed.
func slow(s *sheet) error {
	t, err := generated("documents", 3000, nil)
	if err != nil {
		return err
	}
	var configs []replay.Config
	for _, policy := range []string{"adaptive", "least_inflight"} {
		healthy := on(t, policy, 0.8, smallKV)
		limping := healthy
		limping.Speeds = []float64{0.25}
		configs = append(configs, healthy, limping)
	}
	r := runs(configs...)
	fmt.Printf("\none of 8 backends at a quarter of its speed: TTFT p99 %.2f s instead of %.2f s; least_inflight %.2f s instead of %.2f s\n",
		r[1].TTFTp99, r[0].TTFTp99, r[3].TTFTp99, r[2].TTFTp99)
	s.atMost("G8", gated, "TTFT p99 with a slow backend, over that without", r[1].TTFTp99/r[0].TTFTp99, 1.3)
	return nil
}

// crash measures the other half: a backend dies for half a minute.
func crash(s *sheet) error {
	t, err := generated("documents", 3000, nil)
	if err != nil {
		return err
	}
	const down, up = 120 * time.Second, 150 * time.Second
	c := on(t, "adaptive", 0.8, smallKV)
	c.Faults = []replay.Fault{{At: down, Kind: replay.Crash}, {At: up, Kind: replay.Heal}}
	r := runs(c)[0]
	unstarted, cut, its, all := 0, 0, 0.0, 0.0
	for _, o := range r.Requests {
		switch {
		case o.Ending == replay.Failed && o.TTFT == 0:
			unstarted++
		case o.Ending == replay.Failed:
			cut++
		}
		if since := time.Duration(o.Arrived) - up; since >= time.Minute && since < 2*time.Minute {
			all++
			if o.Backend == 0 {
				its++
			}
		}
	}
	fmt.Printf("\na backend dies at %v and is back at %v: %d answers cut, TTFT p99 %.2f s over all\n", down, up, cut, r.TTFTp99)
	s.atMost("G8", gated, "requests without a first token that failed", float64(unstarted), 0)
	s.atLeast("G8", gated, "what it gets of its share from one minute after on", its/all*float64(c.Backends), 0.75)
	return nil
}
