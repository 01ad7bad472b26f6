package main

// helixflow check: what is wrong with a configuration.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/helixflow/helixflow/configs"
)

// CheckCmd is "helixflow check". What it finds is its answer, so problems go to
// standard output; the exit code says whether there are any.
type CheckCmd struct {
	File string `arg:"" help:"Configuration file."`
	JSON bool   `help:"Print the problems as a JSON array."`
}

// Run loads the file as serve would, and starts nothing.
func (c *CheckCmd) Run(env *Env) error {
	_, err := configs.Load(c.File)
	var problems configs.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	if c.JSON {
		if err := printJSON(env.Stdout, withoutExcerpts(problems)); err != nil {
			return err
		}
	} else if err := printProblems(env.Stdout, c.File, problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		return errReported
	}
	return nil
}

// withoutExcerpts leaves the five keys that scripts are promised. The array is
// never null.
func withoutExcerpts(problems configs.Problems) configs.Problems {
	out := make(configs.Problems, len(problems))
	copy(out, problems)
	for i := range out {
		out[i].Excerpt = ""
	}
	return out
}

// printProblems prints each problem with its excerpt, or that there are none.
func printProblems(w io.Writer, file string, problems configs.Problems) error {
	if len(problems) == 0 {
		_, err := fmt.Fprintf(w, "%s: no problems\n", file)
		return err
	}
	_, err := fmt.Fprintln(w, problems.Error())
	return err
}

// printJSON prints v on one line, for scripts.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
