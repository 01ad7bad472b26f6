package main

// The plots of the documentation.

import (
	"os"
	"path/filepath"

	"github.com/helixflow/helixflow/bench/replay"
)

// draw writes plots of the documents workload to a folder.
func draw(folder string) error {
	trace, err := generated("documents", 3000, nil)
	if err != nil {
		return err
	}
	var configs []replay.Config
	for _, policy := range []string{"adaptive", "sticky-token-gate-like", "weighted-score-like", "cache-aware-like", "least_inflight", "round_robin"} {
		configs = append(configs, on(trace, policy, 1.2, smallKV))
	}
	report := replay.Report{Results: runs(configs...)}
	if report.Sweep, err = replay.Sweep(configs); err != nil {
		return err
	}
	for _, name := range []string{"ttft", "sweep"} {
		file, err := os.Create(filepath.Join(folder, "routing-"+name+".svg"))
		if err != nil {
			return err
		}
		if err := report.WritePlot(file, name); err != nil {
			_ = file.Close()
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}
