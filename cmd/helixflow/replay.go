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
	Seed     uint64        `default:"1" help:"Seed of everything that is drawn (${default}); with the same one results repeat."`
	JSON     bool          `xor:"output" help:"Print the results as a JSON array, and nothing else."`
	Report   string        `xor:"output" placeholder:"FILE" help:"Write a page of plots too (HTML); it takes eight times as long, for the load is swept."`
}

// Run replays the trace once per policy.
func (c *ReplayRunCmd) Run(env *Env) error {
	configs, err := c.configs(env)
	if err != nil {
		return err
	}
	results := make([]*replay.Result, len(configs))
	for i, config := range configs {
		if env.Ctx.Err() != nil {
			return env.Ctx.Err()
		}
		if results[i], err = replay.Run(config); err != nil {
			return err
		}
	}
	if c.Report != "" {
		if err := c.report(configs, results); err != nil {
			return err
		}
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
	fmt.Fprintln(w, "policy\trequests\thit\tTTFT p50\tp90\tp99\tTPOT p50\tE2E p50\tgood\timbalance\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%.1f %%\t%.2f s\t%.2f s\t%.2f s\t%.1f ms\t%.2f s\t%.1f %%\t%.2f\t\n",
			r.Policy, len(r.Requests), 100*r.HitRatio, r.TTFTp50, r.TTFTp90, r.TTFTp99, 1e3*r.TPOTp50, r.E2Ep50, 100*r.Goodput, r.Imbalance)
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
