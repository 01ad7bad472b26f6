package main

// helixflow diff: what a reload would change.

import (
	"errors"
	"fmt"

	"github.com/helixflow/helixflow/configs"
)

// DiffCmd is "helixflow diff". Differences are an answer, not a problem: the
// exit code is 0 with and without them.
type DiffCmd struct {
	Old  string `arg:"" help:"Configuration file that is served."`
	New  string `arg:"" help:"Configuration file that would take its place."`
	JSON bool   `help:"Print the changes as a JSON array."`
}

// Run loads both files as serve would, and says what differs.
func (c *DiffCmd) Run(env *Env) error {
	old, wrongOld := c.load(env, c.Old)
	next, wrongNew := c.load(env, c.New)
	if err := errors.Join(wrongOld, wrongNew); err != nil {
		return err
	}
	changes := configs.Diff(old, next)
	if c.JSON {
		return printJSON(env.Stdout, append([]configs.Change{}, changes...)) // never null
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintln(env.Stdout, "nothing changes")
		return err
	}
	for _, change := range changes {
		if _, err := fmt.Fprintln(env.Stdout, change); err != nil {
			return err
		}
	}
	return nil
}

// load reads a file, and prints its problems where they do not get into the
// answer.
func (c *DiffCmd) load(env *Env, path string) (*configs.Config, error) {
	cfg, err := configs.Load(path)
	var problems configs.Problems
	if !errors.As(err, &problems) {
		return cfg, err
	}
	for _, p := range problems {
		fmt.Fprintln(env.Stderr, p)
	}
	return nil, errReported
}
