package replay

// What a plot shows, and where: lines and texts are all there is.

import (
	"math"
	"strconv"
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

// canvas is what a plot is drawn on: text of SVG, or pixels.
type canvas interface {
	// line draws through the points, in a colour such as #0072b2.
	line(points []place, width float64, colour string)
	// write puts the text at the point, which is where it begins, has its middle or
	// ends.
	write(at place, text string, as lettering)
}

type place struct{ x, y float64 }

// lettering is how a text stands.
type lettering struct {
	anchor anchor
	bold   bool // and larger
	upward bool
}

// anchor is the part of a text that stands at its place.
type anchor uint8

const (
	atStart anchor = iota
	atMiddle
	atEnd
)

const gridColour = "#dddddd"

// draw draws p.
func (p *plot) draw(on canvas) {
	var xs, ys [][]float64
	for _, l := range p.lines {
		xs, ys = append(xs, l.x), append(ys, l.y)
	}
	x := scaleOf(xs, p.logX, plotLeft, plotRight)
	y := scaleOf(ys, p.logY, plotBottom, plotTop)
	on.write(place{plotLeft, 16}, p.title, lettering{bold: true})
	p.axes(on, x, y)
	for i, l := range p.lines {
		colour := colours[i%len(colours)]
		on.line(l.points(x, y), 1.6, colour)
		if at := plotTop + float64(i)*legendStep; at < plotBottom {
			on.line([]place{{legendX, at + 1.5}, {legendX + legendSwatch, at + 1.5}}, 3, colour)
			on.write(place{legendX + legendSwatch + 5, at + 5}, l.name, lettering{})
		}
	}
}

func (p *plot) axes(on canvas, x, y scale) {
	for _, v := range x.marks() {
		at := x.at(v)
		on.line([]place{{at, plotTop}, {at, plotBottom}}, 1, gridColour)
		on.write(place{at, plotBottom + 14}, short(v), lettering{anchor: atMiddle})
	}
	for _, v := range y.marks() {
		at := y.at(v)
		on.line([]place{{plotLeft, at}, {plotRight, at}}, 1, gridColour)
		on.write(place{plotLeft - 6, at + 4}, short(v), lettering{anchor: atEnd})
	}
	on.write(place{(plotLeft + plotRight) / 2, plotHeight - 8}, p.x, lettering{anchor: atMiddle})
	on.write(place{14, (plotTop + plotBottom) / 2}, p.y, lettering{anchor: atMiddle, upward: true})
}

// points are the places of a line, thinned out to what can be seen.
func (l *line) points(x, y scale) (list []place) {
	step := max(len(l.x)/maxPoints, 1)
	for i := 0; i < len(l.x); i += step {
		list = append(list, place{x.at(l.x[i]), y.at(l.y[i])})
	}
	return list
}

func short(v float64) string {
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
