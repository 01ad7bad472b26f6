package main

// helixflow replay: a traffic trace against balancing policies, in simulated time.

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/helixflow/helixflow/bench/replay"
	"github.com/helixflow/helixflow/bench/sim"
)

// ReplayCmd is "helixflow replay".
type ReplayCmd struct {
	Run ReplayRunCmd `cmd:"" default:"withargs" help:"Run a traffic trace against balancing policies, in simulated time."`
	Gen ReplayGenCmd `cmd:"" help:"Make a trace of traffic with tenants, sessions, shared documents and agents."`
}

// ReplayRunCmd is "helixflow replay run", or "helixflow replay" alone.
type ReplayRunCmd struct {
	Trace    string        `required:"" placeholder:"FILE" help:"Trace to read; - is standard input."`
	Format   string        `default:"mooncake" placeholder:"NAME" help:"Its format: mooncake, azure, burstgpt or access-log (${default})."`
	Speed    float64       `default:"1" placeholder:"X" help:"Divide the gaps between arrivals by this (${default})."`
	Backends int           `default:"8" placeholder:"N" help:"How many engines there are (${default})."`
	Engine   string        `default:"h100-70b-tp4" placeholder:"PRESET" help:"Hardware and model of each (${default}); an unknown name lists the others."`
	KVTokens int           `name:"kv-tokens" default:"307000" placeholder:"N" help:"Tokens that the KV cache of each holds (${default})."`
	Policies []string      `default:"adaptive,least_inflight,round_robin" placeholder:"NAME,..." help:"Policies to compare (${default}); an unknown name lists the others."`
	Routers  int           `default:"1" placeholder:"M" help:"Routers that share the traffic (${default})."`
	Gossip   time.Duration `placeholder:"D" help:"How long until routers hear of each other's placements; never, unless it is given: they go by homes."`
	Scrape   time.Duration `default:"1s" placeholder:"D" help:"How often routers read engines' metrics; 0 is never (${default})."`
	Inflight int           `name:"max-inflight" placeholder:"N" help:"Requests that a router sends to an engine at once; others wait in its queue. No bound unless given."`
	Limits   bool          `name:"find-limits" help:"Find out how many an engine can take at once, as pools[].concurrency does."`
	Queue    time.Duration `default:"30s" placeholder:"D" help:"How long a request may wait in a router's queue (${default}), of 1024 places; 0 is none."`
	Batch    float64       `placeholder:"X" help:"Part of the requests that are of the class batch, and are refused first; 0 to 1."`
	Hedge    float64       `placeholder:"X" help:"An answer that is later than this part of the others, 0 to 1, is asked of a second backend too."`
	Budget   float64       `name:"hedge-budget" default:"0.02" placeholder:"X" help:"Part of the requests that may be asked a second time (${default})."`
	Seed     uint64        `default:"1" help:"Seed of everything that is drawn (${default}); with the same one results repeat."`
	Seeds    int           `default:"1" placeholder:"N" help:"Run with so many seeds from --seed on, and print means and ranges (${default})."`
	JSON     bool          `xor:"output" help:"Print the results as a JSON array, and nothing else."`
	Report   string        `xor:"output" placeholder:"FILE" help:"Write a page of plots too: HTML, or a picture if the name ends in .png; it takes eight times as long, for the load is swept."`
}

// Run replays the trace once per policy.
func (c *ReplayRunCmd) Run(env *Env) error {
	configs, err := c.configs(env)
	if err != nil {
		return err
	}
	results, spreads := make([]*replay.Result, len(configs)), make([]replay.Spread, len(configs))
	for i, config := range configs {
		var runs []*replay.Result
		for range c.Seeds {
			if env.Ctx.Err() != nil {
				return env.Ctx.Err()
			}
			r, err := replay.Run(config)
			if err != nil {
				return err
			}
			runs = append(runs, r)
			config.Seed++
		}
		results[i], spreads[i] = runs[0], replay.SpreadOf(runs)
	}
	if c.Report != "" {
		if err := c.report(configs, results); err != nil {
			return err
		}
	}
	if c.Seeds > 1 {
		return c.printSpreads(env.Stdout, spreads)
	}
	return c.print(env.Stdout, results)
}

// report writes the page of plots.
func (c *ReplayRunCmd) report(configs []replay.Config, results []*replay.Result) error {
	sweep, err := replay.Sweep(configs)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s, %g times as fast, on %d × %s", filepath.Base(c.Trace), c.Speed, c.Backends, c.Engine)
	page := replay.Report{Title: title, Results: results, Sweep: sweep}
	if strings.EqualFold(filepath.Ext(c.Report), ".png") {
		return writeFile(c.Report, page.WritePNG)
	}
	return writeFile(c.Report, page.Write)
}

// configs are the runs that are asked for.
func (c *ReplayRunCmd) configs(env *Env) ([]replay.Config, error) {
	engine, err := sim.PresetNamed(c.Engine)
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	if !(c.Speed > 0 && c.Speed < 1e6) {
		return nil, &usageError{"--speed must be above 0 and below a million"}
	}
	if c.Seeds < 1 || c.Seeds > 1000 {
		return nil, &usageError{"--seeds must be 1 to 1000"}
	}
	trace, err := c.read(env)
	if err != nil {
		return nil, err
	}
	trace = trace.Faster(c.Speed)
	var configs []replay.Config
	for _, policy := range c.Policies {
		config := replay.New(trace, strings.TrimSpace(policy))
		config.Backends, config.Engine = c.Backends, engine.WithKVTokens(c.KVTokens)
		config.Routers, config.Scrape, config.Seed = c.Routers, c.Scrape, c.Seed
		config.MaxInflight, config.FindLimits = c.Inflight, c.Limits
		config.Batch, config.Hedge = c.Batch, replay.Hedge{Percentile: c.Hedge, Budget: c.Budget}
		if c.Queue > 0 {
			config.Queue = replay.Queue{Wait: c.Queue, Size: 1024}
		}
		if c.Gossip > 0 {
			config.Gossip = c.Gossip
		}
		if err := config.Check(); err != nil {
			return nil, &usageError{err.Error()}
		}
		configs = append(configs, config)
	}
	return configs, nil
}

func (c *ReplayRunCmd) read(env *Env) (*replay.Trace, error) {
	var from io.Reader = env.Stdin
	if c.Trace != "-" {
		file, err := os.Open(c.Trace)
		if err != nil {
			return nil, fmt.Errorf("cannot read the trace: %w", err)
		}
		defer func() { _ = file.Close() }()
		from = file
	}
	trace, err := replay.Read(from, c.Format, c.Seed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Trace, err)
	}
	return trace, nil
}

// print writes what came of it.
func (c *ReplayRunCmd) print(to io.Writer, results []*replay.Result) error {
	if c.JSON {
		list := make([]replay.Summary, len(results))
		for i, r := range results {
			list[i] = r.Summary()
		}
		return printJSON(to, list)
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "policy\trequests\thit\tTTFT p50\tp90\tp99\tworst tenant p90\tTPOT p50\tE2E p50\tgood\timbalance\t")
	if c.Queue > 0 {
		fmt.Fprint(w, "refused\tservice gap\t")
	}
	fmt.Fprintln(w)
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%.1f %%\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t%.1f ms\t%.2f s\t%.1f %%\t%.2f\t",
			r.Policy, len(r.Requests), 100*r.HitRatio, r.TTFTp50, r.TTFTp90, r.TTFTp99, r.TTFTWorst, 1e3*r.TPOTp50, r.E2Ep50, 100*r.Goodput, r.Imbalance)
		if c.Queue > 0 {
			fmt.Fprintf(w, "%d\t%.0f tokens\t", r.Unserved, r.ServiceGap)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// printSpreads writes what came of several seeds: means, and from where to where.
func (c *ReplayRunCmd) printSpreads(to io.Writer, spreads []replay.Spread) error {
	if c.JSON {
		return printJSON(to, spreads)
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "policy, %d seeds\thit\tTTFT p50\tp90\tp99\tTPOT p50\tE2E p50\tgood\t\n", c.Seeds)
	for _, s := range spreads {
		cell := func(mean, low, high, unit float64, name string) {
			fmt.Fprintf(w, "%.2f (%.2f to %.2f) %s\t", mean*unit, low*unit, high*unit, name)
		}
		fmt.Fprintf(w, "%s\t", s.Policy)
		cell(s.HitRatio, s.Low.HitRatio, s.High.HitRatio, 100, "%")
		cell(s.TTFTp50, s.Low.TTFTp50, s.High.TTFTp50, 1, "s")
		cell(s.TTFTp90, s.Low.TTFTp90, s.High.TTFTp90, 1, "s")
		cell(s.TTFTp99, s.Low.TTFTp99, s.High.TTFTp99, 1, "s")
		cell(s.TPOTp50, s.Low.TPOTp50, s.High.TPOTp50, 1e3, "ms")
		cell(s.E2Ep50, s.Low.E2Ep50, s.High.E2Ep50, 1, "s")
		cell(s.Goodput, s.Low.Goodput, s.High.Goodput, 100, "%")
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// writeFile has write fill a file.
func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("cannot write the file: %w", err)
	}
	if err = write(file); err != nil {
		_ = file.Close()
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return file.Close()
}
