package compat

// The page of the documents that shows the results.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Page is docs/reference/clients.md, from the results and pins in the folder of
// this package. It fails when these are not of the same clients, versions and
// cases.
func Page(dir string) (string, error) {
	results, err := ReadResults(dir)
	if err != nil {
		return "", err
	}
	for i := range Clients {
		r := results[Clients[i].Name]
		if err := r.current(&Clients[i], dir); err != nil {
			return "", fmt.Errorf("%w; run make compat-record", err)
		}
	}
	if len(results) != len(Clients) {
		return "", fmt.Errorf("%s has clients that are gone; run make compat-record", resultsFile)
	}
	var b strings.Builder
	b.WriteString(`# Clients

What these libraries do against the built binary, with a simulated engine and a backend that fails on
order behind it. Every version is pinned; ` + "`make compat`" + ` runs all of it and fails when a result is
another than the one shown here.

`)
	matrix(&b, results)
	b.WriteString("\n`ok` is every case of the feature, a fraction those that the client has a way to do; all of them passed.\n")
	lacking(&b, results)
	classes(&b, results)
	list(&b)
	return b.String(), nil
}

func matrix(b *strings.Builder, results map[string]Result) {
	b.WriteString("| client | what is pinned |")
	for _, f := range Features {
		b.WriteString(" " + f.Name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(Features)) + "\n")
	for i := range Clients {
		c := &Clients[i]
		r := results[c.Name]
		fmt.Fprintf(b, "| %s | %s |", c.Name, versions(c, &r))
		for _, f := range Features {
			fmt.Fprintf(b, " %s |", cell(&f, &r))
		}
		b.WriteString("\n")
	}
}

// versions are of the client itself and of what it stands on.
func versions(c *Client, r *Result) string {
	var list []string
	for _, pkg := range c.Packages {
		list = append(list, fmt.Sprintf("`%s` %s", pkg, r.Versions[pkg]))
	}
	return strings.Join(list, ", ")
}

func cell(f *Feature, r *Result) string {
	able := 0
	for i := range f.Cases {
		if !strings.HasPrefix(r.Outcomes[f.Cases[i].Name], notApplicable) {
			able++
		}
	}
	switch able {
	case 0:
		return "n/a"
	case len(f.Cases):
		return "ok"
	default:
		return fmt.Sprintf("%d/%d", able, len(f.Cases))
	}
}

// lacking lists why cases are not applicable, and what is not told.
func lacking(b *strings.Builder, results map[string]Result) {
	b.WriteString("\n## What a client has no way to do\n\n")
	for i := range Clients {
		r := results[Clients[i].Name]
		cases := make(map[string][]string) // by reason
		for _, f := range Features {
			for j := range f.Cases {
				name := f.Cases[j].Name
				if reason, found := strings.CutPrefix(r.Outcomes[name], notApplicable); found {
					cases[reason] = append(cases[reason], "`"+name+"`")
				}
			}
		}
		for _, reason := range slices.Sorted(maps.Keys(cases)) {
			fmt.Fprintf(b, "- %s: %s (%s)\n", Clients[i].Name, reason, strings.Join(cases[reason], ", "))
		}
		for _, field := range slices.Sorted(maps.Keys(r.Blind)) {
			fmt.Fprintf(b, "- %s does not tell `%s`: %s\n", Clients[i].Name, field, r.Blind[field])
		}
	}
}

// shown are the cases whose errors the table shows, by its columns.
var shown = []struct{ column, name string }{
	{"400", "error-400"},
	{"401", "error-401"},
	{"403", "error-403"},
	{"404", "error-404-model"},
	{"429", "error-429"},
	{"500", "error-500"},
	{"503", "error-503"},
	{"cut stream", "cut-stream-clean"},
	{"backend silent", "stall-in-stream"},
}

func classes(b *strings.Builder, results map[string]Result) {
	b.WriteString("\n## What a client raises\n\n| client |")
	for _, s := range shown {
		b.WriteString(" " + s.column + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(shown)) + "\n")
	for i := range Clients {
		b.WriteString("| " + Clients[i].Name + " |")
		for _, s := range shown {
			class, found := strings.CutPrefix(results[Clients[i].Name].Outcomes[s.name], "ok ")
			if found {
				class = "`" + class + "`"
			}
			b.WriteString(" " + class + " |")
		}
		b.WriteString("\n")
	}
}

// list says what each case proves.
func list(b *strings.Builder) {
	b.WriteString("\n## The cases\n")
	for _, f := range Features {
		b.WriteString("\n" + strings.ToUpper(f.Name[:1]) + f.Name[1:] + ":\n\n")
		for i := range f.Cases {
			fmt.Fprintf(b, "- `%s`: %s\n", f.Cases[i].Name, f.Cases[i].Proves)
		}
	}
}
