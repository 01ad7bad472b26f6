package main

// What each term of the cost is worth.

import (
	"fmt"
	"time"

	"github.com/helixflow/helixflow/bench/replay"
)

// ablation is adaptive with something else than its default.
type ablation struct {
	name   string
	change func(*replay.Config)
}

func variants() []ablation {
	return []ablation{
		{"adaptive as it is", func(*replay.Config) {}},
		{"surcharge 0", func(c *replay.Config) { c.Tuning.Surcharge = 0 }},
		{"surcharge 2", func(c *replay.Config) { c.Tuning.Surcharge = 2 }},
		{"surcharge 32", func(c *replay.Config) { c.Tuning.Surcharge = 32 }},
		{"popularity 1", func(c *replay.Config) { c.Tuning.Popularity = 1 }},
		{"popularity 64", func(c *replay.Config) { c.Tuning.Popularity = 64 }},
		{"no popularity", func(c *replay.Config) { c.Tuning.Popularity = 1e9 }},
		{"affinity_max_wait 2 s", func(c *replay.Config) { c.Tuning.AffinityMaxWait = 2 * time.Second }},
		{"affinity_max_wait 60 s", func(c *replay.Config) { c.Tuning.AffinityMaxWait = time.Minute }},
		{"no interference", func(c *replay.Config) { c.Tuning.Interference = 0 }},
		{"interference 1", func(c *replay.Config) { c.Tuning.Interference = 1 }},
		{"no kv_pressure", func(c *replay.Config) { c.Tuning.KVPressure = 0 }},
		{"kv_pressure 150 ms", func(c *replay.Config) { c.Tuning.KVPressure = 150 * time.Millisecond }},
		{"no probe", func(c *replay.Config) { c.Tuning.Probe = 0 }},
		{"index of a quarter", func(c *replay.Config) { c.IndexScale = 0.5 }},
		{"index of a half", func(c *replay.Config) { c.IndexScale = 1 }},
		{"index of twice the size", func(c *replay.Config) { c.IndexScale = 4 }},
		{"released at the end", func(c *replay.Config) { c.ReleaseAtEnd = true }},
		{"rate a quarter", func(c *replay.Config) { c.Rate = 2500 }},
		{"rate four times", func(c *replay.Config) { c.Rate = 40_000 }},
		{"lengths off by ×1.5 (sigma 0.4)", func(c *replay.Config) { c.Noise = 0.4 }},
		{"no metrics", func(c *replay.Config) { c.Scrape = 0 }},
		{"no cached_tokens", func(c *replay.Config) { c.NoReports = true }},
	}
}

// ablations prints how each variant does on each workload, at the load at which
// adaptive's TTFT p90 is 2 s, and how much load it takes itself.
func ablations(list []workload) error {
	t, err := generated("hot", 3000, nil)
	if err != nil {
		return err
	}
	list = append(list, workload{name: "one hot prompt", trace: t.Faster(2), reuses: true})
	for _, w := range list {
		speed := 1.0
		if w.name != "one hot prompt" {
			speed = knee(w.config("adaptive", 1, smallKV))
		}
		var configs []replay.Config
		for _, v := range variants() {
			c := w.config("adaptive", speed, smallKV)
			v.change(&c)
			configs = append(configs, c)
		}
		fmt.Printf("\n%s at ×%.2f, KV %dk\n", w.name, speed, smallKV/1000)
		for i, r := range runs(configs...) {
			fmt.Printf("  %-32s hit %5.1f %%  TTFT p50 %6.2f p90 %6.2f p99 %6.2f s  E2E p50 %6.2f s  imbalance %.2f\n",
				variants()[i].name, 100*r.HitRatio, r.TTFTp50, r.TTFTp90, r.TTFTp99, r.E2Ep50, r.Imbalance)
		}
	}
	return nil
}
