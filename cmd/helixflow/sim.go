package main

// helixflow sim: a simulated engine in a process of its own.

import (
	"fmt"

	"github.com/helixflow/helixflow/bench/sim"
)

// SimCmd is "helixflow sim".
type SimCmd struct {
	Listen    string   `default:"127.0.0.1:8000" placeholder:"ADDR" help:"Address to listen on; port 0 takes a free one (${default})."`
	Name      string   `default:"sim" help:"Name the engine puts into its answers (${default})."`
	Model     []string `sep:"none" placeholder:"NAME" help:"Model to serve; may be repeated. Without one every name is served."`
	Preset    string   `default:"fast" help:"Hardware and model to imitate (${default}); an unknown name lists the others."`
	Seed      uint64   `help:"Seed of the words, ids, vectors and step times; with the same one the answers repeat."`
	TimeScale float64  `default:"1" help:"Seconds of engine time per second."`
	JSON      bool     `help:"Print the base URL as JSON."`
}

// Run serves until the process is asked to stop.
func (c *SimCmd) Run(env *Env) error {
	config := sim.Config{Name: c.Name, Models: c.Model, Preset: c.Preset, Seed: c.Seed, TimeScale: c.TimeScale}
	if err := config.Validate(); err != nil {
		return &usageError{err.Error()}
	}
	engine, err := sim.Start(config, c.Listen)
	if err != nil {
		return err
	}
	if err := c.announce(env, "http://"+engine.Addr()+"/v1"); err != nil {
		_ = engine.Close()
		return err
	}
	<-env.Ctx.Done()
	return engine.Close()
}

// announce says where the engine listens. Scripts wait for this line.
func (c *SimCmd) announce(env *Env, baseURL string) error {
	if c.JSON {
		return printJSON(env.Stdout, struct {
			BaseURL string `json:"base_url"`
		}{baseURL})
	}
	_, err := fmt.Fprintf(env.Stdout, "simulated engine %q (%s) at %s\n", c.Name, c.Preset, baseURL)
	return err
}
