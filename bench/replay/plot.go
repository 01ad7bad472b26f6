package replay

// Plots as SVG, by hand: lines, steps and bars are all there is.

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// plot is one diagram of lines.
type plot struct {
	title, x, y string
	logX, logY  bool
	lines       []line
}

// line is what one policy, or one backend, did.
type line struct {
	name string
	x, y []float64
}

const (
	plotWidth, plotHeight             = 640.0, 300.0
	plotLeft, plotTop                 = 56.0, 28.0
	plotRight, plotBottom             = plotWidth - 170, plotHeight - 40
	ticks                             = 5
	maxPoints                         = 100 // of a line; more cannot be seen
	smallestOnLogScale                = 1e-3
	legendX, legendStep, legendSwatch = plotRight + 14, 18.0, 12.0
)

// colours tell lines apart also for those who see few (Okabe and Ito 2008).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#777777"}

// scale maps values to places.
type scale struct {
	low, high  float64
	begin, end float64
	log        bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		v = math.Log10(max(v, smallestOnLogScale))
	}
	v = min(max(v, s.low), s.high)
	return s.begin + (s.end-s.begin)*(v-s.low)/(s.high-s.low)
}

func scaleOf(lists [][]float64, log bool, begin, end float64) scale {
	s := scale{low: math.Inf(1), high: math.Inf(-1), begin: begin, end: end, log: log}
	for _, list := range lists {
		for _, v := range list {
			if log {
				v = math.Log10(max(v, smallestOnLogScale))
			}
			if !math.IsInf(v, 0) && !math.IsNaN(v) {
				s.low, s.high = min(s.low, v), max(s.high, v)
			}
		}
	}
	switch {
	case s.low > s.high:
		s.low, s.high = 0, 1
	case log:
		s.low, s.high = math.Floor(s.low), math.Ceil(s.high)
	default:
		s.low = min(s.low, 0)
	}
	if s.high-s.low < 1e-9 {
		s.high = s.low + 1
	}
	return s
}

// marks are the values to write at a scale.
func (s scale) marks() (list []float64) {
	if s.log {
		for e := s.low; e <= s.high; e++ {
			list = append(list, math.Pow(10, e))
		}
		return list
	}
	step := math.Pow(10, math.Floor(math.Log10((s.high-s.low)/ticks)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (s.high-s.low)/(step*f) <= ticks {
			step *= f
			break
		}
	}
	for v := math.Ceil(s.low/step) * step; v <= s.high+step/1e6; v += step {
		list = append(list, v)
	}
	return list
}

func (p *plot) svg() string {
	var xs, ys [][]float64
	for _, l := range p.lines {
		xs, ys = append(xs, l.x), append(ys, l.y)
	}
	x := scaleOf(xs, p.logX, plotLeft, plotRight)
	y := scaleOf(ys, p.logY, plotBottom, plotTop)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" role="img" font-family="sans-serif" font-size="11" fill="currentColor" color="#333">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<title>%[1]s</title><rect width="100%%" height="100%%" fill="#fff"/><text x="%.0f" y="16" font-size="13" font-weight="bold">%[1]s</text>`+"\n", html.EscapeString(p.title), plotLeft)
	p.axes(&b, x, y)
	for i, l := range p.lines {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.6" points="%s"/>`+"\n", colour, l.points(x, y))
		at := plotTop + float64(i)*legendStep
		if at < plotBottom {
			fmt.Fprintf(&b, `<rect x="%.0f" y="%.0f" width="%.0f" height="3" fill="%s"/><text x="%.0f" y="%.0f">%s</text>`+"\n",
				legendX, at, legendSwatch, colour, legendX+legendSwatch+5, at+5, html.EscapeString(l.name))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p *plot) axes(b *strings.Builder, x, y scale) {
	for _, v := range x.marks() {
		at := x.at(v)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f" stroke="#ddd"/><text x="%.1f" y="%.0f" text-anchor="middle">%s</text>`+"\n",
			at, plotTop, at, plotBottom, at, plotBottom+14, short(v))
	}
	for _, v := range y.marks() {
		at := y.at(v)
		fmt.Fprintf(b, `<line x1="%.0f" y1="%.1f" x2="%.0f" y2="%.1f" stroke="#ddd"/><text x="%.0f" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, at, plotRight, at, plotLeft-6, at+4, short(v))
	}
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="middle">%s</text>`, (plotLeft+plotRight)/2, plotHeight-8, html.EscapeString(p.x))
	fmt.Fprintf(b, `<text transform="translate(14 %.0f) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (plotTop+plotBottom)/2, html.EscapeString(p.y))
}

// points are the places of a line, thinned out to what can be seen.
func (l *line) points(x, y scale) string {
	var b strings.Builder
	step := max(len(l.x)/maxPoints, 1)
	for i := 0; i < len(l.x); i += step {
		fmt.Fprintf(&b, "%.1f,%.1f ", x.at(l.x[i]), y.at(l.y[i]))
	}
	return strings.TrimSpace(b.String())
}

func short(v float64) string {
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
