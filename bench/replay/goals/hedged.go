package main

// Second tries where a backend stands still now and then.

import (
	"fmt"
	"time"

	"github.com/helixflow/helixflow/bench/replay"
)

// hedged measures what second tries are worth where a backend stands still for a
// second in ten, and what they cost where none does.
func hedged(s *sheet) error {
	t, err := generated("plain", 3000, nil)
	if err != nil {
		return err
	}
	without := on(t, "least_inflight", 5, smallKV)
	calm := without
	calm.Hedge = replay.Hedge{Percentile: 0.95, Budget: 0.02}
	for at := 10 * time.Second; at < t.Duration()/5; at += 10 * time.Second {
		without.Faults = append(without.Faults, replay.Fault{At: at, Kind: replay.Slow, Speed: 0.02}, replay.Fault{At: at + time.Second, Kind: replay.Heal})
	}
	with := without
	with.Hedge = calm.Hedge
	r := runs(without, with, calm)
	made := func(h replay.HedgeCounts) int { return h.Won + h.Lost + h.Failed }
	fmt.Printf("\na backend that stands still for a second in ten, least_inflight: TTFT p99 %.2f s with second tries for 2 %%, %.2f s without; %d won of %d\n",
		r[1].TTFTp99, r[0].TTFTp99, r[1].Hedges.Won, made(r[1].Hedges))
	s.atMost("G12", gated, "TTFT p99 with second tries, over that without", r[1].TTFTp99/r[0].TTFTp99, 1)
	s.atMost("G12", gated, "part of the requests that were asked twice", float64(made(r[1].Hedges))/float64(len(r[1].Requests)), 0.025)
	return nil
}
