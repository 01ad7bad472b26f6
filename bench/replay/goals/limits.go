package main

// How many requests a backend can take at once, found out.

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/helixflow/helixflow/bench/replay"
)

// limits measures how near the limits that are found out come to the best of those
// that an operator could have configured, under more load than can be served well.
func limits(s *sheet) error {
	for _, w := range []struct {
		profile string
		speed   float64
	}{{"plain", 14}, {"conversation", 1.6}} {
		t, err := generated(w.profile, 3000, nil)
		if err != nil {
			return err
		}
		found := on(t, "adaptive", w.speed, smallKV)
		found.FindLimits, found.Queue = true, replay.Queue{Wait: 30 * time.Second, Size: 1024}
		configs, fixed := []replay.Config{found}, []int{16, 32, 64, 128, 256}
		for _, n := range fixed {
			c := found
			c.FindLimits, c.MaxInflight = false, n
			configs = append(configs, c)
		}
		r := runs(configs...)
		most := 0.0
		for _, x := range r[1:] {
			most = max(most, x.Goodput)
		}
		knee := slices.IndexFunc(r[1:], func(x *replay.Result) bool { return x.Goodput >= 0.95*most })
		limits := slices.Sorted(slices.Values(r[0].Limits))
		limit := float64(limits[len(limits)/2])
		fmt.Printf("\n%s ×%g: good %.1f %% with limits found out, %v; %.1f %% with the best fixed one, nearly that from %d on\n",
			w.profile, w.speed, 100*r[0].Goodput, limits, 100*most, fixed[knee])
		s.atLeast("G11", gated, w.profile+": goodput with limits found out, over that with the best one", r[0].Goodput/most, 0.9)
		s.atMost("G11", gated, w.profile+": factor between the limit found out and the lowest good one", math.Exp(math.Abs(math.Log(limit/float64(fixed[knee])))), 2)
	}
	return nil
}
