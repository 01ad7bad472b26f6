package replay

// A page of plots.

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"io"
	"slices"
	"strconv"
	"time"
)

// Report is what a page shows: results of one trace under several policies.
type Report struct {
	Title   string
	Results []*Result
	Sweep   []Load // empty: no plot of it
}

// Load is a speed of the trace, and how each policy did at it.
type Load struct {
	Speed   float64
	TTFTp90 []float64 // by policy
}

// SweepSpeeds are the speeds that a sweep tries, over that of the run.
func SweepSpeeds() []float64 { return []float64{0.5, 0.75, 1, 1.25, 1.5, 2, 2.5} }

// Sweep runs the configurations at the speeds of SweepSpeeds, one run after another.
func Sweep(configs []Config) ([]Load, error) {
	var loads []Load
	for _, speed := range SweepSpeeds() {
		l := Load{Speed: speed}
		for _, c := range configs {
			c.Trace = c.Trace.Faster(speed)
			r, err := Run(c)
			if err != nil {
				return nil, err
			}
			l.TTFTp90 = append(l.TTFTp90, r.TTFTp90)
		}
		loads = append(loads, l)
	}
	return loads, nil
}

var page = template.Must(template.New("report").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title>
<style>
body{font:14px/1.5 sans-serif;max-width:1320px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1em}.plots svg{width:640px;max-width:100%}
</style></head><body>
<h1>{{.Title}}</h1>
<table><tr>{{range .Columns}}<th>{{.}}</th>{{end}}</tr>
{{range .Results}}<tr>{{range .Cells}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table>
<div class="plots">
{{range .Plots}}{{.}}{{end}}</div>
<p>Simulated time; the engines are a model. helixflow replay.</p>
</body></html>
`))

// columns are those of the table, and cells what stands there of a result.
var columns = [...]string{"policy", "requests", "hit", "TTFT p50", "p90", "p99", "TPOT p50", "E2E p50", "good", "imbalance"}

func (r *Result) cells() [len(columns)]string {
	s := func(v float64) string { return fmt.Sprintf("%.2f s", v) }
	percent := func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
	return [...]string{
		r.Policy, strconv.Itoa(len(r.Requests)), percent(r.HitRatio), s(r.TTFTp50), s(r.TTFTp90), s(r.TTFTp99),
		fmt.Sprintf("%.1f ms", 1e3*r.TPOTp50), s(r.E2Ep50), percent(r.Goodput), fmt.Sprintf("%.2f", r.Imbalance),
	}
}

// Columns and Cells are those for the page's template.
func (r *Report) Columns() []string { return columns[:] }

// Cells are what the table says of the result.
func (r *Result) Cells() []string {
	cells := r.cells()
	return cells[:]
}

// Plots are the report's plots as SVG.
func (r *Report) Plots() []template.HTML {
	var list []template.HTML
	for _, p := range r.plots() {
		list = append(list, template.HTML(p.svg())) // its texts are escaped there
	}
	return list
}

func (r *Report) plots() []*plot {
	list := []*plot{r.distribution(), r.hits()}
	if len(r.Sweep) > 0 {
		list = append(list, r.sweep())
	}
	for _, x := range r.Results {
		list = append(list, x.loads())
	}
	return list
}

// Write writes the page. It refers to nothing outside itself.
func (r *Report) Write(to io.Writer) error { return page.Execute(to, r) }

// WritePlot writes one plot alone: ttft, hits or sweep.
func (r *Report) WritePlot(to io.Writer, name string) error {
	p := map[string]func() *plot{"ttft": r.distribution, "hits": r.hits, "sweep": r.sweep}[name]
	if p == nil {
		return fmt.Errorf("cannot draw %q", html.EscapeString(name))
	}
	_, err := io.WriteString(to, p().svg())
	return err
}

// distribution is how many requests had their first token by when.
func (r *Report) distribution() *plot {
	p := &plot{title: "Time to the first token", x: "seconds", y: "part of the requests", logX: true}
	for _, x := range r.Results {
		var list []int64
		for i := range x.Requests {
			if x.Requests[i].Ending == Answered {
				list = append(list, x.Requests[i].TTFT)
			}
		}
		slices.Sort(list)
		l := line{name: x.Policy}
		for i := range maxPoints + 1 {
			if len(list) > 0 {
				at := (len(list) - 1) * i / maxPoints
				l.x = append(l.x, time.Duration(list[at]).Seconds())
				l.y = append(l.y, float64(at+1)/float64(len(x.Requests)))
			}
		}
		p.lines = append(p.lines, l)
	}
	return p
}

// hits is the hit ratio over time: of each twentieth of the requests, in the order
// of their arrivals.
func (r *Report) hits() *plot {
	const parts = 20
	p := &plot{title: "Prompt tokens found in caches", x: "minutes since the first arrival", y: "part of the tokens"}
	for _, x := range r.Results {
		l := line{name: x.Policy}
		all := slices.SortedStableFunc(slices.Values(x.Requests), func(a, b Outcome) int { return cmp.Compare(a.Arrived, b.Arrived) })
		for part := range parts {
			list := all[len(all)*part/parts : len(all)*(part+1)/parts]
			var cached, prompts int64
			for i := range list {
				cached, prompts = cached+int64(list[i].Cached), prompts+int64(list[i].Prompt)
			}
			if len(list) > 0 {
				l.x = append(l.x, time.Duration(list[len(list)-1].Arrived).Minutes())
				l.y = append(l.y, ratio(cached, prompts))
			}
		}
		p.lines = append(p.lines, l)
	}
	return p
}

// sweep is how late first tokens come as the load grows.
func (r *Report) sweep() *plot {
	p := &plot{title: "TTFT p90 as the load grows", x: "speed, over that of this run", y: "seconds", logY: true}
	for i, x := range r.Results {
		l := line{name: x.Policy}
		for _, load := range r.Sweep {
			l.x, l.y = append(l.x, load.Speed), append(l.y, load.TTFTp90[i])
		}
		p.lines = append(p.lines, l)
	}
	return p
}

// loads is how many requests each backend had, over time.
func (r *Result) loads() *plot {
	p := &plot{title: "Requests on each backend, " + r.Policy, x: "minutes", y: "requests"}
	if len(r.Loads) == 0 {
		return p
	}
	for backend := range r.Loads[0] {
		l := line{name: fmt.Sprintf("backend %d", backend)}
		for i, sample := range r.Loads {
			l.x = append(l.x, (time.Duration(i) * r.Every).Minutes())
			l.y = append(l.y, float64(sample[backend]))
		}
		p.lines = append(p.lines, l)
	}
	return p
}
