package main

// helixflow check: what is wrong with a configuration.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/helixflow/helixflow/configs"
	"github.com/helixflow/helixflow/router"
)

// CheckCmd is "helixflow check". What it finds is its answer, so problems go to
// standard output; the exit code says whether there are any. Hints are no
// problems: they go to standard error, and change neither.
type CheckCmd struct {
	File string `arg:"" help:"Configuration file."`
	JSON bool   `help:"Print the problems as a JSON array, and hints, if any, as {\"hints\": [...]} on standard error."`
}

// Run loads the file as serve would, and starts nothing.
func (c *CheckCmd) Run(env *Env) error {
	report := configs.Inspect(c.File)
	if report.Config != nil {
		report.Problems = keyProblems(c.File, report.Config)
	}
	if len(report.Problems) > 0 {
		report.Hints = nil
	}
	if c.JSON {
		if err := printJSON(env.Stdout, withoutExcerpts(report.Problems)); err != nil {
			return err
		}
	} else if err := printProblems(env.Stdout, c.File, report.Problems); err != nil {
		return err
	}
	if err := c.printHints(env.Stderr, report.Hints); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errReported
	}
	return nil
}

// keyProblems is what is wrong with the keys in files, as far as a start would
// find it.
func keyProblems(file string, cfg *configs.Config) configs.Problems {
	if len(cfg.Auth.KeyFiles) == 0 {
		return nil
	}
	_, err := generateKeys(cfg)
	if err == nil {
		_, err = router.CompileKeys(cfg)
	}
	var problems configs.Problems
	if err != nil && !errors.As(err, &problems) {
		problems = configs.Problems{{File: file, Message: err.Error()}}
	}
	return problems
}

func (c *CheckCmd) printHints(w io.Writer, hints configs.Problems) error {
	if len(hints) == 0 {
		return nil
	}
	if c.JSON {
		return printJSON(w, struct {
			Hints configs.Problems `json:"hints"`
		}{withoutExcerpts(hints)})
	}
	for _, h := range hints {
		h.Path = "hint: " + h.Path
		if _, err := fmt.Fprintln(w, h); err != nil {
			return err
		}
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
