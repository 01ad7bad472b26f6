package main

// helixflow version.

import (
	"fmt"

	"github.com/helixflow/helixflow/internal/build"
)

// VersionCmd is "helixflow version".
type VersionCmd struct {
	JSON bool `help:"Print JSON for scripts."`
}

// Run prints which build this is.
func (c *VersionCmd) Run(env *Env) error {
	info := build.Info()
	if c.JSON {
		return printJSON(env.Stdout, info)
	}
	_, err := fmt.Fprintln(env.Stdout, info)
	return err
}
