package main

// helixflow replay gen: traffic that is made up, as a trace.

import (
	"github.com/helixflow/helixflow/bench/replay"
)

// ReplayGenCmd is "helixflow replay gen". What is not given is the profile's.
type ReplayGenCmd struct {
	Profile   string   `default:"mixed" placeholder:"NAME" help:"What it is like: mixed, conversation, documents, hot or plain (${default})."`
	Requests  int      `default:"4000" placeholder:"N" help:"How many requests (${default})."`
	Rate      float64  `default:"8" placeholder:"X" help:"Requests a second, in the mean (${default})."`
	Tenants   *int     `placeholder:"N" help:"Tenants, each with a system prompt of its own."`
	Documents *int     `placeholder:"N" help:"Documents that sessions of all tenants ask about."`
	Turns     *float64 `placeholder:"X" help:"Requests of a session, in the mean."`
	Agents    *float64 `placeholder:"X" help:"Part of the turns that are an agent's, which asks several things at once; 0 to 1."`
	Diurnal   *float64 `placeholder:"X" help:"How far the rate goes up and down, as by day and night; 0 to 1."`
	Seed      uint64   `default:"1" help:"With the same one the trace is the same (${default})."`
	Out       string   `default:"-" placeholder:"FILE" help:"Where to write it, in the format mooncake; - is standard output (${default})."`
}

// Run makes the trace and writes it.
func (c *ReplayGenCmd) Run(env *Env) error {
	traffic, err := replay.Profile(c.Profile)
	if err != nil {
		return &usageError{err.Error()}
	}
	traffic.Requests, traffic.Rate = c.Requests, c.Rate
	override(&traffic.Tenants, c.Tenants)
	override(&traffic.Documents, c.Documents)
	override(&traffic.Turns, c.Turns)
	override(&traffic.Agents, c.Agents)
	override(&traffic.Diurnal, c.Diurnal)
	if c.Documents != nil && traffic.Asking == 0 {
		traffic.Asking = 0.5
	}
	trace, err := replay.Generate(traffic, c.Seed)
	if err != nil {
		return &usageError{err.Error()}
	}
	if c.Out == "-" {
		return trace.Write(env.Stdout)
	}
	return writeFile(c.Out, trace.Write)
}

// override sets what was given.
func override[T any](value, given *T) {
	if given != nil {
		*value = *given
	}
}
