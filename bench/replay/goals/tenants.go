package main

// G9: a tenant that floods, and one that does not.

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/helixflow/helixflow/bench/replay"
)

const flooder, victim = 1, 2

// tenants measures how much one suffers from the other, where requests wait in the
// router's queue for one of so many places.
func tenants(s *sheet) error {
	calm, err := generated("plain", 600, func(t *replay.Traffic) { t.Rate = 4 })
	if err != nil {
		return err
	}
	flood, err := generated("plain", 3000, func(t *replay.Traffic) { t.Rate = 120 })
	if err != nil {
		return err
	}
	of(calm, victim)
	of(flood, flooder)
	both := replay.Merge(calm, flood)
	queued := func(t *replay.Trace) replay.Config {
		c := on(t, "adaptive", 1, smallKV)
		c.MaxInflight = 64
		c.Queue = replay.Queue{Wait: 30 * time.Second, Size: 1024}
		return c
	}
	free := on(both, "adaptive", 1, smallKV)
	r := runs(queued(calm), queued(both), free)
	alone, beside, without := ttftOf(r[0], victim), ttftOf(r[1], victim), ttftOf(r[2], victim)
	fmt.Printf("\na tenant with 4 requests a second beside one with 120 for 25 s: its TTFT p90 %.2f s, alone %.2f s, without a queue %.2f s\n",
		beside, alone, without)
	s.atMost("G9", gated, "TTFT p90 of the small tenant over that alone", beside/alone, 1.5)
	return even(s)
}

// even measures how evenly two tenants are served of which one asks for three times
// as much, while both wait all along.
func even(s *sheet) error {
	little, err := generated("plain", 1000, func(t *replay.Traffic) { t.Rate = 40 })
	if err != nil {
		return err
	}
	much, err := generated("plain", 3000, func(t *replay.Traffic) { t.Rate = 120 })
	if err != nil {
		return err
	}
	of(little, victim)
	of(much, flooder)
	c := on(replay.Merge(little, much), "adaptive", 1, smallKV)
	c.MaxInflight, c.Queue = 16, replay.Queue{Wait: 10 * time.Minute, Size: 4000}
	r := runs(c)[0]
	fmt.Printf("\ntwo tenants that both wait, with 40 and 120 requests a second for 25 s: one got %.0f tokens more than the other at most\n", r.ServiceGap)
	s.atMost("G9", gated, "the most by which one was served more, over its bound", r.ServiceGap/r.ServiceBound, 1)
	return nil
}

// of makes all requests a tenant's.
func of(t *replay.Trace, tenant int32) {
	for i := range t.Requests {
		t.Requests[i].Tenant = tenant
	}
}

// ttftOf is the 90th percentile of a tenant's TTFT in seconds; a refused request has
// none and counts as the worst.
func ttftOf(r *replay.Result, tenant int32) float64 {
	var list []float64
	for _, o := range r.Requests {
		switch {
		case o.Tenant != tenant:
		case o.Ending == replay.Answered:
			list = append(list, time.Duration(o.TTFT).Seconds())
		default:
			list = append(list, math.Inf(1))
		}
	}
	slices.Sort(list)
	return list[len(list)*9/10]
}
