package replay

// Plots as SVG.

import (
	"fmt"
	"html"
	"strings"
)

// svgCanvas is a canvas of text.
type svgCanvas struct{ strings.Builder }

func (p *plot) svg() string {
	var c svgCanvas
	fmt.Fprintf(&c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" role="img" font-family="sans-serif" font-size="11" fill="#333">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&c, `<title>%s</title><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", html.EscapeString(p.title))
	p.draw(&c)
	c.WriteString("</svg>\n")
	return c.String()
}

func (c *svgCanvas) line(points []place, width float64, colour string) {
	fmt.Fprintf(c, `<polyline fill="none" stroke="%s" stroke-width="%g" points="`, colour, width)
	for i, p := range points {
		if i > 0 {
			c.WriteByte(' ')
		}
		fmt.Fprintf(c, "%.1f,%.1f", p.x, p.y)
	}
	c.WriteString("\"/>\n")
}

func (c *svgCanvas) write(at place, text string, as lettering) {
	c.WriteString("<text")
	if as.upward {
		fmt.Fprintf(c, ` transform="translate(%.1f %.1f) rotate(-90)"`, at.x, at.y)
	} else {
		fmt.Fprintf(c, ` x="%.1f" y="%.1f"`, at.x, at.y)
	}
	if as.anchor != atStart {
		fmt.Fprintf(c, ` text-anchor="%s"`, [...]string{atMiddle: "middle", atEnd: "end"}[as.anchor])
	}
	if as.bold {
		c.WriteString(` font-size="13" font-weight="bold"`)
	}
	fmt.Fprintf(c, ">%s</text>\n", html.EscapeString(text))
}
