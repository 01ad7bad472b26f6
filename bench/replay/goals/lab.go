package main

// Runs, side by side, and searches for the load that is too much.

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/helixflow/helixflow/bench/replay"
	"github.com/helixflow/helixflow/bench/sim"
)

// runs does all runs, as many at a time as there are processors.
func runs(configs ...replay.Config) []*replay.Result {
	results := make([]*replay.Result, len(configs))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(configs)) {
		workers.Go(func() {
			for i := range next {
				r, err := replay.Run(configs[i])
				if err != nil {
					panic("BUG: " + err.Error()) // the configurations are ours
				}
				results[i] = r
			}
		})
	}
	for i := range configs {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}

// patienceTTFT is the 90th percentile of TTFT, in seconds, that a load may have.
const patienceTTFT = 2.0

// knee is the highest speed of the trace, to a fiftieth, at which nine tenths have
// their first token within 2 s.
func knee(c replay.Config) float64 {
	good := func(speed float64) bool {
		fast := c
		fast.Trace = c.Trace.Faster(speed)
		r, err := replay.Run(fast)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return r.TTFTp90 <= patienceTTFT
	}
	low, high := 0.0, 1.0
	for good(high) {
		low, high = high, high*1.6
	}
	if low == 0 {
		for low = high / 1.6; !good(low); low /= 1.6 {
			high = low
		}
	}
	for high/low > 1.02 {
		if middle := (low + high) / 2; good(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// knees are the knees of several runs.
func knees(configs ...replay.Config) []float64 {
	found := make([]float64, len(configs))
	var wait sync.WaitGroup
	room := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range configs {
		wait.Go(func() {
			room <- struct{}{}
			found[i] = knee(configs[i])
			<-room
		})
	}
	wait.Wait()
	return found
}

// workload is a trace, and what it is called.
type workload struct {
	name   string
	trace  *replay.Trace
	reuses bool // prompts begin alike
	made   bool
}

// madeSeed is of all that is made up.
var madeSeed = flag.Uint64("seed", 1, "seed of the traffic and of all that is drawn; the goals are gated with 1")

// made are the workloads that need no files.
func made() ([]workload, error) {
	var list []workload
	for _, name := range []string{"conversation", "documents", "plain"} {
		t, err := generated(name, 3000, nil)
		if err != nil {
			return nil, err
		}
		list = append(list, workload{name: name, trace: t, reuses: name != "plain", made: true})
	}
	return list, nil
}

func generated(profile string, requests int, change func(*replay.Traffic)) (*replay.Trace, error) {
	t, err := replay.Profile(profile)
	if err != nil {
		return nil, err
	}
	t.Requests = requests
	if change != nil {
		change(&t)
	}
	return replay.Generate(t, *madeSeed)
}

// read reads the traces of a folder.
func read(folder string) ([]workload, error) {
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("cannot read the traces: %w", err)
	}
	var list []workload
	for _, f := range files {
		formats := map[string][]string{".jsonl": {"mooncake"}, ".csv": {"azure", "burstgpt"}}[filepath.Ext(f.Name())]
		if formats == nil {
			continue
		}
		t, err := readFile(filepath.Join(folder, f.Name()), formats)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		name := strings.TrimSuffix(f.Name(), filepath.Ext(f.Name()))
		reuses := slices.ContainsFunc(t.Requests, func(r replay.Request) bool { return len(r.Pieces) > 0 })
		list = append(list, workload{name: name, trace: t, reuses: reuses})
	}
	return list, nil
}

// readFile reads a trace in the first of the formats that it has.
func readFile(name string, formats []string) (t *replay.Trace, err error) {
	for _, format := range formats {
		file, opened := os.Open(name)
		if opened != nil {
			return nil, opened
		}
		t, err = replay.Read(file, format, *madeSeed)
		_ = file.Close()
		if err == nil {
			return t, nil
		}
	}
	return nil, err
}

// config is a run on a workload's trace, faster by speed, with so large KV caches.
func (w *workload) config(policy string, speed float64, kvTokens int) replay.Config {
	c := replay.New(w.trace.Faster(speed), policy)
	engine, err := sim.PresetNamed("h100-70b-tp4")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	c.Engine = engine.WithKVTokens(kvTokens)
	c.Seed = *madeSeed
	return c
}
