package compat

// What the last run found, as it is kept beside the code, and as the documents
// show it.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Result is what one client's run found.
type Result struct {
	Versions map[string]string `json:"versions"`
	// Outcomes of the cases by name: "ok", with the class of the error where one
	// was wanted, or "n/a: REASON".
	Outcomes map[string]string `json:"outcomes"`
	// Blind is what the client does not tell its caller, and why.
	Blind map[string]string `json:"blind,omitempty"`
}

// notApplicable begins the outcome of a case that a client has no way to meet.
const notApplicable = "n/a: "

const resultsFile = "results.json"

// ReadResults reads the results of the last run, by client, in the folder of this
// package.
func ReadResults(dir string) (map[string]Result, error) {
	data, err := os.ReadFile(filepath.Join(dir, resultsFile))
	if err != nil {
		return nil, fmt.Errorf("cannot read the results of the clients: %w", err)
	}
	results := make(map[string]Result)
	if err := json.Unmarshal(data, &results); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", resultsFile, err)
	}
	return results, nil
}

// writeResults puts the results of the clients and cases that ran beside those of
// the others.
func writeResults(dir string, ran map[string]Result) error {
	all, err := ReadResults(dir)
	if err != nil {
		return err
	}
	for name, r := range ran {
		if last := all[name]; maps.Equal(last.Versions, r.Versions) {
			maps.Copy(last.Outcomes, r.Outcomes)
			r.Outcomes = last.Outcomes
			maps.DeleteFunc(r.Outcomes, func(name string, _ string) bool { return !isCase(name) })
		}
		all[name] = r
	}
	maps.DeleteFunc(all, func(name string, _ Result) bool {
		return !slices.ContainsFunc(Clients, func(c Client) bool { return c.Name == name })
	})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(all); err != nil {
		return fmt.Errorf("cannot encode the results: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, resultsFile), b.Bytes(), 0o644)
}

// current says what makes a client's result that of another program than today's:
// a pin that changed, a case that is new or gone.
func (r *Result) current(c *Client, dir string) error {
	pinned, err := c.Pinned(dir)
	if err != nil {
		return err
	}
	if !maps.Equal(pinned, r.Versions) {
		return fmt.Errorf("%s has results of %v, and %v is pinned", c.Name, r.Versions, pinned)
	}
	for _, f := range Features {
		for i := range f.Cases {
			if name := f.Cases[i].Name; r.Outcomes[name] == "" {
				return fmt.Errorf("%s has no result of %s", c.Name, name)
			}
		}
	}
	for name := range r.Outcomes {
		if !isCase(name) {
			return fmt.Errorf("%s has a result of %s, which is no case", c.Name, name)
		}
	}
	return nil
}

func isCase(name string) bool {
	return slices.ContainsFunc(Features, func(f Feature) bool {
		return slices.ContainsFunc(f.Cases, func(c Case) bool { return c.Name == name })
	})
}
